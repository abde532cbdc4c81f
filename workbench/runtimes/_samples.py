"""Samples as AXera's programs take and leave them: a folder a sample, in it one raw little-endian file a tensor."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.errors import ToolError
from workbench.runtimes._runner import Array, Port

GIVEN, MADE, LIST = "in", "out", "list.txt"
MOST = 64  # samples of one start
_MOST_BYTES = 1 << 29  # of one start, in and out together


@dataclass(frozen=True)
class Samples:
    """The tensors of one compiled model as files.

    Args:
        path: the model, for messages.
        inputs: its ports, as the file declares them; static.
        outputs: likewise.

    Raises:
        ToolError: a port is not static or holds no numbers, or two ports would share a file.
    """

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __post_init__(self) -> None:
        for ports in (self.inputs, self.outputs):
            _check(ports, self.path)

    def write(self, folder: Path, feeds: Mapping[str, Array]) -> None:
        """Write one file per input into `folder`, which is made when it is missing.

        Raises:
            ToolError: `feeds` does not fit the inputs, or the disk is full.
        """
        if feeds.keys() != {port.name for port in self.inputs}:
            raise ToolError(
                f"the model takes {[port.name for port in self.inputs]}, given was {sorted(feeds)}",
                where=str(self.path),
                fix="give exactly its inputs",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for port in self.inputs:
                (folder / file_name(port.name)).write_bytes(self._bytes(feeds[port.name], port))
        except OSError as error:
            raise disk_full(error, folder) from error

    def read(self, folder: Path, who: str) -> dict[str, Array]:
        """The outputs that the program `who` left in `folder`.

        Raises:
            ToolError: one is missing, or has another size than the model declares.
        """
        return {port.name: self.read_one(folder, port, who) for port in self.outputs}

    def staged(self, feeds: Iterable[Mapping[str, Array]], work: Path) -> Iterator[tuple[str, ...]]:
        """Write `feeds` in batches, each ready to be run, and yield the names of its samples.

        While a batch is handled, `work` holds ``in/<sample>/<tensor>.bin``, empty folders ``out/<sample>/`` and
        ``list.txt`` with a sample's name a line; before the next one and at the end they are removed, so that a result
        of an earlier run never passes for one that was not written.
        """
        per_sample = sum(byte_size(port) for port in (*self.inputs, *self.outputs))
        most = max(1, min(MOST, _MOST_BYTES // max(1, per_sample)))
        names: list[str] = []
        try:
            for index, feed in enumerate(feeds):
                name = sample_name(index)
                self.write(work / GIVEN / name, feed)
                names.append(name)
                if len(names) == most:
                    yield _ready(work, names)
                    _clear(work)
                    names = []
            if names:
                yield _ready(work, names)
        finally:
            _clear(work)

    def _bytes(self, array: Array, port: Port) -> bytes:
        if array.shape != port.shape or array.dtype.name != port.dtype:
            raise ToolError(
                f"input {port.name!r} is {port.dtype} {list(port.shape)}, given was {array.dtype} {list(array.shape)}",
                where=str(self.path),
                fix="give what the model declares",
            )
        return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()

    def read_one(self, folder: Path, port: Port, who: str) -> Array:
        """One output of those that `read` reads."""
        file = folder / file_name(port.name)
        data = b""
        try:
            # Size before content: a link to a device, or a file of terabytes, must not be read.
            plain = file.is_file() and not file.is_symlink()
            size = file.stat().st_size if plain else 0
            if plain and size == byte_size(port):
                data = file.read_bytes()
        except OSError as error:
            raise ToolError(
                f"cannot read {file.name}: {error.strerror}", where=str(file), fix="run it again"
            ) from error
        if not plain:
            raise missing(port, self.path, who)
        if len(data) != byte_size(port):
            raise wrong_size(port, size, self.path, who)
        dtype = np.dtype(port.dtype)
        return np.frombuffer(data, dtype.newbyteorder("<")).reshape(static(port)).astype(dtype)


def sample_name(index: int) -> str:
    """The folder of sample `index`, from 0: four digits, so that their order is that of their names."""
    return f"{index:04d}"


def file_name(tensor: str) -> str:
    """The file that holds a tensor: every character but letters, digits, ``_`` and ``-`` becomes ``_``."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", tensor) + ".bin"


def static(port: Port) -> tuple[int, ...]:
    """The shape of a port that is known to have one."""
    return tuple(size for size in port.shape if size is not None)


def byte_size(port: Port) -> int:
    """How large the file of a port is."""
    return np.dtype(port.dtype).itemsize * math.prod(static(port))


def missing(port: Port, path: Path, who: str) -> ToolError:
    """The error of an output that was not written."""
    return ToolError(
        f"{who} wrote no output {port.name!r} ({file_name(port.name)})",
        where=str(path),
        fix="was it compiled whole, and with these output names?",
    )


def wrong_size(port: Port, size: int, path: Path, who: str) -> ToolError:
    """The error of an output that has another size than its shape and type make."""
    return ToolError(
        f"{who} wrote {size} bytes for output {port.name!r} of {port.dtype} {list(port.shape)}: it has"
        f" {byte_size(port)}",
        where=str(path),
        fix="is the model on both sides the same file? else report the model and the tool's version",
    )


def disk_full(error: OSError, where: Path) -> ToolError:
    """The error of a disk that cannot be written."""
    return ToolError(f"cannot use the disk: {error.strerror}", where=str(where), fix="free some space")


def _check(ports: Sequence[Port], path: Path) -> None:
    names = [file_name(port.name) for port in ports]
    if len(set(names)) != len(names):
        raise ToolError(
            f"two tensors would share one file: {sorted(names)}", where=str(path), fix="rename them and compile again"
        )
    for port in ports:
        try:
            numbers = np.dtype(port.dtype).kind in "fiub"
        except TypeError:
            numbers = False
        if not numbers:
            raise ToolError(
                f"tensor {port.name!r} holds {port.dtype}, for which there is no raw file",
                where=str(path),
                fix="compile with inputs and outputs of 8 to 64 bit integers or floats",
            )
        if None in port.shape:
            raise ToolError(f"tensor {port.name!r} has no static shape", where=str(path), fix="compile a static model")


def _ready(work: Path, names: Sequence[str]) -> tuple[str, ...]:
    try:
        for name in names:
            (work / MADE / name).mkdir(parents=True, exist_ok=True)
        (work / LIST).write_text("".join(f"{name}\n" for name in names), "utf-8")
    except OSError as error:
        raise disk_full(error, work) from error
    return tuple(names)


def _clear(work: Path) -> None:
    for name in (GIVEN, MADE):
        shutil.rmtree(work / name, ignore_errors=True)
