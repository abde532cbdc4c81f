"""Hashes, pins and lock files."""

from __future__ import annotations

import hashlib
import shutil
import subprocess

import pytest

from workbench.engine.progress import Silent
from workbench.errors import SourceError
from workbench.recipe.schema import Weights
from workbench.sources import _fetch_pins as pins
from workbench.sources._fetch_pins import Digest, Pin

CONTENT = b"weights" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Heard(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def file(tmp_path):
    """A file of weights."""
    path = tmp_path / "w.pth"
    path.write_bytes(CONTENT)
    return path


def test_digests_are_those_of_sha256_and_git(file):
    """The git blob hash is what `git hash-object` prints."""
    found = pins.digest(file)
    assert found == Digest(SHA, hashlib.sha1(b"blob 7000\0" + CONTENT, usedforsecurity=False).hexdigest(), 7000)
    if shutil.which("git"):
        git = subprocess.run(["git", "hash-object", str(file)], capture_output=True, text=True, check=True, cwd="/")
        assert git.stdout.strip() == found.git_blob


def test_a_pin_fits_only_its_content(file):
    """Both hashes must fit when both are pinned; the difference names expected and found."""
    found = pins.digest(file)
    assert Pin(SHA).fits(found)
    assert Pin(SHA, found.git_blob).fits(found)
    assert not Pin(SHA, "0" * 40).fits(found)
    assert Pin("0" * 64).difference(found) == f"expected sha256 {'0' * 64}, found {SHA}"
    assert Pin(None, "0" * 40).difference(found) == f"expected git blob {'0' * 40}, found {found.git_blob}"
    assert not Pin().known


def test_the_recipe_beats_the_lock(file, tmp_path):
    """The lock file is asked only when the recipe pins nothing."""
    lock = tmp_path / "r.lock"
    pins.keep(lock, "w.pth", pins.digest(file), "https://x/w.pth", Silent())
    assert pins.pin(Weights(file="w.pth"), lock) == Pin(SHA, None, 7000)
    assert pins.pin(Weights(file="w.pth", sha256="1" * 64), lock) == Pin("1" * 64)
    assert pins.pin(Weights(file="other.pth"), lock) == Pin()


def test_the_lock_is_readable_sorted_and_says_where_files_came_from(file, tmp_path):
    """Entries are YAML in the order of their names, with nothing of this machine in them."""
    lock = tmp_path / "r.lock"
    pins.keep(lock, "z.pth", pins.digest(file), "https://x/z.pth", Silent())
    pins.keep(lock, "a.pth", pins.digest(file), pins.LOCAL, Silent())
    assert lock.read_text() == (
        "# Hashes of files whose publisher states none, as first seen. Keep this file with the recipe.\n"
        f"a.pth:\n  origin: a local copy\n  sha256: {SHA}\n  size: 7000\n"
        f"z.pth:\n  origin: https://x/z.pth\n  sha256: {SHA}\n  size: 7000\n"
    )
    assert list(tmp_path.glob(".*")) == []


def test_a_folder_that_cannot_be_written_is_a_warning(file, tmp_path):
    """The run goes on unpinned, and says so."""
    (tmp_path / "plain").write_text("")
    heard = Heard()
    pins.keep(tmp_path / "plain" / "r.lock", "w.pth", pins.digest(file), pins.LOCAL, heard)
    assert len(heard.warnings) == 1
    assert "could not be pinned in r.lock" in heard.warnings[0]


@pytest.mark.parametrize(
    "text",
    [
        b"w.pth: [1, 2]",
        b"w.pth: {sha256: zz, size: 1, origin: x}",
        b"w.pth: {sha256: " + b"0" * 64 + b", size: 1, origin: x, more: 1}",
        b"[",
        b"- a",
        b"\xff\xfe\x00",
        b"",
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        b"x" * 1_000_001,
        b"a: {" * 500,
    ],
)
def test_a_damaged_lock_is_told_and_not_overwritten(file, tmp_path, text):
    """Whatever a lock file holds instead of entries is a SourceError with its path; the file is left alone."""
    lock = tmp_path / "r.lock"
    lock.write_bytes(text)
    for call in (
        lambda: pins.pin(Weights(file="w.pth"), lock),
        lambda: pins.keep(lock, "w.pth", pins.digest(file), pins.LOCAL, Silent()),
    ):
        with pytest.raises(SourceError, match="lock file") as caught:
            call()
        assert str(lock) in caught.value.where
        assert "delete it" in caught.value.fix
    assert lock.read_bytes() == text


def test_two_runs_at_once_do_not_share_a_temporary_name(file, tmp_path):
    """What another process has half written is neither taken for ours nor removed."""
    theirs = tmp_path / ".tiny.lock.part"
    theirs.mkdir()
    heard = Heard()
    pins.keep(tmp_path / "tiny.lock", "w.pth", pins.digest(file), pins.LOCAL, heard)
    assert heard.warnings == []
    assert pins.read(tmp_path / "tiny.lock")["w.pth"].sha256 == SHA
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tiny.lock.part", "tiny.lock", "w.pth"]
