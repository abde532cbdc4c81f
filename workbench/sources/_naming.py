"""Put a graph's nodes in one order and give everything names that depend on nothing but the graph.

tf2onnx numbers what it makes in the order of Python sets, which changes from process to process.
"""

from __future__ import annotations

import re

import onnx_ir as ir

from workbench.graph import naming, splice

_NUMBER = re.compile(r"__\d+$")
_ROLES = {
    "BatchNormalization": ("", "scale", "bias", "mean", "variance"),
    "Clip": ("", "min", "max"),
    "Conv": ("", "weight", "bias"),
    "ConvTranspose": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "Pad": ("", "pads", "value", "axes"),
    "Resize": ("", "roi", "scales", "sizes"),
}


def settle(graph: ir.Graph) -> None:
    """Reorder and rename in place; the graph's inputs keep their names, its outputs those of their tensors.

    The graph must have no subgraphs. Nodes stand before their readers, the first operand's side first. A number that
    tf2onnx gave is dropped; a tensor without a name of its own is called after its node, a weight after the first node
    that reads it.
    """
    splice.prune(graph)
    nodes = _ordered(graph)
    graph.remove(nodes)
    graph.extend(nodes)
    taken = {str(value.name) for value in graph.inputs}
    named: set[str] = set()
    for node in nodes:
        node.name = naming.unique(_NUMBER.sub("", node.name or "") or node.op_type.lower(), named)
        for index, value in enumerate(node.outputs):
            if not value.name and not value.uses() and not value.is_graph_output():
                continue  # an optional output that is not there
            own = (value.name or "").removesuffix(":0")
            number = f":{index}" if index else ""
            value.name = None  # so that no later name can collide with one that is about to go
            value.name = naming.unique(f"{node.name}{number}" if not own or _NUMBER.search(own) else own, taken)
    weights: dict[ir.Value, str] = {}
    for node in nodes:
        for index, operand in enumerate(node.inputs):
            if operand is not None and operand.is_initializer() and operand not in weights:
                roles = _ROLES.get(node.op_type, ())
                role = roles[index] if index < len(roles) and roles[index] else f"operand_{index}"
                weights[operand] = naming.unique(f"{node.name}/{role}", taken)
    graph.initializers.clear()
    for weight, name in weights.items():
        weight.name = name
        graph.register_initializer(weight)


def _ordered(graph: ir.Graph) -> list[ir.Node]:
    """The nodes in the order of a walk from the outputs through each node's operands."""
    order: list[ir.Node] = []
    done: set[ir.Node] = set()
    for output in graph.outputs:
        todo = [(output.producer(), False)]
        while todo:
            node, ready = todo.pop()
            if node is None or node in done:
                continue
            if ready:
                done.add(node)
                order.append(node)
                continue
            todo.append((node, True))
            todo.extend((value.producer(), False) for value in reversed(node.inputs) if value is not None)
    return order
