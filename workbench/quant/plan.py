"""Decide, for every tensor of a graph, on which grid its values stand: the scheme applied to one network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from workbench.errors import ToolError, UnsupportedError
from workbench.graph import constants, walk
from workbench.quant import scheme
from workbench.quant.activations import activations
from workbench.quant.ranges import Range


@dataclass(frozen=True)
class Plan:
    """The grids of one network.

    Args:
        grids: by tensor name, for every activation and every constant operand that is quantized.
        owner: by tensor name, the first tensor (in graph order) of those that share one grid.
        fused: activations inside an operator, e.g. between a convolution and its Relu; they have no grid.
    """

    grids: Mapping[str, scheme.Grid]
    owner: Mapping[str, str]
    fused: frozenset[str]


def plan(model: ir.Model, ranges: Mapping[str, Range]) -> Plan:
    """The grids of `model`, whose inferred types and shapes are written into it.

    Raises:
        UnsupportedError: as `activations`, or an activation that needs a range has none.
        ToolError: a constant is NaN or infinite.
    """
    values = activations(model)
    fused = _fused(model.graph)
    spans: dict[str, Range] = {}
    for name, value in values.items():
        if name in fused:
            continue
        if name not in ranges:
            raise UnsupportedError(
                f"tensor {name!r} has no range",
                where=walk.origin(value),
                fix="observe this very model; ranges of another one do not fit",
            )
        spans[name] = ranges[name]
    spans.update(_operands(model.graph))
    owner = _owners(model.graph, spans)
    zero_centred = {
        owner[value.name]
        for node in walk.nodes(model.graph, "MatMul")
        for value in node.inputs
        if value is not None and value.name in owner
    }
    merged: dict[str, Range] = {}
    for name, span in spans.items():
        merged[owner[name]] = merged[owner[name]].merge(span) if owner[name] in merged else span
    grids = {name: scheme.activation_grid(merged[owner[name]], symmetric=owner[name] in zero_centred) for name in spans}
    return Plan(grids, owner, fused)


def is_operand(node: ir.Node, index: int) -> bool:
    """Whether input `index` of `node`, should it be constant, is quantized like an activation."""
    if not walk.is_op(node, *scheme.ARITHMETIC):
        return False
    return not is_weight(node, index)


def is_weight(node: ir.Node, index: int) -> bool:
    """Whether input `index` of `node` is a constant weight."""
    if index != 1 or not walk.is_op(node, *scheme.WEIGHTED):
        return False
    held = constants.array(node.inputs[1])
    return held is not None and held.ndim >= 2


def finite(data: constants.Array, value: ir.Value) -> constants.Array:
    """`data`, the content of the constant `value`.

    Raises:
        ToolError: it is NaN or infinite somewhere.
    """
    if not np.isfinite(data).all():
        raise ToolError(f"constant {value.name!r} holds NaN or Inf", fix="check the checkpoint it came from")
    return data


def _fused(graph: ir.Graph) -> frozenset[str]:
    found: set[str] = set()
    ends: set[ir.Node] = set()  # nodes that are, or were taken into, an operator with weights
    for node in graph:
        if walk.is_op(node, *scheme.FUSED_BEHIND):
            ends.add(node)
        elif walk.is_op(node, *scheme.FUSED) and all(constants.array(bound) is not None for bound in _bounds(node)):
            before = node.inputs[0]
            if before is not None and before.producer() in ends and walk.only_consumer(before) is node:
                ends.add(node)
                found.add(str(before.name))
    return frozenset(found)


def _bounds(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs[1:] if value is not None]


def _operands(graph: ir.Graph) -> dict[str, Range]:
    """The constant operands that are quantized, and what they hold."""
    found: dict[str, Range] = {}
    for node in graph:
        for index, value in enumerate(node.inputs):
            if value is None or value.name is None or value.name in found or not is_operand(node, index):
                continue
            data = constants.array(value)
            if data is not None and data.dtype == np.float32 and data.size:
                finite(data, value)
                found[value.name] = Range(float(data.min()), float(data.max()))
    return found


def _owners(graph: ir.Graph, spans: Mapping[str, Range]) -> dict[str, str]:
    """Union-find over the tensors that operators only move: the first of each connected set owns the grid."""
    rank = {name: index for index, name in enumerate(spans)}
    parent = {name: name for name in spans}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for node in graph:
        moved = scheme.shared_inputs(node) if walk.is_op(node) else ()
        if not moved:
            continue
        ends = [node.inputs[index] for index in moved if index < len(node.inputs)]
        names = [value.name for value in (*ends, *node.outputs) if value is not None and value.name in parent]
        for name in names[1:]:
            first, second = sorted((root(str(names[0])), root(str(name))), key=rank.__getitem__)
            parent[second] = first
    return {name: root(name) for name in spans}
