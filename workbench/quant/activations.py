"""Which tensors of a graph are activations, and whether the graph can be quantized at all."""

from __future__ import annotations

import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.graph import shapes, walk

_INTEGER_OPS = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)
_OTHER_FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def activations(model: ir.Model) -> dict[str, ir.Value]:
    """The float32 tensors that depend on the input, by name: graph inputs, then node outputs in graph order.

    Writes inferred types and shapes into `model`, and changes nothing else.

    Raises:
        UnsupportedError: the model is quantized already, has dynamic shapes, subgraphs, other float types, or an
            operator whose output type nobody knows; the message names the node or tensor.
    """
    _refuse(model)
    shapes.refresh(model)
    graph = model.graph
    found: dict[str, ir.Value] = {}
    for value in (*graph.inputs, *walk.made(graph).values()):
        if value.dtype is None:
            raise UnsupportedError(
                f"the type of tensor {value.name!r} is unknown",
                where=walk.origin(value),
                fix="use operators of standard ONNX, or cut the graph before it",
            )
        if value.dtype in _OTHER_FLOATS:
            raise UnsupportedError(
                f"tensor {value.name!r} is {value.dtype.name.lower()}",
                where=walk.origin(value),
                fix="export the network in float32",
            )
        if value.dtype == ir.DataType.FLOAT and value.name:
            if walk.static_shape(value) is None:
                raise _dynamic(value)
            found[value.name] = value
    return found


def _refuse(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type in _INTEGER_OPS:
            raise UnsupportedError(
                "the model is quantized already", where=walk.label(node), fix="give the float model it was made from"
            )
        if next(walk.inner_graphs(node), None) is not None:
            raise UnsupportedError(
                f"{node.op_type} has a graph inside", where=walk.label(node), fix="simplify the model first"
            )
    for value in model.graph.inputs:
        if walk.static_shape(value) is None:
            raise _dynamic(value)


def _dynamic(value: ir.Value) -> UnsupportedError:
    return UnsupportedError(
        f"tensor {value.name!r} has a dynamic shape: {value.shape}",
        where=walk.origin(value),
        fix="give every input a static shape (surgery pass static_batch) and simplify",
    )
