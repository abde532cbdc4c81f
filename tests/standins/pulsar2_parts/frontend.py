"""Read the model as the frontend does: new input shapes, static sizes, the opset, operators the chip has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

_EVERYWHERE = """
    Abs Add ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv ConvTranspose DepthToSpace
    Div Elu Equal Erf Exp Expand Flatten Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
    HardSigmoid HardSwish Identity InstanceNormalization LSTM LayerNormalization LeakyRelu Less LessOrEqual
    LpNormalization MatMul Max MaxPool Min Mish Mul PRelu Pad Pow ReduceL2 ReduceMax ReduceMean Relu Reshape Resize
    Sigmoid Silu Sin Slice Softmax Softplus SpaceToDepth SpatialTransformer Split Sqrt Squeeze Sub Swish Tanh TopK
    Transpose Unsqueeze
"""
_ELSEWHERE = {
    "AX620E": "ConstantOfShape GridSample ReduceSum Where",
    "AX615": "Neg",
    "AX650": """
        And ConstantOfShape Cos Floor GatherElements GatherND GridSample GroupNormalization InverseSigmoid LogSoftmax
        Not RMSNormalization ReduceMin ReduceSum RoiAlign RotaryEmbedding Round ScatterElements ScatterND Tile Where Xor
    """,
}
_MORE = "Bevpool CumSum Neg"  # on AX637 and M57, beside all that AX650 has


def operators(chip: str) -> frozenset[str]:
    """The operators in the vendor's table of `chip`."""
    own = _ELSEWHERE.get(chip) or _ELSEWHERE["AX650"] + (_MORE if chip in ("AX637", "M57") else "")
    return frozenset(_EVERYWHERE.split()) | frozenset(own.split())


def load(path: Path, chip: str, shapes: str = "", kind: str = "ONNX") -> onnx.ModelProto:
    """The model, every value with a shape and every node with a name; `kind` QuantONNX is one with Q and DQ nodes.

    Raises:
        KeyError: an operator that the chip lacks, in the vendor's words.
        ValueError: something is not static, or the opset is too old.
    """
    if kind == "QuantAxModel" or (kind == "QuantONNX" and chip not in ("AX650", "M76H")):
        raise ValueError(f"model_type {kind} is not supported for {chip}")
    model = onnx.load(path)
    _reshape(model, shapes)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < 11:
        raise ValueError(f"opset {opset} is not supported, need 11 or later")
    constants = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for value in model.graph.input:
        if not all(size > 0 for size in sizes(value)):
            raise ValueError(f"dynamic shape is not supported: {value.name} {sizes(value)}")
    known = operators(chip) | ({"QuantizeLinear", "DequantizeLinear"} if kind == "QuantONNX" else set())
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"op_{index}"
        if node.op_type not in known or node.domain not in ("", "ai.onnx"):
            raise KeyError(f"dont support {node.op_type} opr in AXOPS/ONNXOPS/CUSTOM_OPS")
        scales = {item.name: item.f for item in node.attribute if item.name in ("alpha", "beta")}
        if node.op_type == "Gemm" and any(value != 1.0 for value in scales.values()):
            raise KeyError("dont support AxQuantizedGemm opr in AXOPS/ONNXOPS/CUSTOM_OPS")
    _drop_ones(model)
    del model.graph.value_info[:]
    if shapes:
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    for value in model.graph.output:
        if not sizes(value) or not all(size > 0 for size in sizes(value)):
            raise ValueError(f"dynamic shape is not supported: {value.name} {sizes(value)}")
    return model


def sizes(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """The shape; 0 where it is not static."""
    return tuple(size.dim_value for size in value.type.tensor_type.shape.dim)


def macs(model: onnx.ModelProto) -> dict[str, int]:
    """Multiplications of every node, by its name."""
    shapes = {value.name: sizes(value) for value in (*model.graph.value_info, *model.graph.output)}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    counts = {}
    for node in model.graph.node:
        out = int(np.prod(shapes.get(node.output[0], (0,))))
        each = 1
        if node.op_type in ("Conv", "Gemm", "MatMul") and len(shapes.get(node.input[1], ())) > 1:
            each = int(np.prod(shapes[node.input[1]])) // max(
                shapes[node.input[1]][0 if node.op_type == "Conv" else -1], 1
            )
        counts[node.name] = out * each
    return counts


def _reshape(model: onnx.ModelProto, shapes: str) -> None:
    inputs = {value.name: value for value in model.graph.input}
    for one in filter(None, shapes.split(";")):
        name, _, text = one.rpartition(":")
        if name not in inputs:
            raise ValueError(f"input_shapes: {name} is not an input")
        dims = inputs[name].type.tensor_type.shape.dim
        del dims[:]
        for size in text.split("x"):
            dims.add().dim_value = int(size)


def _drop_ones(model: onnx.ModelProto) -> None:
    """The documented trap: a multiplication by exactly 1 is removed, and an output it made is gone."""
    ones = {tensor.name for tensor in model.graph.initializer if np.all(numpy_helper.to_array(tensor) == 1)}
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        if node.op_type in ("Mul", "Div") and node.input[1] in ones and node.output[0] in outputs:
            raise KeyError(node.output[0])
