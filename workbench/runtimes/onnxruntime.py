"""ONNX files in onnxruntime, on the CPU: the only door to onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np

from workbench.errors import ToolError
from workbench.runtimes._cores import cores
from workbench.runtimes._runner import Array, Port, Runner

if TYPE_CHECKING:
    import onnxruntime

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(uint16)": "uint16",
    "tensor(int16)": "int16",
    "tensor(bool)": "bool",
}


def session(
    model: Path | bytes, *, optimize: bool = True, threads: int | None = None, lean: bool = False
) -> onnxruntime.InferenceSession:
    """An onnxruntime CPU session.

    Args:
        model: a file, or the serialized model.
        optimize: graph optimization at its default level, or none (so that every tensor keeps its own rounding).
        threads: intra-op threads; None means all cores of this process.
        lean: run each node as soon as it can, so that side branches free their input early. For graphs in which every
            tensor feeds a reduction it halves the time and keeps one activation alive instead of all of them.

    Raises:
        ToolError: onnxruntime refuses the model.
    """
    import onnxruntime

    # On x86 without VNNI the 8-bit kernels add pairs of u8*s8 products in 16 bits, which saturate: a QDQ convolution of
    # all 255 inputs and all 127 weights gave 1048 instead of 2072 on an emulated Haswell. The first entry makes the
    # weights u8, which those kernels add exactly. It names the new weight after the old one and so cannot load a file
    # in which two nodes share a weight; such a file runs its convolutions in float instead.
    exact, shared_weights = ("session.x64quantprecision", "1"), ("session.disable_quant_qdq", "1")
    payload = model if isinstance(model, bytes) else str(model)
    failure: Exception | None = None
    for entry in (exact, shared_weights):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or cores()
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        if lean:
            options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
            options.enable_mem_pattern = False  # planned on the first run, it took 600 instead of 414 MB after four
        options.add_session_config_entry(*entry)
        try:
            return onnxruntime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
        except _failures() as error:
            failure = failure or error
    where = "" if isinstance(model, bytes) else str(model)
    raise ToolError(
        f"onnxruntime cannot load the model: {failure}", where=where, fix="check the file with onnx.checker"
    ) from failure


class OnnxRunner(Runner):
    """A `Runner` over an onnxruntime session; tensors are NCHW."""

    runtime = "onnxruntime"
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __init__(
        self, model: Path | bytes, *, optimize: bool = True, threads: int | None = None, lean: bool = False
    ) -> None:
        self._session = session(model, optimize=optimize, threads=threads, lean=lean)
        self._where = "" if isinstance(model, bytes) else str(model)
        self.inputs = tuple(_port(value) for value in self._session.get_inputs())
        self.outputs = tuple(_port(value) for value in self._session.get_outputs())

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see `Runner.run`.

        Raises:
            ToolError: `feeds` has other names, shapes or dtypes than `inputs`, or a node fails.
        """
        names = [port.name for port in self.outputs]
        try:
            results = self._session.run(names, dict(feeds))
        except _failures() as error:
            raise ToolError(
                f"onnxruntime cannot run the model: {error}", where=self._where, fix="check the inputs it is given"
            ) from error
        return dict(zip(names, map(np.asarray, results), strict=True))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the session."""
        del self._session


def _failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises; its classes have no common base, and a missing feed is a plain ValueError."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    return (
        native.Fail,
        native.InvalidArgument,
        native.InvalidGraph,
        native.InvalidProtobuf,
        native.NoSuchFile,
        native.NotImplemented,
        native.RuntimeException,
        ValueError,
    )


def _port(value: onnxruntime.NodeArg) -> Port:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Port(value.name, shape, _DTYPES.get(value.type, value.type))
