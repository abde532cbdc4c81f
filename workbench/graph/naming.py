"""Names that nobody has yet, and a name of its own for every node of a graph."""

from __future__ import annotations

import onnx_ir as ir


def unique(wanted: str, taken: set[str]) -> str:
    """`wanted`, or `wanted` with the first number that is not among `taken`; it is taken from then on."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def name_nodes(graph: ir.Graph) -> bool:
    """Name the nodes of `graph` that have no name, or one that an earlier node has; tell whether there were any.

    A new name is the operator and the tensor it makes, with a number where that is taken, so that it depends on the
    graph alone. Subgraphs are left alone.
    """
    kept: set[ir.Node] = set()
    taken: set[str] = set()
    for node in graph:
        if node.name and node.name not in taken:
            kept.add(node)
            taken.add(node.name)
    renamed = [node for node in graph if node not in kept]
    for node in renamed:
        made = next((value.name for value in node.outputs if value.name), "")
        node.name = unique(f"{node.op_type}_{made}" if made else node.op_type, taken)
    return bool(renamed)
