"""Find nodes and tensors of a graph, and say which one is meant."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from workbench.graph import naming

_ONNX = ("", "ai.onnx")


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Whether `node` is one of these operators of ONNX's own domain; any operator of it when none is named."""
    return node is not None and node.domain in _ONNX and (not op_types or node.op_type in op_types)


def nodes(graph: ir.Graph, *op_types: str) -> tuple[ir.Node, ...]:
    """The nodes of these types in graph order, a copy, so that the graph may change while they are visited.

    Subgraphs of If, Loop and Scan are not entered.
    """
    return tuple(node for node in graph if is_op(node, *op_types))


def opset(model: ir.Model) -> int:
    """The version of ONNX's own operator set that `model` uses; 0 when it names none."""
    return next((model.opset_imports[domain] for domain in _ONNX if domain in model.opset_imports), 0)


def label(node: ir.Node) -> str:
    """A node as a person finds it in a viewer: its type and name, or the tensor it makes when it has no name."""
    if node.name:
        return f"{node.op_type} '{node.name}'"
    made = next((value.name for value in node.outputs if value.name), None)
    return f"{node.op_type} -> '{made}'" if made else node.op_type


def consumers(value: ir.Value) -> tuple[ir.Node, ...]:
    """The nodes that read `value`, each once, those inside subgraphs too."""
    return tuple(dict.fromkeys(use.node for use in value.uses()))


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The node that reads `value`, when nothing else does: no second input, no subgraph, no graph output."""
    uses = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    node = uses[0].node
    return node if node.graph is value.graph else None


def producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node that makes `value`, when it is one of these operators of ONNX's own domain."""
    node = None if value is None else value.producer()
    return node if is_op(node, *op_types) else None


def origin(value: ir.Value) -> str:
    """Where `value` comes from, for a message."""
    node = value.producer()
    if node is not None:
        return label(node)
    return f"input '{value.name}'" if value.is_graph_input() else f"constant '{value.name}'"


def readers(value: ir.Value) -> str:
    """Everything that reads `value`, for a message."""
    found = [label(node) for node in consumers(value)]
    if value.is_graph_output():
        found.append("the graph's output")
    shown = ", ".join(found[:3])
    return f"{shown} and {len(found) - 3} more" if len(found) > 3 else shown


def tensors(graph: ir.Graph) -> dict[str, ir.Value]:
    """Every named tensor of the graph itself, by name: inputs, weights, then what its nodes make, in order."""
    found = {value.name: value for value in (*graph.inputs, *graph.initializers.values()) if value.name}
    found.update((value.name, value) for node in graph for value in node.outputs if value.name)
    return found


def inner_names(graph: ir.Graph) -> set[str]:
    """The names of all tensors that subgraphs define."""
    return {name for inner in graph.subgraphs() for name in tensors(inner)}


def made(graph: ir.Graph) -> dict[str, ir.Value]:
    """Every tensor that depends on an input's value, by name: what the nodes make, Constant nodes aside."""
    return {value.name: value for node in graph if not is_op(node, "Constant") for value in node.outputs if value.name}


def fresh_name(graph: ir.Graph, wanted: str) -> str:
    """`wanted`, or `wanted` with the first number that no tensor of the graph or its subgraphs uses."""
    return naming.unique(wanted, set(tensors(graph)) | inner_names(graph))


def inner_graphs(node: ir.Node) -> Iterator[ir.Graph]:
    """The subgraphs of a control-flow node."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of `value` when all of it is known."""
    if value is None or value.shape is None:
        return None
    dims = tuple(dim for dim in value.shape if isinstance(dim, int))
    return dims if len(dims) == len(value.shape) else None
