"""TensorFlow Lite files, read as the flatbuffers they are, without an interpreter."""

from __future__ import annotations

import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import ToolError
from workbench.inspection.facts import Facts, Tensor
from workbench.targets.tflite import flatbuffer

_MAGIC = slice(4, 8)
_IDENTIFIER = b"TFL3"
# Layers with weights: where data and weights are among the inputs, and the axes of the weights that a result sums over.
_SUMS = {
    "CONV_2D": (1, (1, 2, 3)),
    "DEPTHWISE_CONV_2D": (1, (1, 2)),
    "FULLY_CONNECTED": (1, (1,)),
    "BATCH_MATMUL": (0, (-1,)),
}


def read(path: Path) -> Facts:
    """What the .tflite file in `path` holds.

    Raises:
        ToolError: the file cannot be read, or is no whole TensorFlow Lite file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ToolError(f"cannot read the model: {error.strerror}", where=str(path), fix="check the path") from error
    if data[_MAGIC] != _IDENTIFIER:
        raise ToolError("not a TensorFlow Lite file", where=str(path), fix="was it downloaded whole?")
    try:
        return _facts(flatbuffer.unpack(data))
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
        # The reader trusts the offsets in the file; what they lead to may be anything.
        raise ToolError(
            f"a damaged TensorFlow Lite file: {' '.join(str(error).split())[:120]}",
            where=str(path),
            fix="was it downloaded whole?",
        ) from error


def _facts(model: Any) -> Facts:
    graph = model.subgraphs[0]
    named = flatbuffer.signature_names(model)
    description = bytes(model.description or b"").decode("utf-8", "replace")
    counts, size = _parameters(model)
    notes = [description.partition("; ")[2]] if "NOT DEPLOYABLE" in description else []
    if len(model.subgraphs) > 1:
        notes.append(f"{len(model.subgraphs)} graphs; inputs, outputs and MACs are those of the first")
    macs = sum(_macs(graph, kind, operator) for kind, operator in flatbuffer.named_operators(model))
    custom = [kind for kind in flatbuffer.operators(model) if kind.startswith("custom:")]
    if custom:
        notes.append(f"needs operators that TensorFlow Lite does not have: {', '.join(custom)}")
    return Facts(
        kind="TensorFlow Lite",
        inputs=tuple(_tensor(graph.tensors[int(index)], named.get(int(index))) for index in graph.inputs),
        outputs=tuple(_tensor(graph.tensors[int(index)], named.get(int(index))) for index in graph.outputs),
        operators=flatbuffer.operators(model),
        origin={"Description": description, "Schema": str(model.version)},
        parameters=counts,
        parameter_bytes=size,
        macs=macs,
        notes=tuple(notes),
    )


def _tensor(tensor: Any, name: str | None) -> Tensor:
    shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return Tensor(
        name=name or bytes(tensor.name or b"").decode("utf-8", "replace"),
        dtype=_dtype(tensor),
        shape=None if shape is None else tuple(None if size < 0 else int(size) for size in shape),
        note=_grid(tensor.quantization),
    )


def _grid(quantization: Any) -> str:
    """``scale 0.0039, zero point -128`` for integers that stand for real numbers."""
    if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        return ""
    zero = 0 if quantization.zeroPoint is None else int(quantization.zeroPoint[0])
    return f"scale {float(quantization.scale[0]):.6g}, zero point {zero}"


def _dtype(tensor: Any) -> str:
    return flatbuffer.type_name(tensor.type).lower()


def _parameters(model: Any) -> tuple[dict[str, int], int]:
    counts: Counter[str] = Counter()
    size = 0
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data) > 0:
                counts[_dtype(tensor)] += math.prod(int(one) for one in _dims(tensor))
                size += len(data)
    return dict(sorted(counts.items())), size


def _macs(graph: Any, kind: str, operator: Any) -> int:
    if kind == "TRANSPOSE_CONV":  # inputs: the shape of the result, weights (O, kh, kw, I), data
        weights, data = (_dims(graph.tensors[int(operator.inputs[place])]) for place in (1, 2))
        return math.prod(data) * math.prod(weights[:3])
    if kind not in _SUMS:
        return 0
    place, axes = _SUMS[kind]
    operand = _dims(graph.tensors[int(operator.inputs[place])])
    made = _dims(graph.tensors[int(operator.outputs[0])])
    return math.prod(made) * math.prod(operand[axis] for axis in axes)


def _dims(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(size) for size in np.asarray(tensor.shape))
