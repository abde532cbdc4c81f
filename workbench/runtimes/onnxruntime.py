"""ONNX files in onnxruntime, on the CPU: the only door to onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from workbench.errors import ToolError
from workbench.runtimes._runner import Array, Port

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


def session(model: Path | bytes, *, optimize: bool = True, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An onnxruntime CPU session.

    Args:
        model: a file, or the serialized model.
        optimize: graph optimization at its default level, or none (so that every tensor keeps its own rounding).
        threads: intra-op threads; None means all cores of this process.

    Raises:
        ToolError: onnxruntime refuses the model.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    payload = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
    except (
        native.Fail,
        native.InvalidArgument,
        native.InvalidGraph,
        native.InvalidProtobuf,
        native.NoSuchFile,
        native.NotImplemented,
        native.RuntimeException,
    ) as error:
        where = "" if isinstance(model, bytes) else str(model)
        raise ToolError(
            f"onnxruntime cannot load the model: {error}", where=where, fix="check the file with onnx.checker"
        ) from error


class OnnxRunner:
    """A `Runner` over an onnxruntime session; tensors are NCHW."""

    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __init__(self, model: Path | bytes, *, optimize: bool = True, threads: int | None = None) -> None:
        self._session = session(model, optimize=optimize, threads=threads)
        self.inputs = tuple(_port(value) for value in self._session.get_inputs())
        self.outputs = tuple(_port(value) for value in self._session.get_outputs())

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see `Runner.run`."""
        names = [port.name for port in self.outputs]
        return dict(zip(names, map(np.asarray, self._session.run(names, dict(feeds))), strict=True))

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the session."""
        del self._session


def _port(value: onnxruntime.NodeArg) -> Port:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Port(value.name, shape, _DTYPES.get(value.type, value.type))
