"""Calibration archives: tar files with the same bytes on every run, one picture or tensor in memory at a time."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workbench.errors import ToolError


def pack(files: Iterable[tuple[str, bytes]], path: Path) -> None:
    """Write `files` (name, content) as a ustar archive to `path`, aside and then renamed.

    Args:
        files: in ascending order of name, each name once (so that a generator can be packed without being held).
        path: the archive; its folder is made when missing.

    Raises:
        ToolError: `path` cannot be written.
    """
    aside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as archive:
                for name, content in _ascending(files):
                    archive.addfile(_member(name, len(content)), io.BytesIO(content))
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise ToolError(
            f"cannot write the calibration archive: {error.strerror}",
            where=str(path),
            fix="check the disk's free space and the folder's permissions",
        ) from error


def pack_images(folder: Path, path: Path) -> int:
    """Pack the PNG files of `folder` into `path`; returns how many."""
    files = sorted(folder.glob("*.png"))
    pack(((file.name, file.read_bytes()) for file in files), path)
    return len(files)


def pack_numpy(tensors: Iterable[npt.NDArray[np.float32]], path: Path) -> int:
    """Pack `tensors`, float32 with the batch axis, as ``00000.npy``, ... (format 1.0) into `path`; returns how many."""
    count = 0

    def files() -> Iterator[tuple[str, bytes]]:
        nonlocal count
        for tensor in tensors:
            yield f"{count:05d}.npy", _npy(tensor)
            count += 1

    pack(files(), path)
    return count


def _npy(tensor: npt.NDArray[np.float32]) -> bytes:
    if tensor.dtype != np.float32:
        raise ValueError(f"calibration tensors are float32, not {tensor.dtype}")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(tensor), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _ascending(files: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    before = ""
    for name, content in files:
        if name <= before:
            raise ValueError(f"names must ascend: {name!r} after {before!r}")
        before = name
        yield name, content


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A member without anything of this machine or this moment in it (TarInfo's other fields are zero)."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member
