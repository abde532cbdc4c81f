"""Give every node of a graph a name of its own, for tools that call nodes by name."""

from __future__ import annotations

import onnx_ir as ir


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
        wanted = f"{node.op_type}_{made}" if made else node.op_type
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        node.name = name
        taken.add(name)
    return bool(renamed)
