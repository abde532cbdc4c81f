"""Frozen TensorFlow graphs (.pb)."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.inspection.facts import Facts, Tensor
from workbench.runtimes import _graph_def, tensorflow

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef

_CONVOLUTIONS = {"Conv2D": (0, 1, 2), "DepthwiseConv2dNative": (0, 1), "Conv2DBackpropInput": (0, 1, 2)}


def read(path: Path) -> Facts:
    """What the frozen graph in `path` holds. It is looked at, never run.

    Raises:
        SourceError: the file is missing, damaged, or no frozen graph.
    """
    graph = tensorflow.read_graph_def(path)
    module = tensorflow.import_tensorflow()
    inputs = tuple(
        Tensor(name=node.name, dtype=_dtype(module, node.attr["dtype"].type), shape=_graph_def.placeholder_shape(node))
        for node in graph.node
        if node.op == "Placeholder"
    )
    counts: Counter[str] = Counter()
    size = 0
    for node in graph.node:
        if node.op == "Const":
            tensor = node.attr["value"].tensor
            counts[_dtype(module, tensor.dtype)] += math.prod(dim.size for dim in tensor.tensor_shape.dim)
            size += tensor.ByteSize()
    macs, outputs, notes = _built(module, graph)
    return Facts(
        kind="frozen TensorFlow graph",
        inputs=inputs,
        outputs=outputs,
        operators=dict(sorted(Counter(node.op for node in graph.node).items())),
        origin={"GraphDef version": str(graph.versions.producer)} if graph.versions.producer else {},
        parameters=dict(sorted(counts.items())),
        parameter_bytes=size,
        macs=macs,
        notes=tuple(notes),
    )


def _built(module: Any, graph: GraphDef) -> tuple[int | None, tuple[Tensor, ...], list[str]]:
    """MACs and outputs with the shapes that TensorFlow infers; without shapes, and why, where it refuses the graph."""
    try:
        ends = _graph_def.sinks(graph)
    except WorkbenchError as error:
        return None, (), [f"outputs and MACs unknown: {error.what}"]
    try:
        with module.Graph().as_default() as built:
            module.import_graph_def(graph, name="")
    except (ValueError, TypeError, KeyError, module.errors.OpError) as error:
        names = tuple(Tensor(name=name, dtype="unknown", shape=None) for name in ends)
        return None, names, [f"shapes and MACs unknown: {str(error).splitlines()[0][:200]}"]
    outputs = tuple(
        Tensor(name=name, dtype=value.dtype.name, shape=_shape(value))
        for name in ends
        for value in built.get_operation_by_name(name).outputs[:1]
    )
    total = 0
    for operation in built.get_operations():
        count = _macs(operation)
        if count is None:
            return None, outputs, [f"MACs unknown: the shapes of {operation.type} {operation.name!r} are not static"]
        total += count
    return total, outputs, []


def _macs(operation: Any) -> int | None:
    if operation.type in _CONVOLUTIONS:
        back = operation.type == "Conv2DBackpropInput"
        pixels = operation.inputs[2] if back else operation.outputs[0]
        weights = _shape(operation.inputs[1])
        axes = (0, 1, 2) if back else _CONVOLUTIONS[operation.type]
        return _product(_shape(pixels), None if weights is None else tuple(weights[axis] for axis in axes))
    if operation.type == "MatMul":
        left = _shape(operation.inputs[0])
        shared = None if left is None else (left[0 if operation.get_attr("transpose_a") else -1],)
        return _product(_shape(operation.outputs[0]), shared)
    return 0


def _product(*shapes: tuple[int | None, ...] | None) -> int | None:
    sizes: list[int] = []
    for shape in shapes:
        for size in (None,) if shape is None else shape:
            if size is None:
                return None
            sizes.append(size)
    return math.prod(sizes)


def _shape(value: Any) -> tuple[int | None, ...] | None:
    return None if value.shape.rank is None else tuple(value.shape.as_list())


def _dtype(module: Any, code: int) -> str:
    try:
        return str(module.dtypes.as_dtype(code).name)
    except TypeError:
        return f"type {code}"
