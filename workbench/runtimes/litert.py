"""TensorFlow Lite files in LiteRT, on the CPU: the only door to its interpreter."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from workbench.errors import ToolError
from workbench.runtimes._cores import cores
from workbench.runtimes._runner import Array, Port

SERVING = "serving_default"


class LiteRtRunner:
    """A `Runner` over a LiteRT interpreter with its default XNNPACK kernels; 4-D tensors are NHWC.

    Ports carry the names of the file's signature (``serving_default``, or the first in name order), or the names of
    the tensors when the file has none. Quantized inputs and outputs are given and returned as they are stored.

    Args:
        path: a .tflite file.
        threads: None means all cores of this process.

    Raises:
        ToolError: the file is missing, not TensorFlow Lite, or holds operators LiteRT does not have.
    """

    runtime = "LiteRT"
    layout: Literal["NCHW", "NHWC"] = "NHWC"

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self._path = path
        if not path.is_file():
            raise ToolError("no such file", where=str(path), fix="check the path")
        try:
            self._interpreter = _interpreter(path, threads or cores())
            self._inputs, self._outputs = _details(self._interpreter)
        except (ValueError, RuntimeError, TypeError, struct.error) as error:  # damage is found here and there
            raise ToolError(
                f"LiteRT cannot load the model: {str(error).strip()}",
                where=str(path),
                fix="give a whole .tflite file; custom and Flex operators need TensorFlow itself",
            ) from error
        self.inputs = tuple(_port(name, detail) for name, detail in self._inputs.items())
        self.outputs = tuple(_port(name, detail) for name, detail in self._outputs.items())

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see `Runner.run`.

        Raises:
            ToolError: `feeds` does not fit the inputs, or a kernel fails.
        """
        if feeds.keys() != self._inputs.keys():
            raise ToolError(
                f"the model takes {sorted(self._inputs)}, given were {sorted(feeds)}", where=str(self._path)
            )
        try:
            for name, array in feeds.items():
                self._interpreter.set_tensor(self._inputs[name]["index"], np.ascontiguousarray(array))
            self._interpreter.invoke()
            return {name: self._interpreter.get_tensor(detail["index"]) for name, detail in self._outputs.items()}
        except (ValueError, RuntimeError) as error:
            raise ToolError(
                f"LiteRT cannot run the model: {error}", where=str(self._path), fix="check the inputs it is given"
            ) from error

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the interpreter."""
        del self._interpreter


def _interpreter(path: Path, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    _check_graph(path)
    with _silent():
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    return interpreter


def _check_graph(path: Path) -> None:
    """Raise ValueError or struct.error for a file without a graph: LiteRT 2.3 ends the process on one."""
    from ai_edge_litert import schema_py_generated as schema

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not schema.Model.GetRootAs(data, 0).SubgraphsLength():
            raise ValueError("there is no graph inside")


def _details(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The main graph's inputs and outputs by name, in the order of the file."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    signatures = interpreter.get_signature_list()
    if signatures:
        runner = interpreter.get_signature_runner(SERVING if SERVING in signatures else min(signatures))
        named = (_in_order(runner.get_input_details(), inputs), _in_order(runner.get_output_details(), outputs))
        if all(named):  # a signature of another graph of the file names none of these tensors
            return named
    return {detail["name"]: detail for detail in inputs}, {detail["name"]: detail for detail in outputs}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what native code writes to stderr: LiteRT announces XNNPACK there at every start, with no switch for it.

    Errors are not lost: LiteRT puts them into its exceptions, too.
    """
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _in_order(named: Mapping[str, Any], details: list[Any]) -> dict[str, Any]:
    """`named` in the order of `details`; empty when a tensor of it is not among them."""
    place = {int(detail["index"]): position for position, detail in enumerate(details)}
    if any(int(detail["index"]) not in place for detail in named.values()):
        return {}
    return dict(sorted(named.items(), key=lambda item: (place[int(item[1]["index"])], item[0])))


def _port(name: str, detail: Any) -> Port:
    shape = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
    return Port(name, shape, np.dtype(detail["dtype"]).name)
