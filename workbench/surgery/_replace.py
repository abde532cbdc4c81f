"""Put a few nodes in the place of one, under the name its readers know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from workbench.graph import constants, naming, splice, walk

Attribute = int | float | str | Sequence[int]


class Replacement:
    """Nodes that are put before `node`, and in the end take over its first output.

    Args:
        graph: the one that holds `node`.
        node: what they stand for; only its first output is read, and it stays in place until `finish`.
    """

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph = graph
        self._node = node
        self._stem = node.outputs[0].name or node.op_type
        self._names = {other.name for other in self._graph if other.name}
        self._made: list[ir.Node] = []

    def add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        suffix: str,
        shape: ir.Shape | Sequence[int] | None = None,
    ) -> ir.Value:
        """Put one more node.

        Args:
            op_type: an operator of ONNX's own domain with one output.
            inputs: what it reads.
            attributes: its attributes.
            suffix: ends its name and that of what it makes, after the name of what it stands for.
            shape: of what it makes, where that is known.

        Returns:
            what the node makes.
        """
        name = naming.unique(f"{self._node.name or self._stem}_{suffix}", self._names)
        node = ir.node(op_type, inputs, dict(attributes or {}), name=name)
        made = node.outputs[0]
        made.name = walk.fresh_name(self._graph, f"{self._stem}_{suffix}")
        made.type = self._node.outputs[0].type
        if shape is not None and made.type is not None:  # without a type no file can hold a shape
            made.shape = shape if isinstance(shape, ir.Shape) else ir.Shape(shape)
        self._graph.insert_before(self._node, [node])
        self._made.append(node)
        return made

    def constant(self, data: constants.Array, suffix: str) -> ir.Value:
        """A new constant, named like a node with that suffix."""
        return constants.add(self._graph, f"{self._stem}_{suffix}", data)

    def finish(self) -> str:
        """Let the last node put take the old one's output, its name and its readers; remove the old node.

        The last node takes the old one's name too, so that what is selected by it is still found.

        Returns:
            the operators put, for the account: ``2 Slice, Concat``.
        """
        last = self._made[-1]
        splice.inherit(last.outputs[0], self._node.outputs[0])
        last.name = self._node.name
        splice.remove(self._node)
        counts: dict[str, int] = {}
        for node in self._made:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
        return ", ".join(f"{count} {op}" if count > 1 else op for op, count in counts.items())
