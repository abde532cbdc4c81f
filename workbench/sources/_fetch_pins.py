"""How a file of weights is recognised: by the recipe's hash, or by one kept in a lock file beside the recipe."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from workbench.engine.progress import Progress
from workbench.errors import RecipeError, SourceError
from workbench.recipe import yaml_marks
from workbench.recipe.schema import Strict, Weights

LOCAL = "a local copy"  # what the lock says of a file that came from no address; paths of this machine stay out of it
_HEAD = "# Hashes of files whose publisher states none, as first seen. Keep this file with the recipe.\n"
_LARGEST_LOCK = 1_000_000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """What a file's content hashes to. `git_blob` is git's: SHA-1 of ``blob <size>``, a zero byte and the content."""

    sha256: str
    git_blob: str
    size: int


@dataclass(frozen=True)
class Pin:
    """What is known of the file before it is seen; all None when nothing is."""

    sha256: str | None = None
    git_blob: str | None = None
    size: int | None = None

    @property
    def known(self) -> bool:
        """Whether a wrong file can be told from the right one."""
        return self.sha256 is not None or self.git_blob is not None

    def fits(self, found: Digest) -> bool:
        """Whether `found` is the pinned content."""
        return self.sha256 in (None, found.sha256) and self.git_blob in (None, found.git_blob)

    def difference(self, found: Digest) -> str:
        """Expected and found, for a message."""
        parts = []
        if self.sha256 not in (None, found.sha256):
            parts.append(f"expected sha256 {self.sha256}, found {found.sha256}")
        if self.git_blob not in (None, found.git_blob):
            parts.append(f"expected git blob {self.git_blob}, found {found.git_blob}")
        return "; ".join(parts)


class Entry(Strict):
    """One file in a lock file."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=1)]
    origin: Annotated[str, Field(description="the address it came from, or that it was a local copy")]


def digest(path: Path) -> Digest:
    """Hash a file, a megabyte at a time.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        sha256 = hashlib.sha256()
        blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            blob.update(chunk)
    return Digest(sha256.hexdigest(), blob.hexdigest(), size)


def pin(weights: Weights, lock: Path) -> Pin:
    """What the recipe pins, or else what the lock file does.

    Raises:
        SourceError: the lock file is damaged.
    """
    if weights.sha256 is not None or weights.git_blob is not None:
        return Pin(weights.sha256, weights.git_blob)
    entry = read(lock).get(weights.file)
    return Pin(entry.sha256, None, entry.size) if entry else Pin()


def read(lock: Path) -> dict[str, Entry]:
    """The entries of a lock file, by file name; empty when there is none.

    Raises:
        SourceError: it is not a lock file.
    """
    fix = "restore it from version control, or delete it to pin what is found next"
    try:
        if not lock.exists():
            return {}
        if lock.stat().st_size > _LARGEST_LOCK:
            raise SourceError("too large for a lock file", where=str(lock), fix=fix)
        data, _ = yaml_marks.parse(lock.read_text("utf-8"), str(lock))  # bounded: aliases cannot explode in it
        return {name: Entry.model_validate(entry) for name, entry in data.items()}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise SourceError(f"not a lock file: {at}: {first['msg']}", where=str(lock), fix=fix) from error
    except (RecipeError, UnicodeDecodeError) as error:
        what = error.what if isinstance(error, RecipeError) else "not text"
        raise SourceError(f"not a lock file: {what}", where=str(lock), fix=fix) from error
    except OSError as error:
        raise SourceError(f"cannot read the lock file: {error.strerror}", where=str(lock), fix=fix) from error


def keep(lock: Path, file: str, found: Digest, origin: str, progress: Progress) -> None:
    """Pin `file` to what was found. A folder that cannot be written is a warning: then nothing holds the file later.

    Raises:
        SourceError: the lock file is damaged.
    """
    entries = {**read(lock), file: Entry(sha256=found.sha256, size=found.size, origin=origin)}
    aside = lock.with_name(f".{lock.name}.{os.getpid()}.part")  # two runs at once must not share it
    try:
        aside.write_text(_text(entries), "utf-8")
        aside.replace(lock)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        progress.warn(f"{file} could not be pinned in {lock.name} ({error.strerror}): its next copy may differ unseen")
        return
    progress.note(f"{file} pinned in {lock.name}: sha256 {found.sha256}")


def _text(entries: Mapping[str, Entry]) -> str:
    plain = {name: entry.model_dump() for name, entry in entries.items()}
    return _HEAD + yaml.safe_dump(plain, sort_keys=True, allow_unicode=True, width=1000)
