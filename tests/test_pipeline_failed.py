"""A conversion whose toolchain fails: what is kept, where the error says it is, and what becomes of it afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import _tiny
import pytest
from _axmodel import compiled
from _pulsar2 import fake

from workbench import pipeline
from workbench.engine.progress import Silent
from workbench.engine.store import Store
from workbench.errors import ToolError
from workbench.recipe.load import load
from workbench.stages import _failed

VERSION = "case $1 in version) echo version: 7.0; exit 0;; esac"
BUILDS = {
    "a licence error": ("echo 'Sentinel key not found (H0007)'; exit 8", "the licence is not in place"),
    "a full disk": ("echo 'OSError: [Errno 28] No space left on device'; exit 1", "the disk is full"),
    "a silent failure": ("exit 1", "printed nothing"),
    "a signal": ("echo working; kill -9 $$", "was killed by SIGKILL"),
    "output and a failure": ("mkdir -p build; echo x > build/compiled.axmodel; echo odd; exit 5", "exit code 5"),
}


class Log(Silent):
    """A reporter."""

    def begin(self, stage):
        """Not kept."""

    def end(self, done):
        """Not kept."""


@pytest.fixture
def convert(tmp_path, home, programs):
    """Convert the tiny recipe."""

    def run(**changes: str) -> pipeline.Outcome:
        loaded = load(_tiny.write(tmp_path / "recipes", **changes))
        request = pipeline.Request(dist=tmp_path / "dist", mirrors=(tmp_path / "recipes",))
        return pipeline.convert(loaded, request, Store(home), Log())

    return run


@pytest.mark.parametrize("case", BUILDS)
def test_a_failing_tool_leaves_its_kit_and_log_in_dist(convert, programs, tmp_path, case):
    """However the tool fails: one error of three parts, exit code 3, its log where it says, and no model published."""
    script, told = BUILDS[case]
    fake(programs("pulsar2"), f"{VERSION}\n{script}")
    with pytest.raises(ToolError, match=told) as caught:
        convert()
    kit = tmp_path / "dist" / "tiny.failed" / "pulsar2" / "AX650"
    assert caught.value.where == str(kit / "build.log")
    assert (kit / "build.log").is_file()
    assert (kit / "config.json").is_file()
    assert caught.value.fix
    assert caught.value.exit_code == 3
    assert not list((tmp_path / "dist").rglob("*.axmodel"))
    assert not list((tmp_path / "dist").rglob(".*"))
    assert not (tmp_path / "dist" / "tiny").exists()
    manifest = json.loads((tmp_path / "dist" / "tiny.failed" / "manifest.json").read_text())
    assert manifest["deployable"] is False
    assert str(tmp_path) not in json.dumps(manifest)


def test_what_was_compiled_before_the_failure_is_not_kept(convert, programs, tmp_path):
    """With two chips of which the second fails, the kits of both are kept, and the model of neither."""
    model = compiled(tmp_path / "first.axmodel")
    first = f"mkdir -p build; cp '{model}' build/compiled.axmodel"
    fake(programs("pulsar2"), f'{VERSION}\ncase "$*" in *AX620E*) echo odd; exit 5;; esac\n{first}')
    with pytest.raises(ToolError, match="exit code 5") as caught:
        convert(**{"chips: [AX650]": "chips: [AX650, AX620E]"})
    kept = tmp_path / "dist" / "tiny.failed"
    assert caught.value.where == str(kept / "pulsar2/AX620E/build.log")
    assert (kept / "pulsar2/AX650/build.log").is_file()
    assert not list(kept.rglob("*.axmodel"))


def test_the_advice_names_the_folder_to_bundle(convert, programs, tmp_path):
    """Where the cure is a report to the vendor, the command is complete."""
    fake(programs("pulsar2"), f"{VERSION}\necho 'ValueError: x not in list'; exit 1")
    with pytest.raises(ToolError) as caught:
        convert()
    assert f"workbench pulsar2 bundle {tmp_path / 'dist/tiny.failed/pulsar2/AX650'}" in caught.value.fix


def test_a_good_run_removes_what_the_failed_one_left(convert, programs, tmp_path):
    """After a success nothing of the failure is left, and files of others stay."""
    program = fake(programs("pulsar2"), f"{VERSION}\necho odd; exit 1")
    with pytest.raises(ToolError):
        convert()
    (tmp_path / "dist" / "tiny.failed" / "mine.txt").write_text("note")
    program.unlink()
    convert()
    assert [path.name for path in (tmp_path / "dist" / "tiny.failed").rglob("*")] == ["mine.txt"]


def test_a_second_failure_replaces_the_first(convert, programs, tmp_path):
    """The folder holds the last failure."""
    fake(programs("pulsar2"), f"{VERSION}\necho first; exit 1")
    with pytest.raises(ToolError):
        convert()
    fake(programs("pulsar2"), f"{VERSION}\necho second; exit 1")
    with pytest.raises(ToolError) as caught:
        convert()
    assert Path(caught.value.where).read_text() == "second\n"


def test_a_named_image_that_is_not_here_stops_before_the_work(convert, programs, tmp_path, monkeypatch):
    """PULSAR2_IMAGE without an engine, or without the image, is exit 3 at once and not a skipped file."""
    monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:9.9")
    with pytest.raises(ToolError, match=r"the image pulsar2:9\.9 cannot be used") as caught:
        convert()
    assert "docker: not on PATH" in caught.value.what
    assert not (tmp_path / "dist" / "tiny").exists()


def test_an_error_without_a_log_is_left_alone(tmp_path, home):
    """Only an error that names a log in a scratch folder of the store is touched."""
    for where in ("", str(tmp_path / "other.log"), str(home / "scratch" / "a" / "files" / "absent.log")):
        error = ToolError("x", where=where)
        _failed.keep(error, "tiny", Store(home), tmp_path / "dist", Silent())
        assert error.where == where
    assert not (tmp_path / "dist").exists()


def test_a_dist_that_cannot_be_written_leaves_the_scratch_log(tmp_path, home):
    """The error keeps naming the log in the scratch folder."""
    log = home / "scratch" / "pulsar2-host-1" / "files" / "build.log"
    log.parent.mkdir(parents=True)
    log.write_text("x")
    dist = tmp_path / "dist"
    dist.write_text("a file is in the way")
    error = ToolError("x", where=str(log))
    _failed.keep(error, "tiny", Store(home), dist, Silent())
    assert error.where == str(log)
