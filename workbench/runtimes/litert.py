"""TensorFlow Lite files in LiteRT, on the CPU: the only door to its interpreter."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from workbench.errors import ToolError
from workbench.runtimes._cores import cores
from workbench.runtimes._quiet import native_quiet, quiet
from workbench.runtimes._runner import Array, Port, Runner

SERVING = "serving_default"


class LiteRtRunner(Runner):
    """A `Runner` over a LiteRT interpreter with its default XNNPACK kernels; 4-D tensors are NHWC.

    Ports carry the names of the file's signature (``serving_default``, or the first in name order), or the names of
    the tensors when the file has none. Inputs and outputs stored as integers with a scale are float32 here: they are
    quantized and dequantized by the file's own parameters. Bytes of scale 1 and zero point 0, pixels, stay bytes.

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
                detail = self._inputs[name]
                self._interpreter.set_tensor(detail["index"], np.ascontiguousarray(_stored(name, array, detail)))
            self._interpreter.invoke()
            return {
                name: _real(self._interpreter.get_tensor(detail["index"]), detail)
                for name, detail in self._outputs.items()
            }
        except (ValueError, RuntimeError) as error:
            raise ToolError(
                f"LiteRT cannot run the model: {error}", where=str(self._path), fix="check the inputs it is given"
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the interpreter."""
        del self._interpreter


def extremes(
    data: bytes, tensors: Sequence[int], feeds: Iterable[Mapping[str, Array]]
) -> dict[int, tuple[float, float]]:
    """The smallest and largest value of tensors inside a float model over all `feeds`; one run at a time is in memory.

    Args:
        data: a .tflite file with a signature, without the operators LiteRT lacks.
        tensors: their places in the first graph.
        feeds: {input: array} as `LiteRtRunner.run` takes them.

    Raises:
        ToolError: there are no feeds, LiteRT refuses one, or a tensor is NaN or infinite; it and the run are named.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    found = dict.fromkeys(tensors, (np.inf, -np.inf))
    runs = 0
    with quiet(), native_quiet():  # it warns of the memory that keeping all tensors takes
        interpreter = Interpreter(
            model_content=data,
            num_threads=cores(),
            experimental_preserve_all_tensors=True,
            # a delegate would hide the tensors between the operators that it takes over
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
    inputs, _ = _details(interpreter)
    for runs, feed in enumerate(feeds, 1):
        try:
            for name, array in feed.items():
                interpreter.set_tensor(inputs[name]["index"], np.ascontiguousarray(array))
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ToolError(f"LiteRT cannot run the model: {error}", fix="check the inputs it is given") from error
        for index, (low, high) in found.items():
            values = interpreter.get_tensor(index)
            ends = float(values.min()), float(values.max())
            if not np.isfinite(ends).all():
                name = interpreter.get_tensor_details()[index]["name"]
                raise ToolError(
                    f"tensor {name!r} is NaN or infinite for sample {runs - 1}",
                    fix="check the weights and the preprocessing of that picture",
                )
            found[index] = min(low, ends[0]), max(high, ends[1])
    if not runs:
        raise ToolError("no samples to observe", fix="give the calibration some pictures")
    return found


def _interpreter(path: Path, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    _check_graph(path)
    # LiteRT announces XNNPACK at every start, with no switch for it. Errors are not lost: its exceptions tell them too.
    with native_quiet():
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


def _in_order(named: Mapping[str, Any], details: list[Any]) -> dict[str, Any]:
    """`named` in the order of `details`; empty when a tensor of it is not among them."""
    place = {int(detail["index"]): position for position, detail in enumerate(details)}
    if any(int(detail["index"]) not in place for detail in named.values()):
        return {}
    return dict(sorted(named.items(), key=lambda item: (place[int(item[1]["index"])], item[0])))


def _port(name: str, detail: Any) -> Port:
    shape = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
    return Port(name, shape, "float32" if _parameters(detail) else np.dtype(detail["dtype"]).name)


def _parameters(detail: Any) -> tuple[np.float32, int] | None:
    """Scale and zero point of a tensor of integers that stand for other values; None for what is stored as it is."""
    scale, zero_point = detail["quantization"]
    dtype = np.dtype(detail["dtype"])
    if dtype.kind not in "iu" or scale == 0 or (dtype == np.uint8 and (scale, zero_point) == (1, 0)):
        return None
    return np.float32(scale), int(zero_point)


def _stored(name: str, array: Array, detail: Any) -> Array:
    """`array` as input `name` stores it: halves go to even, what lies outside its range to the nearest end."""
    found = _parameters(detail)
    if found is None or array.dtype != np.float32:  # another type is refused by LiteRT itself
        return array
    scale, zero_point = found
    limits = np.iinfo(detail["dtype"])
    if np.isnan(array).any():
        raise ValueError(f"NaN has no place among the integers of input {name!r}")
    steps = np.rint(array.astype(np.float32) / scale) + zero_point
    stored: Array = np.clip(steps, limits.min, limits.max).astype(detail["dtype"])
    return stored


def _real(array: Array, detail: Any) -> Array:
    """The values that the stored `array` stands for."""
    found = _parameters(detail)
    if found is None:
        return array
    scale, zero_point = found
    return (array.astype(np.float32) - np.float32(zero_point)) * scale
