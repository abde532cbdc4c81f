"""How often a layer multiplies."""

from __future__ import annotations

import math

import onnx_ir as ir

from workbench.graph import attributes, walk

# Where a layer's data and weights are among its inputs.
_OPERANDS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger"), (0, 1)),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul"), (0, 3)),
}


def macs(node: ir.Node) -> int | None:
    """The multiplications of one run of `node`: of weights with activations, or of two matrices.

    Returns:
        0 for an operator that is no such layer; None when a shape it depends on is not static.
    """
    places = _OPERANDS.get(node.op_type) if walk.is_op(node) else None
    if places is None or len(node.inputs) <= max(places):
        return 0
    data, weight = (walk.static_shape(node.inputs[place]) for place in places)
    made = walk.static_shape(node.outputs[0])
    if data is None or weight is None or made is None:
        return None
    if node.op_type == "ConvTranspose":
        return math.prod(data) * math.prod(weight[1:])
    if "Conv" in node.op_type:
        return math.prod(made) * math.prod(weight[1:])
    across = attributes.integer(node, "transA", 0) if node.op_type == "Gemm" else 0
    return math.prod(made) * data[0 if across else -1] if data else None
