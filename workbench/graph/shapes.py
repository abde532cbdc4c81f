"""Infer the shapes of a graph, and check that it is a graph at all, without copying its weights."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from workbench.errors import UnsupportedError

Dims = tuple[int | str | None, ...]
_BIG = 1024  # bytes; shape operands are smaller, weights are larger


def outline(model: ir.Model) -> onnx.ModelProto:
    """`model` without what its nodes' outputs are said to be, and with its big weights as inputs of known shape.

    It has the same nodes, names, inputs and outputs, and is small, so that ONNX's C++ functions are quick on it.
    """
    proto = onnx.ModelProto()
    # Before IR version 4 every initializer had to be an input; nothing else in an outline depends on the version.
    proto.ir_version = max(model.ir_version, 8)
    for domain, version in model.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    graph = model.graph
    proto.graph.name = graph.name or "graph"
    proto.graph.input.extend(ir.serde.serialize_value(value) for value in graph.inputs)
    proto.graph.output.extend(ir.serde.serialize_value(value) for value in graph.outputs)
    proto.graph.node.extend(ir.serde.serialize_node(node) for node in graph)
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.nbytes <= _BIG:
            proto.graph.initializer.append(ir.serde.serialize_tensor(tensor))
        elif tensor is not None and not value.is_graph_input():
            proto.graph.input.append(
                onnx.helper.make_tensor_value_info(value.name, int(tensor.dtype), list(tensor.shape.numpy()))
            )
    proto.functions.extend(ir.serde.serialize_function(function) for function in model.functions.values())
    return proto


def infer(model: ir.Model) -> dict[str, Dims]:
    """The shape of every tensor of the graph, by name; symbols stay symbols, None is a size nobody knows.

    Raises:
        UnsupportedError: a node contradicts the shapes it is given, or the file is not a valid graph.
    """
    inferred = _inferred(outline(model))
    found: dict[str, Dims] = {}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            found[value.name] = tuple(dim(size) for size in value.type.tensor_type.shape.dim)
    for tensor in inferred.graph.initializer:
        found[tensor.name] = tuple(tensor.dims)
    return found


def typed(proto: onnx.ModelProto) -> dict[str, tuple[int, Dims | None]]:
    """The element type (ONNX's number) and the shape of every tensor of an outline, by name.

    None is a shape of which not even the rank is known; a tensor of which nothing is known, and one that is no tensor
    (a sequence, an optional), are left out.

    Raises:
        UnsupportedError: as `infer`.
    """
    inferred = _inferred(proto).graph
    found: dict[str, tuple[int, Dims | None]] = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        if value.type.HasField("tensor_type"):
            kind = value.type.tensor_type
            dims = tuple(dim(size) for size in kind.shape.dim) if kind.HasField("shape") else None
            found[value.name] = (int(kind.elem_type), dims)
    for tensor in inferred.initializer:
        found[tensor.name] = (int(tensor.data_type), tuple(tensor.dims))
    return found


def refresh(model: ir.Model) -> None:
    """Write the inferred shape and type of every node output into the graph.

    Raises:
        UnsupportedError: as `infer`.
    """
    inferred = _inferred(outline(model)).graph
    known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    for node in model.graph:
        for value in node.outputs:
            if value.name in known and known[value.name].type.HasField("tensor_type"):
                kind = known[value.name].type
                value.type = ir.serde.deserialize_type_proto_for_type(kind)
                value.shape = ir.serde.deserialize_type_proto_for_shape(kind)


def check(proto: onnx.ModelProto) -> None:
    """Check an outline against ONNX's rules: operators, attributes, order of nodes, names, and shapes that agree.

    Raises:
        UnsupportedError: a rule is broken; the message is ONNX's.
    """
    withdrawn = any(entry.domain in ("", "ai.onnx") and 18 <= entry.version <= 20 for entry in proto.opset_import)
    try:
        onnx.checker.check_model(_plainer(proto) if withdrawn else proto)
    except onnx.checker.ValidationError as error:
        raise UnsupportedError(f"not a valid ONNX graph: {_brief(error)}", fix="export the network again") from error
    _inferred(proto)


def _plainer(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` with an InstanceNormalization for each GroupNormalization: the same inputs, the same shape.

    ONNX infers no shape behind a GroupNormalization, and withdrew the one of operator sets 18 to 20, so that its
    checker refuses what runtimes run.
    """
    if not any(_is_group_normalization(node) for node in proto.graph.node):
        return proto
    plainer = onnx.ModelProto()
    plainer.CopyFrom(proto)
    for node in filter(_is_group_normalization, plainer.graph.node):
        node.op_type = "InstanceNormalization"
        kept = [attribute for attribute in node.attribute if attribute.name == "epsilon"]
        del node.attribute[:]
        node.attribute.extend(kept)
    return plainer


def _is_group_normalization(node: onnx.NodeProto) -> bool:
    return node.op_type == "GroupNormalization" and node.domain in ("", "ai.onnx")


def _inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(_plainer(proto), check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError) as error:
        raise UnsupportedError(
            f"the shapes of the graph contradict each other: {_brief(error)}", fix="export the network again"
        ) from error


def dim(size: onnx.TensorShapeProto.Dimension) -> int | str | None:
    """One size as the file has it: a number, a symbol, or None when it is open."""
    if size.HasField("dim_value"):
        return int(size.dim_value)
    return str(size.dim_param) if size.HasField("dim_param") else None


def _brief(error: Exception) -> str:
    """The first line of ONNX's message, which may be a dump of the whole node."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300] if lines else type(error).__name__
