"""Bring a float graph to opset 21, the first whose QuantizeLinear knows 16 bits."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.graph import io, walk
from workbench.quant.activations import activations

OPSET = 21
_IR_VERSION = 10  # the format's version that came with this opset

# Operators that differ between opset 13 and 21 and that onnx's converter brings over: each was run before and after.
# Of others it cannot be trusted: it leaves a GroupNormalization of opset 18 as it is, which opset 21 reads differently.
CONVERTED = frozenset(
    {
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Constant",
        "Div",
        "Flatten",
        "Identity",
        "LeakyRelu",
        "Mul",
        "PRelu",
        "Pad",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "Relu",
        "Reshape",
        "Resize",
        "Split",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    }
)


def to_opset_21(model: ir.Model) -> ir.Model | None:
    """`model` in opset 21, or None when that is not certain to compute the same.

    Tensors, weights and the nodes that make activations keep their names; outputs are equal to the bit, but for
    AveragePool, which onnxruntime computes by another routine from opset 19 on: the last bit of a float.

    Args:
        model: a float graph without subgraphs, of an older opset; unchanged but for inferred shapes.
    """
    opset = model.opset_imports.get("", 0)
    if not all(node.op_type in CONVERTED or _is_same(node, opset) for node in model.graph):
        return None
    proto = io.to_proto(model)
    try:
        converted = onnx.version_converter.convert_version(proto, OPSET)
    except (onnx.version_converter.ConvertError, RuntimeError):  # an attribute without an adapter, a failed assertion
        return None
    converted.ir_version = max(proto.ir_version, _IR_VERSION)
    made = ir.serde.deserialize_model(converted)
    made.metadata_props.update(model.metadata_props)
    try:
        # A new activation would have no range.
        return made if list(activations(made)) == list(activations(model)) else None
    except UnsupportedError:
        return None


def _is_same(node: ir.Node, opset: int) -> bool:
    """Whether `node` is of an operator that is the same in `opset` and in 21; one of another domain always is."""
    if not walk.is_op(node):
        return True
    try:
        then, now = (onnx.defs.get_schema(node.op_type, max_inclusive_version=version) for version in (opset, OPSET))
    except onnx.defs.SchemaError:
        return False
    return bool(then.since_version == now.since_version)
