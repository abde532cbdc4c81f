"""Archives from elsewhere: what a tar, tar.gz or zip holds, listed or read member by member, never unpacked to disk."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from workbench.errors import ToolError

_MOST_MEMBERS = 200_000
_MOST_BYTES = 64 * 2**30  # unpacked; a thousand 16-megapixel float tensors have 190 GB, nobody calibrates on them
_MOST_AT_ONCE = 2**20  # a tar header, with its longest names, is far smaller


@dataclass(frozen=True)
class Member:
    """One file of an archive: its name as stored and its size in bytes."""

    name: str
    size: int


def check_archive(path: Path) -> tuple[Member, ...]:
    """The files in `path`, in archive order.

    Raises:
        ToolError: not a tar, tar.gz or zip; damaged; or a member is a link, a device, encrypted, named twice, or named
            so that unpacking would leave the folder.
    """
    return tuple(member for member, _ in _checked(path, 0))


def read_archive(path: Path, largest: int) -> Iterator[tuple[Member, bytes]]:
    """The files in `path` one by one, in archive order, with their first `largest` bytes.

    Only one is in memory at a time, and never more of it than that.

    Raises:
        ToolError: as `check_archive`; what comes before the offence has been yielded by then.
    """
    yield from _checked(path, largest)


def _checked(path: Path, largest: int) -> Iterator[tuple[Member, bytes]]:
    seen: set[str] = set()
    total = 0
    try:
        for member, content in _members(path, largest):
            name = _safe(member.name, path)
            if name in seen:
                raise _refused(path, f"{member.name!r} is in it twice")
            seen.add(name)
            total += member.size
            if member.size < 0 or total > _MOST_BYTES or len(seen) > _MOST_MEMBERS:
                raise _refused(path, f"it claims to be larger than any calibration set, at {member.name!r}")
            yield member, content
    except OSError as error:
        if error.strerror is None:  # gzip's own complaints have no system error
            raise _damaged(path, error) from error
        raise ToolError(f"cannot read the archive: {error.strerror}", where=str(path), fix="check the path") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error


def _members(path: Path, largest: int) -> Iterator[tuple[Member, bytes]]:
    if not path.is_file():
        raise ToolError("no such archive", where=str(path), fix="give a tar, a tar.gz or a zip file")
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                yield from _tar(unpacked, path, largest)
        elif start in (b"PK\x03\x04", b"PK\x05\x06"):
            yield from _zip(file, path, largest)
        else:
            yield from _tar(file, path, largest)


class _Frugal:
    """A file that refuses to hand out much at once.

    tarfile reads a pax header or a long name in one piece of whatever size the archive claims: a few kilobytes of gzip
    would become gigabytes of memory. Listing needs no large read.
    """

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise tarfile.ReadError("a header claims to be larger than any header is")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _tar(file: IO[bytes] | gzip.GzipFile, path: Path, largest: int) -> Iterator[tuple[Member, bytes]]:
    # _Frugal has the three methods that reading needs; the annotation asks for writing too
    with tarfile.TarFile(fileobj=cast(IO[bytes], _Frugal(file)), mode="r") as archive:
        for entry in archive:
            if entry.isdir():
                _safe(entry.name, path)
            elif not entry.isreg() or entry.issparse():
                raise _refused(path, f"{entry.name!r} is not a plain file")
            else:
                opened = archive.extractfile(entry) if largest else None
                yield Member(entry.name, entry.size), _start(opened, largest)


def _zip(file: IO[bytes], path: Path, largest: int) -> Iterator[tuple[Member, bytes]]:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(path, f"{entry.filename!r} is not a plain file")
            if entry.flag_bits & 1:
                raise _refused(path, f"{entry.filename!r} is encrypted")
            if entry.is_dir():
                _safe(entry.filename, path)
            else:
                opened = archive.open(entry) if largest else None
                yield Member(entry.filename, entry.file_size), _start(opened, largest)


def _start(opened: IO[bytes] | None, largest: int) -> bytes:
    """The first `largest` bytes, in pieces that any file hands out."""
    if opened is None:
        return b""
    parts: list[bytes] = []
    left = largest
    with opened:
        while left > 0 and (part := opened.read(min(left, _MOST_AT_ONCE))):
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


def _safe(name: str, path: Path) -> str:
    """`name` in its plain form, or an error when it leads out of the folder it would be unpacked to."""
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or ".." in parts or "\\" in name or ":" in name or "\0" in name:
        raise _refused(path, f"{name!r} is not a name inside the archive's folder")
    return "/".join(parts)


def _refused(path: Path, why: str) -> ToolError:
    return ToolError(f"archive refused: {why}", where=str(path), fix="pack plain files, with workbench convert or tar")


def _damaged(path: Path, error: Exception) -> ToolError:
    return ToolError(
        f"not a tar, tar.gz or zip, or damaged: {error}", where=str(path), fix="pack it again; was it copied whole?"
    )
