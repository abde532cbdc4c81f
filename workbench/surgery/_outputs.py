"""What passes that choose outputs, or clear what no output needs, have in common."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.graph import constants, shapes, splice, walk


def declare(model: ir.Model, values: Sequence[ir.Value]) -> None:
    """Give `values` the shape and type that an output must have.

    Raises:
        UnsupportedError: one cannot be inferred.
    """
    if any(value.shape is None or value.type is None for value in values):
        shapes.refresh(model)
    for value in values:
        if value.shape is None or value.type is None:
            raise UnsupportedError(
                f"the shape of '{value.name}' cannot be inferred, so it cannot be an output",
                where=walk.origin(value),
                fix="cut at another tensor",
            )


def prune(graph: ir.Graph) -> list[str]:
    """Remove the nodes and weights that no graph output depends on.

    Returns:
        a line for each node and each weight; those that only removed nodes read go without a line of their own.
    """
    orphans = [value.name for value in graph.initializers.values() if constants.is_unread(value)]
    lines = [f"{walk.label(node)}: removed, no output needs it" for node in splice.prune(graph)]
    return lines + [f"constant '{name}': removed, nothing reads it" for name in orphans]


def idle_inputs(graph: ir.Graph) -> tuple[str, ...]:
    """A line for every graph input that nothing reads: inputs stay, since callers give them."""
    return tuple(
        f"input '{value.name}': no output depends on it, but inputs stay"
        for value in graph.inputs
        if not value.uses() and not value.is_graph_output()
    )
