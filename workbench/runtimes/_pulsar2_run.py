"""Compiled models in the vendor's x86 simulation, `pulsar2 run`: slow, and exactly what the chip computes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.runtimes._runner import Array, Port
from workbench.runtimes.pulsar2_tool import Toolchain

_MODEL, _SAMPLE, _LOG = "model.axmodel", "0", "run.log"
_LARGEST_TIMEOUT = 3600.0


class Pulsar2Runner:
    """A `Runner` over ``pulsar2 run``: a start of the tool for every run.

    Args:
        toolchain: a Pulsar2 that answered.
        path: a compiled model.
        inputs: its ports, as the file declares them; static.
        outputs: likewise.

    Raises:
        ToolError: a port is not static, two ports would share a file, or the disk is full.
    """

    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __init__(self, toolchain: Toolchain, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        self.runtime = f"pulsar2 run ({toolchain.version})"
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._toolchain, self._path = toolchain, path
        for ports in (self.inputs, self.outputs):
            _check(ports, path)
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="workbench-run-")
            self._work = Path(self._folder.name)
            (self._work / _MODEL).write_bytes(path.read_bytes())
        except OSError as error:
            raise _disk(error, path) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see `Runner.run`.

        Raises:
            ToolError: `feeds` does not fit the inputs, the tool fails, or it writes something else than the outputs.
        """
        if feeds.keys() != {port.name for port in self.inputs}:
            raise ToolError(f"the model takes {[port.name for port in self.inputs]}", where=str(self._path))
        given, made = self._work / "in" / _SAMPLE, self._work / "out" / _SAMPLE
        try:
            given.mkdir(parents=True, exist_ok=True)
            made.mkdir(parents=True, exist_ok=True)
            (self._work / "list.txt").write_text(f"{_SAMPLE}\n")
            for port in self.inputs:
                (given / file_name(port.name)).write_bytes(_bytes(feeds[port.name], port, self._path))
            for port in self.outputs:
                (made / file_name(port.name)).unlink(missing_ok=True)  # an old result must not pass for a new one
        except OSError as error:
            raise _disk(error, self._work) from error
        arguments = ("run", "--model", _MODEL, "--input_dir", "in", "--output_dir", "out", "--list", "list.txt")
        self._toolchain.run(arguments, self._work, self._work / _LOG, Silent(), _LARGEST_TIMEOUT)
        return {port.name: self._read(made / file_name(port.name), port) for port in self.outputs}

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the scratch folder."""
        self._folder.cleanup()

    def _read(self, file: Path, port: Port) -> Array:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise ToolError(
                f"pulsar2 run wrote no output {port.name!r}", where=str(self._path), fix="was it compiled whole?"
            ) from error
        dtype = np.dtype(port.dtype).newbyteorder("<")
        shape = _static(port)
        if len(data) != dtype.itemsize * int(np.prod(shape)):
            raise ToolError(
                f"pulsar2 run wrote {len(data)} bytes for output {port.name!r} of {port.dtype} {list(shape)}",
                where=str(self._path),
                fix="report the model and the tool's version",
            )
        return np.frombuffer(data, dtype).reshape(shape).astype(port.dtype)


def file_name(tensor: str) -> str:
    """The file that holds a tensor: every character but letters, digits, ``_`` and ``-`` becomes ``_``."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", tensor) + ".bin"


def _check(ports: Sequence[Port], path: Path) -> None:
    names = [file_name(port.name) for port in ports]
    if len(set(names)) != len(names):
        raise ToolError(
            f"two tensors would share one file: {sorted(names)}", where=str(path), fix="rename them and compile again"
        )
    if any(None in port.shape for port in ports):
        raise ToolError("a tensor without a static shape", where=str(path), fix="compile a static model")


def _static(port: Port) -> tuple[int, ...]:
    return tuple(size for size in port.shape if size is not None)


def _bytes(array: Array, port: Port, path: Path) -> bytes:
    if array.shape != _static(port) or array.dtype.name != port.dtype:
        raise ToolError(
            f"input {port.name!r} is {port.dtype} {list(port.shape)}, given was {array.dtype} {list(array.shape)}",
            where=str(path),
        )
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()


def _disk(error: OSError, where: Path) -> ToolError:
    return ToolError(f"cannot use the disk: {error.strerror}", where=str(where), fix="free some space")
