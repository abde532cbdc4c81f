"""Put nodes into a graph, and take them out without losing a name that anybody relies on."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from workbench.graph import constants, walk


def insert_behind(graph: ir.Graph, value: ir.Value, nodes: Sequence[ir.Node]) -> None:
    """Put `nodes` right behind what makes `value`; in front of everything where that is an input or a weight."""
    maker = value.producer()
    if maker is not None:
        graph.insert_after(maker, nodes)
    elif len(graph):
        graph.insert_before(graph[0], nodes)
    else:
        graph.extend(nodes)


def inherit(kept: ir.Value, gone: ir.Value) -> None:
    """`kept` becomes `gone` for everybody: its readers, its place among the graph outputs, its name and its shape.

    The node behind `gone` is left for the caller to remove. `kept` must not be a graph output itself.
    """
    name, shape, kind = gone.name, gone.shape, gone.type
    gone.replace_all_uses_with(kept, replace_graph_outputs=True)
    gone.name = None
    kept.name = name
    if shape is not None:
        kept.shape = shape
    if kind is not None:
        kept.type = kind


def bypass(kept: ir.Value, gone: ir.Value, renamed: dict[str, str] | None = None) -> str | None:
    """Let the readers of `gone` read the equal tensor `kept`; a graph output keeps its name.

    Args:
        kept: stays.
        gone: the node behind it is left for the caller to remove.
        renamed: gets the name that is gone with the one that has its values now; names that led to it lead on.

    Returns:
        why it cannot be done; None when it was.
    """
    old, new = gone.name, kept.name
    if not gone.is_graph_output():
        gone.replace_all_uses_with(kept)
    elif kept.is_graph_output() or kept.producer() is None:
        # One tensor cannot carry two output names, and a graph input or a weight may not be an output.
        return f"'{gone.name}' is a graph output and {walk.origin(kept)} cannot take over its name"
    else:
        inherit(kept, gone)
        old, new = new, old
    if renamed is not None and old and new:
        renamed.update({first: new for first, last in renamed.items() if last == old})
        renamed[old] = new
    return None


def remove(node: ir.Node) -> None:
    """Remove `node`, whose outputs nobody reads, and the constants that only it read."""
    graph = node.graph
    if graph is None:
        return
    inputs = [value for value in node.inputs if value is not None]
    detach(node)
    graph.remove(node)
    for value in dict.fromkeys(inputs):
        constants.drop_unused(value)


def detach(node: ir.Node) -> None:
    """Make `node`, and every node of its subgraphs, read nothing."""
    for index in range(len(node.inputs)):
        node.replace_input_with(index, None)
    for inner in walk.inner_graphs(node):
        for child in inner:
            detach(child)


def prune(graph: ir.Graph) -> tuple[ir.Node, ...]:
    """Remove the nodes and weights that no graph output depends on; graph inputs stay.

    Returns:
        the removed nodes in graph order.
    """
    alive: set[ir.Value] = set(graph.outputs)
    dead = []
    for node in reversed(tuple(graph)):
        if alive.isdisjoint(node.outputs):
            dead.append(node)
        else:
            alive.update(_reads(node))
    for node in dead:
        detach(node)
    graph.remove(dead)
    for value in tuple(graph.initializers.values()):
        constants.drop_unused(value)
    return tuple(reversed(dead))


def _reads(node: ir.Node) -> set[ir.Value]:
    """What `node` and its subgraphs read."""
    found = {value for value in node.inputs if value is not None}
    for inner in walk.inner_graphs(node):
        found.update(inner.outputs)
        for child in inner:
            found |= _reads(child)
    return found
