"""What all tests share: golden files, and stand-ins for programs that cannot be had here."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-golden``."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the files in tests/golden; review the diff")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of whole networks come first: one worker runs them while the other runs all the rest."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_configure() -> None:
    """A shell that runs the tests in the background ignores Ctrl-C for them; the programs they start must not."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with a file in tests/golden."""

    def compare(name: str, text: str) -> None:
        path = HERE / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8"), f"{name} differs; pytest --update-golden rewrites it"

    return compare


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make PATH one folder with a few plain tools; the call puts a stand-in of tests/standins there, or elsewhere."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for tool in ("sh", "cp", "mkdir", "chown", "sleep", "dirname", "cat"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(os.path.realpath(found) if tool == "sh" else found)
    for name in ("PULSAR2_HOME", "PULSAR2_IMAGE", "PULSAR2_ENGINE", "STANDIN_FAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(folder))

    def install(standin: str, to: Path = folder, name: str = "") -> Path:
        path = to / (name or standin)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "standins" / standin}.py" "$@"\n')
        path.chmod(0o755)
        return path

    return install


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has its own cache, and no mirror of the person who runs it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("WORKBENCH_HOME", str(folder))
    monkeypatch.delenv("WORKBENCH_MIRROR", raising=False)
    return folder
