"""Take the weights out of a model and leave everything a compiler sees: shapes, types, names, small constants.

The values that stand in are a short fixed cycle, scaled so that activations neither vanish nor grow through the layers
(He et al., 2015: a standard deviation of sqrt(2 / fan-in)): the tool can calibrate on it, and it compresses to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

_SMALL = 8  # numbers: shapes, bounds, epsilons, exponents; the graph means something else without them
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_INTEGERS = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32)
_STRUCTURE = (TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING)  # indices, shapes, masks
_WEIGHTED = {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"}
_WEIGHTED |= {"Conv", "ConvTranspose", "Gemm", "MatMul", "PRelu", "LSTM", "GRU", "RNN"}  # weights, however few they are
_MARK = "workbench."

# 254 values in sixteenths, none of them zero, whose sum is zero: a half and its negative. Squares modulo a prime jump.
_HALF = [((index * index) % 127 % 8 + 0.5) / 8 * (-1) ** (index * index % 127 // 8) for index in range(1, 128)]
_CYCLE = np.array([*_HALF, *(-value for value in _HALF)])
_SPREAD = float(_CYCLE.std())


@dataclass(frozen=True)
class Stripped:
    """A model without its weights, and how many tensors lost their values."""

    data: bytes
    tensors: int


def stripped(proto: onnx.ModelProto) -> Stripped:
    """`proto`, which is changed, without weights, documentation and metadata of others; deterministic.

    Constants of up to 8 numbers that are no layer's weights, integer indices and shapes, and the scales of quantized
    tensors stay.
    """
    uses = _uses(proto)
    count = 0
    for index, (name, tensor) in enumerate(_tensors(proto)):
        if _replace(tensor, uses.get(name, []), index):
            count += 1
    count += sum(_replace_list(node) for graph in _graphs(proto) for node in graph.node if node.op_type == "Constant")
    _clean(proto)
    data: bytes = proto.SerializeToString(deterministic=True)
    return Stripped(data, count)


@dataclass(frozen=True)
class _Use:
    """A node that reads a tensor, at which of its inputs."""

    op: str
    at: int
    transposed: bool


def _replace(tensor: onnx.TensorProto, uses: list[_Use], index: int) -> bool:
    """Give `tensor` other values; False when it keeps its own."""
    size = math.prod(tensor.dims)
    weight = any(use.op in _WEIGHTED and use.at > 0 for use in uses)
    if (size <= _SMALL and not weight) or any(
        use.op in ("QuantizeLinear", "DequantizeLinear") and use.at > 0 for use in uses
    ):
        return False
    quantized = any(use.op == "DequantizeLinear" for use in uses)
    kind = tensor.data_type
    if kind in _FLOATS:
        values = _floats(tensor, uses, np.resize(np.roll(_CYCLE, -(index % len(_CYCLE))), size))
    elif kind in _INTEGERS and (quantized or (kind not in _STRUCTURE and len(tensor.dims) > 1)):
        values = _integers(kind, np.resize(_CYCLE, size))
    elif kind in _STRUCTURE:
        return False
    else:
        _zero(tensor)
        return True
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    made = numpy_helper.from_array(values.reshape(tuple(tensor.dims)).astype(dtype), tensor.name)
    tensor.CopyFrom(made)
    return True


def _replace_list(node: onnx.NodeProto) -> bool:
    """The same for a Constant that is written as a list of numbers."""
    for attribute in node.attribute:
        if attribute.name == "value_floats" and len(attribute.floats) > _SMALL:
            attribute.floats[:] = [float(value) for value in np.resize(_CYCLE, len(attribute.floats))]
            return True
    return False


def _floats(tensor: onnx.TensorProto, uses: list[_Use], cycle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    fan_in = next((fan for use in uses if (fan := _fan_in(use, tuple(tensor.dims)))), 0)
    if fan_in:
        return cycle * (math.sqrt(2 / fan_in) / _SPREAD)
    amount = 0.5 + 0.5 * np.abs(cycle)
    if np.all(numpy_helper.to_array(tensor).astype(np.float64) > 0):  # a variance, a divisor, a root's argument
        return amount
    return np.sign(cycle) * amount if any(use.op in ("Mul", "Div", "PRelu") for use in uses) else 0.1 * cycle


def _integers(kind: int, cycle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if kind == TensorProto.UINT8:
        return np.rint(128 + 127 * cycle)
    if kind == TensorProto.UINT16:
        return np.rint(32768 + 32767 * cycle)
    return np.rint(cycle * {TensorProto.INT8: 127, TensorProto.INT16: 32767}.get(kind, 1000))


def _fan_in(use: _Use, shape: tuple[int, ...]) -> int:
    """How many products a result is the sum of, where `shape` is the weight of such a node; else 0."""
    if len(shape) < 2 or use.at > 2:
        return 0
    if use.op == "Conv" and use.at == 1:
        return math.prod(shape[1:])
    if use.op == "ConvTranspose" and use.at == 1:
        return shape[0] * math.prod(shape[2:])
    if use.op == "MatMul":
        return shape[-2] if use.at == 1 else shape[-1]
    if use.op == "Gemm" and use.at < 2:
        return shape[-1] if use.transposed == (use.at == 1) else shape[-2]
    return shape[-1] if use.op in ("LSTM", "GRU", "RNN") and use.at > 0 else 0


def _zero(tensor: onnx.TensorProto) -> None:
    """Zeros of the same size, for types that NumPy has not: 4-bit integers, 8-bit floats."""
    if tensor.raw_data:
        tensor.raw_data = bytes(len(tensor.raw_data))
    for field in (tensor.int32_data, tensor.uint64_data, tensor.float_data, tensor.double_data):
        count = len(field)
        del field[:]
        field.extend([0] * count)


def _graphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    waiting: list[onnx.GraphProto | onnx.FunctionProto] = [proto.graph, *proto.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _tensors(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every constant with the name that nodes read it by."""
    for graph in _graphs(proto):
        for tensor in getattr(graph, "initializer", ()):
            yield tensor.name, tensor
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield sparse.values.name, sparse.values
        for node in graph.node:
            for attribute in node.attribute:
                held = [attribute.t] if attribute.HasField("t") else []
                for tensor in (*held, *attribute.tensors):
                    yield (node.output[0] if node.output else ""), tensor


def _uses(proto: onnx.ModelProto) -> dict[str, list[_Use]]:
    """By tensor name, who reads it."""
    uses: dict[str, list[_Use]] = {}
    for graph in _graphs(proto):
        for node in graph.node:
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            for at, name in enumerate(node.input):
                uses.setdefault(name, []).append(_Use(node.op_type, at, transposed))
    return uses


def _clean(proto: onnx.ModelProto) -> None:
    """Remove what tools write beside a graph: stack traces with paths, names of people and machines."""
    kept = {prop.key: prop.value for prop in proto.metadata_props if prop.key.startswith(_MARK)}
    del proto.metadata_props[:]
    for key in sorted(kept):
        proto.metadata_props.add(key=key, value=kept[key])
    proto.ClearField("doc_string")
    del proto.training_info[:]
    for graph in _graphs(proto):
        _undocument([graph, *graph.node, *graph.value_info])
        if isinstance(graph, onnx.GraphProto):
            _undocument([*graph.input, *graph.output, *graph.initializer])


def _undocument(messages: Iterable[onnx.GraphProto | onnx.NodeProto]) -> None:
    for message in messages:
        message.ClearField("doc_string")
        if hasattr(message, "metadata_props"):
            del message.metadata_props[:]
        for attribute in getattr(message, "attribute", ()):
            attribute.ClearField("doc_string")
