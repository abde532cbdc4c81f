"""Weights by hash: where they are looked for, and what a download leaves behind."""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest

from workbench.engine.progress import Silent
from workbench.errors import SourceError, ToolError
from workbench.recipe.schema import Weights
from workbench.sources import _fetch_pins as pins
from workbench.sources import fetch
from workbench.sources.fetch import Located

CONTENT = b"weights" * 1000
OTHER = b"changed" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()
BLOB = hashlib.sha1(b"blob 7000\0" + CONTENT, usedforsecurity=False).hexdigest()
URL = "https://example.org/w.pth"
PINNED = Weights(file="w.pth", url=URL, sha256=SHA)
BY_BLOB = Weights(file="w.pth", url=URL, git_blob=BLOB)
UNPINNED = Weights(file="w.pth", url=URL)


class Heard(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Answer(io.BytesIO):
    """A response with status 200; `trouble` is raised after half of the content."""

    status, reason = 200, "OK"

    def __init__(self, content: bytes, trouble: BaseException | None = None) -> None:
        super().__init__(content)
        self.headers = Message()
        self.headers["Content-Length"] = str(len(content))
        self.trouble = trouble

    def read1(self, size: int | None = -1) -> bytes:
        if self.trouble is None:
            return super().read1(size)
        if self.tell():
            raise self.trouble
        return super().read1(len(self.getvalue()) // 2)


class Net:
    """An opener that gives one content, or raises."""

    def __init__(self, content: bytes, trouble: BaseException | None = None) -> None:
        self.content, self.trouble = content, trouble
        self.asked: list[str] = []

    def open(self, fullurl: object, data: None = None, timeout: float | None = None) -> Answer:
        self.asked.append(fullurl.full_url)
        if isinstance(self.trouble, OSError):
            raise self.trouble
        return Answer(self.content, self.trouble)


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., Located | None]:
    """`locate` with this test's cache and lock."""

    def call(weights: Weights, *mirrors: Path, given: Path | None = None, says: Silent | None = None) -> Located | None:
        return fetch.locate(
            weights,
            given=given,
            mirrors=mirrors,
            cache=tmp_path / "cache",
            lock=tmp_path / "r.lock",
            progress=says,
        )

    return call


@pytest.fixture
def download(tmp_path: Path) -> Callable[..., Located]:
    """`download` with this test's cache and lock."""

    def call(weights: Weights, net: Net, says: Silent | None = None) -> Located:
        return fetch.download(
            weights, cache=tmp_path / "cache", lock=tmp_path / "r.lock", progress=says or Silent(), opener=net
        )

    return call


def cached(folder: Path) -> list[str]:
    """Every file in the cache, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def put(folder: Path, name: str, content: bytes) -> Path:
    """Write a file, with its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_nothing_anywhere_is_none(look, tmp_path):
    """Without file, cache and mirror there is nothing, and no trace is left."""
    assert look(PINNED) is None
    assert look(UNPINNED, tmp_path / "nowhere") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("weights", [PINNED, BY_BLOB, UNPINNED])
def test_a_given_file_is_taken_as_it_is(look, tmp_path, weights):
    """`--weights FILE` is used where it is, whatever it is called, if it fits the pin."""
    path = put(tmp_path, "mine.bin", CONTENT)
    assert look(weights, given=path) == Located(path, SHA, "given", "mine.bin")


@pytest.mark.parametrize(
    ("weights", "hashes"), [(PINNED, ("sha256", SHA)), (BY_BLOB, ("git blob", BLOB))], ids=["sha256", "git_blob"]
)
def test_a_given_file_that_is_not_the_pinned_one(look, tmp_path, weights, hashes):
    """Another file is refused with both hashes, even when a mirror has the right one."""
    mirror = put(tmp_path / "mirror", "w.pth", CONTENT).parent
    path = put(tmp_path, "mine.bin", OTHER)
    with pytest.raises(SourceError, match=f"not the pinned w.pth: expected {hashes[0]} {hashes[1]}, found") as caught:
        look(weights, mirror, given=path)
    assert caught.value.where == str(path)
    assert "change the pin in the recipe's weights" in caught.value.fix


def test_a_given_file_that_the_lock_contradicts(look, download, tmp_path):
    """A hash pinned in the lock file holds for a given file, too; the fix names the lock."""
    download(UNPINNED, Net(CONTENT))
    with pytest.raises(SourceError, match="not the pinned") as caught:
        look(UNPINNED, given=put(tmp_path, "mine.bin", OTHER))
    assert f"change the entry w.pth in {tmp_path / 'r.lock'}" in caught.value.fix


@pytest.mark.parametrize("name", ["missing.pth", "."])
def test_a_given_file_that_is_none(look, tmp_path, name):
    """A path that is no file is told as such."""
    with pytest.raises(SourceError, match="no such file"):
        look(PINNED, given=tmp_path / name)


def test_a_mirror_is_searched_by_name_first(look, tmp_path):
    """A file of the pinned name below the mirror is found."""
    path = put(tmp_path / "mirror" / "a" / "b", "w.pth", CONTENT)
    assert look(PINNED, tmp_path / "empty", tmp_path / "mirror") == Located(path, SHA, "mirror", "w.pth")


@pytest.mark.parametrize("weights", [PINNED, BY_BLOB])
def test_a_mirror_is_searched_by_hash(look, tmp_path, weights):
    """A file under another name is found by its hash, past one of the right name and a wrong content."""
    put(tmp_path / "mirror", "w.pth", OTHER)
    path = put(tmp_path / "mirror", "renamed", CONTENT)
    heard = Heard()
    assert look(weights, tmp_path / "mirror", says=heard) == Located(path, SHA, "mirror", "renamed")
    assert "w.pth is not the pinned file: expected" in heard.notes[0]


def test_an_unpinned_file_of_a_mirror_is_pinned(look, tmp_path):
    """Without a hash the name decides, once: the hash is kept, and then another content is not taken."""
    path = put(tmp_path / "mirror", "w.pth", CONTENT)
    put(tmp_path / "mirror", "another", CONTENT)
    assert look(UNPINNED, tmp_path / "mirror") == Located(path, SHA, "mirror", "w.pth")
    entry = pins.read(tmp_path / "r.lock")["w.pth"]
    assert (entry.sha256, entry.origin) == (SHA, "a local copy")
    assert str(tmp_path) not in (tmp_path / "r.lock").read_text()
    path.write_bytes(OTHER)
    (tmp_path / "mirror" / "another").unlink()
    assert look(UNPINNED, tmp_path / "mirror") is None


def test_unpinned_files_are_never_taken_by_another_name(look, tmp_path):
    """Nothing tells that a file of another name is the one."""
    put(tmp_path / "mirror", "x.pth", CONTENT)
    assert look(UNPINNED, tmp_path / "mirror") is None


def test_a_mirror_with_pipes_loops_and_empty_files(look, tmp_path):
    """What is no file of a sane size is passed over, and a link in a circle ends."""
    import os

    mirror = tmp_path / "mirror"
    mirror.mkdir()
    os.mkfifo(mirror / "w.pth")
    (mirror / "loop").symlink_to(mirror)
    (mirror / "dangling").symlink_to("nowhere")
    put(mirror, "empty", b"")
    assert look(PINNED, mirror) is None


@pytest.mark.parametrize("weights", [PINNED, BY_BLOB, UNPINNED])
def test_a_download_is_verified_stored_and_found_again(look, download, tmp_path, weights):
    """The file lands in the cache under its sha256, read-only, and the next look-up finds it there, offline."""
    net = Net(CONTENT)
    found = download(weights, net)
    place = tmp_path / "cache" / SHA[:2] / SHA
    assert found == Located(place, SHA, "download", URL)
    assert place.read_bytes() == CONTENT
    assert stat.S_IMODE(place.stat().st_mode) == 0o444
    assert look(weights) == Located(place, SHA, "cache", "w.pth")
    assert net.asked == [URL]
    expected = [f"{SHA[:2]}/{SHA}"] + ([f"git/{BLOB}"] if weights is BY_BLOB else [])
    assert cached(tmp_path / "cache") == expected


def test_only_an_unpinned_download_is_pinned(download, tmp_path):
    """The lock file is written when the recipe has no hash, with the address and not before the file is there."""
    download(PINNED, Net(CONTENT))
    assert not (tmp_path / "r.lock").exists()
    heard = Heard()
    download(UNPINNED, Net(CONTENT), heard)
    assert pins.read(tmp_path / "r.lock")["w.pth"].origin == URL
    assert heard.notes == [f"w.pth pinned in r.lock: sha256 {SHA}"]


@pytest.mark.parametrize(("weights", "kind"), [(PINNED, "sha256"), (BY_BLOB, "git blob")])
def test_a_wrong_hash_never_enters_the_cache(look, download, tmp_path, weights, kind):
    """Another content is deleted and told with both hashes; it is no SourceError, so nothing replaces it silently."""
    with pytest.raises(ToolError, match=f"not the pinned w.pth: expected {kind} .* found") as caught:
        download(weights, Net(OTHER))
    assert not isinstance(caught.value, SourceError)
    assert caught.value.where == URL
    assert cached(tmp_path / "cache") == []
    assert look(weights) is None


def test_what_the_lock_pins_is_pinned(download, tmp_path):
    """After the first download a changed file at the address is refused, though the recipe has no hash."""
    path = download(UNPINNED, Net(CONTENT)).path
    path.unlink()
    with pytest.raises(ToolError, match="not the pinned"):
        download(UNPINNED, Net(OTHER))
    assert download(UNPINNED, Net(CONTENT)).sha256 == SHA


def test_a_damaged_cache_entry_is_removed(look, download, tmp_path):
    """A cached file whose hash no longer fits is deleted with a note, and the next place is asked."""
    path = download(PINNED, Net(CONTENT)).path
    path.chmod(0o644)
    path.write_bytes(OTHER)
    heard = Heard()
    mirrored = put(tmp_path / "mirror", "w.pth", CONTENT)
    assert look(PINNED, tmp_path / "mirror", says=heard) == Located(mirrored, SHA, "mirror", "w.pth")
    assert heard.notes == ["the cached w.pth was damaged and is removed"]
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "zz", "../../../etc/passwd", "0" * 64, "\xff"])
def test_a_forged_index_leads_nowhere(look, tmp_path, text):
    """The index from git blobs is only a hint: nonsense in it finds nothing."""
    put(tmp_path / "cache" / "git", BLOB, text.encode("latin-1"))
    assert look(BY_BLOB) is None


def test_an_index_to_another_file_is_not_believed(look, download, tmp_path):
    """A cached file that is not the git blob the index says is neither used nor deleted."""
    other = hashlib.sha256(OTHER).hexdigest()
    path = download(Weights(file="o.pth", url=URL, sha256=other), Net(OTHER)).path
    put(tmp_path / "cache" / "git", BLOB, other.encode())
    assert look(BY_BLOB) is None
    assert path.exists()


def test_no_network_names_three_ways_out(download, tmp_path):
    """An unreachable address is a SourceError with the reason, and nothing is left behind."""
    with pytest.raises(SourceError, match="not on this machine, and the connection failed: no route") as caught:
        download(PINNED, Net(b"", OSError("no route")))
    assert caught.value.exit_code == 3
    for way in ("--weights FILE", "WORKBENCH_MIRROR", "workbench fetch", URL):
        assert way in caught.value.fix
    assert cached(tmp_path / "cache") == []


def test_no_address_names_the_page(download):
    """A file that only a person can download is told with its page."""
    with pytest.raises(SourceError, match="their authors publish them on a page only") as caught:
        download(Weights(file="w.pth", page="https://example.org/page"), Net(b""))
    assert "by hand from https://example.org/page" in caught.value.fix


def test_an_empty_file_is_not_pinned(download, tmp_path):
    """An address that gives nothing pins nothing."""
    with pytest.raises(SourceError, match="an empty file"):
        download(UNPINNED, Net(b""))
    assert not (tmp_path / "r.lock").exists()
    assert cached(tmp_path / "cache") == []


def test_ctrl_c_leaves_the_beginning_and_nothing_else(download, tmp_path):
    """What came before Ctrl-C is kept under the pin, and the exception passes."""
    with pytest.raises(KeyboardInterrupt):
        download(PINNED, Net(CONTENT, KeyboardInterrupt()))
    assert cached(tmp_path / "cache") == [f"partial/{SHA}"]
    assert (tmp_path / "cache" / "partial" / SHA).read_bytes() == CONTENT[:3500]
    assert not (tmp_path / "r.lock").exists()


def test_a_file_that_arrived_meanwhile_is_not_downloaded(download):
    """When another process was faster, its file is taken."""
    download(PINNED, Net(CONTENT))
    net = Net(CONTENT)
    assert download(PINNED, net).origin == "cache"
    assert net.asked == []


def test_a_read_only_recipe_folder_is_a_warning(tmp_path):
    """The weights are used though their hash cannot be kept."""
    put(tmp_path, "plain", b"")
    heard = Heard()
    found = fetch.download(
        UNPINNED, cache=tmp_path / "cache", lock=tmp_path / "plain" / "r.lock", progress=heard, opener=Net(CONTENT)
    )
    assert found.sha256 == SHA
    assert "could not be pinned" in heard.warnings[0]


def test_a_cache_that_cannot_be_written(tmp_path):
    """A cache folder below a plain file is a ToolError, not a missing network."""
    put(tmp_path, "plain", b"")
    with pytest.raises(ToolError, match="cannot write the download") as caught:
        fetch.download(
            PINNED, cache=tmp_path / "plain" / "c", lock=tmp_path / "l", progress=Silent(), opener=Net(CONTENT)
        )
    assert not isinstance(caught.value, SourceError)
