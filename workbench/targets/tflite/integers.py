"""The integers a .tflite file holds as weights, and their scales: what a quantizer made of a float network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.targets.tflite import flatbuffer

# The axis that counts output channels: CONV_2D has weights OHWI, DEPTHWISE_CONV_2D 1HWO.
_AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}


@dataclass(frozen=True)
class Weights:
    """The weights of one operator.

    Attributes:
        operator: its schema name, e.g. ``CONV_2D``.
        values: int8, in TensorFlow Lite's order of axes.
        scales: float32, shape (channels,), or (1,) for one scale for all.
        axis: the axis of `values` that counts output channels.
    """

    operator: str
    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    axis: int

    @property
    def rows(self) -> npt.NDArray[np.int8]:
        """The integers with the output channel first, (channels, ...) in the order of the other axes."""
        return np.moveaxis(self.values, self.axis, 0)


def weights(data: bytes) -> dict[str, Weights]:
    """The int8 weights in the .tflite file `data`, by the name of the tensor that their operator makes, in its order.

    A result that is only turned into float for the output has the output's name.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = flatbuffer.unpack(data)
    graph = model.subgraphs[0]
    operators = flatbuffer.named_operators(model)
    edges = {int(op.inputs[0]): int(op.outputs[0]) for kind, op in operators if kind == "DEQUANTIZE"}
    found = {}
    for kind, operator in operators:
        if kind not in _AXES:
            continue
        tensor = graph.tensors[operator.inputs[1]]
        if tensor.type != schema.TensorType.INT8 or not flatbuffer.constant(model, int(operator.inputs[1])):
            continue
        made = int(operator.outputs[0])
        name = graph.tensors[edges.get(made, made)].name.decode("utf-8", "replace")
        found[name] = Weights(
            kind, _values(model, tensor), np.asarray(tensor.quantization.scale, np.float32), _AXES[kind]
        )
    return found


def _values(model: Any, tensor: Any) -> npt.NDArray[np.int8]:
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8).reshape(
        [int(size) for size in tensor.shape]
    )
