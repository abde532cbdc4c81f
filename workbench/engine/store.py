"""Results by the hash of their key: written in a scratch folder, published by rename, never changed after.

<home>/store/<ab>/<digest>/files/...   what the stage wrote
<home>/store/<ab>/<digest>/key.json    the readable key
<home>/store/<ab>/<digest>/run.json    notes, warnings, seconds, peak memory
<home>/scratch/<stage>-<pid>/          work in progress, or the remains of a failure
<home>/last/<name>.json                the keys of a recipe's last run, for `plan`
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from workbench.errors import ToolError

Record = dict[str, Any]


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
        """Whether the result is there; it is whole if it is."""
        return (self._entry(digest) / "run.json").is_file()

    def run_record(self, digest: str) -> Record:
        """Notes, warnings, seconds and peak memory of the run that made the result."""
        found: Record = json.loads((self._entry(digest) / "run.json").read_text("utf-8"))
        return found

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """An empty folder for one stage; what is left of it after a failure stays for a look.

        Raises:
            ToolError: the folder cannot be made.
        """
        folder = self.home / "scratch" / f"{name}-{os.getpid()}"
        try:
            shutil.rmtree(self.home / "scratch" / name, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "files").mkdir(parents=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        yield folder

    def publish(self, folder: Path, digest: str, key: Record, run: Record) -> None:
        """Rename a finished scratch folder into its place.

        Raises:
            ToolError: the disk refuses.
        """
        entry = self._entry(digest)
        try:
            write_json(folder / "key.json", key)
            write_json(folder / "run.json", run)
            entry.parent.mkdir(parents=True, exist_ok=True)
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
        try:
            found: dict[str, Record] = json.loads((self.home / "last" / f"{name}.json").read_text("utf-8"))
        except (OSError, ValueError):  # never run, or a damaged note: both only cost the explanation
            return {}
        return found

    def remember_keys(self, name: str, keys: dict[str, Record]) -> None:
        """Keep the keys of this run for the next `plan`.

        Raises:
            ToolError: the disk refuses.
        """
        path = self.home / "last" / f"{name}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, keys)
        except OSError as error:
            raise disk_error(error, path) from error

    def _entry(self, digest: str) -> Path:
        return self.home / "store" / digest[:2] / digest


def write_json(path: Path, data: Any) -> None:
    """Write `data`, plain values or dataclasses of them, as readable JSON, whole or not at all."""
    plain = to_jsonable_python(data, inf_nan_mode="strings")  # JSON itself has no infinity
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    aside.replace(path)


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_error(error: OSError, where: Path) -> ToolError:
    """What a refused read or write means for a user."""
    place = error.filename or where
    return ToolError(
        f"the disk refuses: {error.strerror or error}",
        where=str(place),
        fix="free some space, or name a folder you may write (WORKBENCH_HOME for the cache, --dist for results)",
    )
