"""Archives with the same bytes on every run: a few samples out of a large one, and files into a .tar.gz or .zip."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from workbench.calib.archives import check_archive, read_archive
from workbench.errors import RecipeError, ToolError

SUFFIXES = (".tar.gz", ".tgz", ".zip")
_LARGEST = 512 * 2**20  # bytes of one sample; 16 megapixels of float32 have 192 MB
_LICENCES = (".v2c", ".c2v", ".v2cp", ".haspid")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can hold


@dataclass(frozen=True)
class Entry:
    """A file to pack."""

    name: str
    data: bytes
    executable: bool = False


def sampled(archive: Path, count: int) -> tuple[bytes, int, int]:
    """A tar of the first `count` files of `archive` by name, how many those are, and how many it has.

    Raises:
        ToolError: the archive is damaged, unsafe or empty, or a sample is too large.
    """
    names = sorted(member.name for member in check_archive(archive) if not member.name.endswith(_LICENCES))
    wanted = set(names[:count])
    if not wanted:
        raise ToolError("a calibration archive without samples", where=str(archive), fix="look at how it was packed")
    found: list[Entry] = []
    for member, content in read_archive(archive, _LARGEST):
        if member.name not in wanted:
            continue
        if member.size > _LARGEST:
            raise ToolError(
                f"{member.name!r} is too large for a report", where=str(archive), fix="pack smaller samples"
            )
        found.append(Entry(member.name, content))
        if len(found) == len(wanted):
            break
    buffer = io.BytesIO()
    _tar(buffer, sorted(found, key=lambda one: one.name))
    return buffer.getvalue(), len(found), len(names)


def check_name(path: Path) -> None:
    """Raise RecipeError unless the suffix of `path` is one of an archive that can be written."""
    if not path.name.lower().endswith(SUFFIXES):
        raise RecipeError(f"{path.name}: a report is {', '.join(SUFFIXES)}", fix="name it report.tar.gz")


def write(top: str, entries: Sequence[Entry], path: Path) -> None:
    """Write `entries` below the folder `top` to `path`, whole or not at all; the suffix says in which form.

    Raises:
        RecipeError: the suffix is none of `SUFFIXES`.
        ToolError: the disk refuses.
    """
    check_name(path)
    placed = sorted((Entry(f"{top}/{one.name}", one.data, one.executable) for one in entries), key=lambda one: one.name)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            if path.suffix.lower() == ".zip":
                _zip(file, placed)
            else:
                with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                    _tar(cast(IO[bytes], packed), placed)
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        what = f"cannot write the report: {error.strerror or error}"
        raise ToolError(what, where=str(path), fix="free some space, or name another place with --out") from error


def _tar(file: IO[bytes], entries: Sequence[Entry]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for one in entries:
            member = tarfile.TarInfo(one.name)
            member.size = len(one.data)
            member.mode = 0o755 if one.executable else 0o644
            archive.addfile(member, io.BytesIO(one.data))


def _zip(file: IO[bytes], entries: Sequence[Entry]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for one in entries:
            info = zipfile.ZipInfo(one.name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if one.executable else 0o100644) << 16
            info.create_system = 3  # unix, whatever this machine is: the mode counts
            archive.writestr(info, one.data)
