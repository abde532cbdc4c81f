"""What protobuf reads without complaint and nothing can be done with, found before the graph is built."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import onnx
import onnx_ir as ir

_TEXTS = (onnx.AttributeProto.STRING, onnx.AttributeProto.STRINGS)
_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_TENSORS = (onnx.AttributeProto.TENSOR, onnx.AttributeProto.TENSORS)


def damages(graph: onnx.GraphProto, outside: frozenset[str] = frozenset()) -> Iterator[str]:
    """What is wrong with `graph`, one line each: names and attributes that are no text, lost tensors.

    Args:
        graph: any graph.
        outside: names that graphs around it make.
    """
    given = {value.name for value in (*graph.input, *graph.initializer)}
    given |= {tensor.values.name for tensor in graph.sparse_initializer}
    made = Counter(name for node in graph.node for name in node.output if name)
    visible = outside.union(made, given)
    for node in graph.node:
        names = (node.name, node.op_type, node.domain, *node.input, *node.output, *(one.name for one in node.attribute))
        if not all(isinstance(name, str) for name in names):
            yield f"a name of {node.op_type!r} node {node.name!r} is no text"
        if not all(one.configuration_id for one in getattr(node, "device_configurations", ())):  # since ONNX 1.18
            yield f"{node.op_type!r} node {node.name!r} has a device configuration without a name"
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.UNDEFINED and not attribute.ref_attr_name:
                yield f"attribute {attribute.name!r} of {node.op_type!r} node {node.name!r} has no type"
            texts = (attribute.s, *attribute.strings) if attribute.type in _TEXTS else ()
            if not all(_is_text(text) for text in texts):
                yield f"attribute {attribute.name!r} of {node.op_type!r} node {node.name!r} is no text"
            for inner in (attribute.g, *attribute.graphs) if attribute.type in _GRAPHS else ():
                yield from damages(inner, visible)
            for tensor in (attribute.t, *attribute.tensors) if attribute.type in _TENSORS else ():
                yield from _cut_off(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if not isinstance(value.name, str):
            yield f"the name {value.name!r} is no text"
    for tensor in graph.initializer:
        yield from _cut_off(tensor)
    if not isinstance(graph.name, str):
        yield "its name is no text"
    for name, count in made.items():
        if count > 1 or name in given:
            yield f"{name!r} is made twice"
    for node in graph.node:
        for name in node.input:
            if name and name not in visible:
                yield f"{node.op_type!r} node {node.name!r} reads {name!r}, which nothing makes"
    for value in graph.output:
        if value.name not in visible:
            yield f"output {value.name!r} is made by nothing"


def _is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _cut_off(tensor: onnx.TensorProto) -> Iterator[str]:
    """Whether a tensor has another number of bytes than its shape says."""
    if not isinstance(tensor.name, str):
        yield f"the name {tensor.name!r} is no text"
    try:
        kind = ir.DataType(tensor.data_type)
        bits = kind.bitwidth
    except (ValueError, TypeError):
        if tensor.data_type != onnx.TensorProto.STRING:
            yield f"tensor {tensor.name!r} has the element type {tensor.data_type}"
        return
    size = -(-math.prod(tensor.dims) * bits // 8)
    if any(one < 0 for one in tensor.dims) or (tensor.HasField("raw_data") and len(tensor.raw_data) != size):
        yield f"tensor {tensor.name!r} of shape {list(tensor.dims)} has {len(tensor.raw_data)} bytes"
