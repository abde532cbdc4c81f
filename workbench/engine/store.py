"""Results by the hash of their key: written in a scratch folder, published by rename, never changed after.

<home>/store/<ab>/<digest>/files/...   what the stage wrote
<home>/store/<ab>/<digest>/key.json    the readable key
<home>/store/<ab>/<digest>/run.json    notes, warnings, seconds, peak memory
<home>/scratch/<stage>-<pid>/          work in progress, or the remains of a failure
<home>/partial/<digest>/               what an unfinished step keeps; see `partial`
<home>/last/<name>.json                the keys of a recipe's last run, for `plan`
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from workbench.errors import ToolError

Record = dict[str, Any]
_HOST = "".join(letter for letter in platform.node() if letter.isalnum()) or "host"


def default_home() -> Path:
    """``WORKBENCH_HOME``, or ``workbench`` in the user's cache folder."""
    if home := os.environ.get("WORKBENCH_HOME"):
        return Path(home).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "workbench"


class Store:
    """The content-addressed store in `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def files(self, digest: str) -> Path:
        """Where the files of a result are, or would be."""
        return self._entry(digest) / "files"

    def has(self, digest: str) -> bool:
        """Whether the result is there and whole; one that lost a file to a crash or a cleaner counts as absent."""
        told = self._read(self._entry(digest) / "run.json")
        if not told.keys() >= {"seconds", "peak_mb", "notes", "warnings", "files"}:
            return False
        folder = self.files(digest)
        return all(_size(folder / path) == size for path, size in told["files"].items())

    def run_record(self, digest: str) -> Record:
        """Notes, warnings, seconds and peak memory of the run that made the result."""
        return self._read(self._entry(digest) / "run.json")

    def discard(self, digest: str) -> None:
        """Forget a result, so that its stage runs again."""
        shutil.rmtree(self._entry(digest), ignore_errors=True)

    def sweep(self) -> None:
        """Remove what runs that are over left in the scratch folder."""
        for folder in (self.home / "scratch").glob(f"*-{_HOST}-*"):
            if not is_running(folder.name.rpartition("-")[2]):
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """An empty folder for one stage; after a failure it stays for a look until the next run, not after Ctrl-C.

        Raises:
            ToolError: the folder cannot be made.
        """
        folder = self.home / "scratch" / f"{name}-{_HOST}-{os.getpid()}"
        try:
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "files").mkdir(parents=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        try:
            yield folder
        except (KeyboardInterrupt, OSError):  # a full disk needs the space for the next run
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def publish(self, folder: Path, digest: str, key: Record, run: Record) -> None:
        """Rename a finished scratch folder into its place.

        Raises:
            ToolError: the disk refuses.
        """
        entry = self._entry(digest)
        files = sorted(path for path in (folder / "files").rglob("*") if path.is_file())
        sizes = {path.relative_to(folder / "files").as_posix(): path.stat().st_size for path in files}
        try:
            write_json(folder / "key.json", key)
            write_json(folder / "run.json", {**run, "files": sizes})
            entry.parent.mkdir(parents=True, exist_ok=True)
            if entry.exists() and not self.has(digest):
                shutil.rmtree(entry)
            try:
                folder.rename(entry)
            except OSError:
                if not self.has(digest):  # another process may have been first with the same content
                    raise
                shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            raise disk_error(error, entry) from error

    def last_keys(self, name: str) -> dict[str, Record]:
        """The keys of the last run of recipe `name`, by stage."""
        found = self._read(self.home / "last" / f"{name}.json")
        return {stage: key for stage, key in found.items() if isinstance(key, dict)}

    def remember_keys(self, name: str, keys: dict[str, Record]) -> None:
        """Keep the keys of this run for the next `plan`; a disk that refuses costs only that explanation."""
        path = self.home / "last" / f"{name}.json"
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, keys)

    @staticmethod
    def _read(path: Path) -> Record:
        """The mapping in a note of ours; empty when it is missing or a crash left half of it."""
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _entry(self, digest: str) -> Path:
        return self.home / "store" / digest[:2] / digest


def write_json(path: Path, data: Any) -> None:
    """Write `data`, plain values or dataclasses of them, as readable JSON, whole or not at all."""
    # JSON itself has no infinity; to_jsonable_python takes the mode and leaves floats as they are.
    plain = json.loads(to_json(data, inf_nan_mode="strings"))
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")  # two runs may write the same note
    aside.write_text(json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    aside.replace(path)


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_running(pid: str) -> bool:
    """Whether a process of this number exists; False for what is no number."""
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's, so it runs
        return True
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


_FREE = "free some space there"
_IN_THE_WAY = "a file is where a folder should be: move it away, or name another place"
_ELSEWHERE = "name a folder you may write: WORKBENCH_HOME for the cache, --dist for results"
_CURES = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: "a folder is where a file should be: move it away, or name another place",
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EIO: "the disk is failing: name another place, and look at the system's log",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
}


def is_disk_error(error: OSError) -> bool:
    """Whether this is the disk's or a user's affair; any other OSError is a bug of ours and keeps its traceback."""
    return error.errno in _CURES


def disk_error(error: OSError, where: Path | str) -> ToolError:
    """What a refused read or write means for a user."""
    return ToolError(
        f"the disk refuses: {error.strerror or error}",
        where=str(error.filename or where),
        fix=_CURES.get(error.errno or 0, _ELSEWHERE),
    )
