"""Take out every Minimum and Maximum that an integer grid does by itself, as nothing can be stored beyond its end."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.targets.tflite import flatbuffer


def drop_idle_limits(model: Any) -> int:
    """Remove each MINIMUM (MAXIMUM) with a constant that is everywhere the largest (smallest) integer; how many.

    A Clip that is no Relu6 ends in one, and its output's grid ends where the Clip does. Exact: every result stays.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    instead: dict[int, int] = {}
    kept = []
    types: dict[int, Any] = {schema.TensorType.INT8: np.int8, schema.TensorType.INT16: np.int16}
    for kind, operator in flatbuffer.named_operators(model):
        operator.inputs = [instead.get(int(index), int(index)) for index in operator.inputs]
        source = _idle(model, kind, operator, types)
        if source is None:
            kept.append(operator)
        else:
            instead[int(operator.outputs[0])] = source
    if instead:
        graph.operators = kept
        flatbuffer.drop_unread(model)
    return len(instead)


def _idle(model: Any, kind: str, operator: Any, types: dict[int, Any]) -> int | None:
    """The tensor that `operator` only repeats, if it does."""
    graph = model.subgraphs[0]
    if kind not in ("MAXIMUM", "MINIMUM") or int(operator.outputs[0]) in [int(index) for index in graph.outputs]:
        return None
    made = graph.tensors[operator.outputs[0]]
    for source, limit in (operator.inputs, operator.inputs[::-1]):
        tensor, bound = graph.tensors[source], graph.tensors[limit]
        if not flatbuffer.constant(model, limit) or flatbuffer.constant(model, source):
            continue
        if tensor.type not in types or not (tensor.type == bound.type == made.type):
            continue
        integers = np.frombuffer(bytes(model.buffers[bound.buffer].data), types[tensor.type])
        end = np.iinfo(integers.dtype).max if kind == "MINIMUM" else np.iinfo(integers.dtype).min
        same = _grid(tensor) == _grid(made) == _grid(bound) and list(tensor.shape) == list(made.shape)
        if same and bool((integers == end).all()):
            return int(source)
    return None


def _grid(tensor: Any) -> tuple[list[float], list[int]]:
    found = tensor.quantization
    return [float(scale) for scale in found.scale], [int(point) for point in found.zeroPoint]
