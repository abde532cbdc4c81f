"""Decide, for every tensor of a graph, on which grid its values stand: the scheme applied to one network."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from workbench.catalog import did_you_mean
from workbench.errors import ToolError, UnsupportedError
from workbench.graph import constants, walk
from workbench.quant import scheme
from workbench.quant.activations import activations
from workbench.quant.ranges import Range


@dataclass(frozen=True)
class Plan:
    """The grids of one network.

    Args:
        grids: by tensor name, for every activation (in graph order) and every constant operand that is quantized.
        owner: by tensor name, the first tensor (in graph order) of those that share one grid.
        fused: activations inside an operator, e.g. between a convolution and its Relu; they have no grid.
        ends: by tensor of `fused`, the tensor that its operator makes.
        operands: the constants among `grids`.
        u16: the activations at 16 bits: those asked for and all that share a grid with them.
    """

    grids: Mapping[str, scheme.Grid]
    owner: Mapping[str, str]
    fused: frozenset[str]
    ends: Mapping[str, str]
    operands: frozenset[str] = frozenset()
    u16: frozenset[str] = frozenset()


def plan(model: ir.Model, ranges: Mapping[str, Range], u16: Collection[str] = frozenset()) -> Plan:
    """The grids of `model`, whose inferred types and shapes are written into it.

    Args:
        model: a float graph.
        ranges: the span of every activation.
        u16: activations to stand on 16 bits, 65535 steps, instead of 8. Tensors that share a grid with one of them
            follow it (`widened` tells which), and so do constants that meet one of them in arithmetic: a sum is no
            finer than its coarser operand, and a constant costs nothing.

    Raises:
        UnsupportedError: as `activations`, an activation that needs a range has none, or as `widened`.
        ToolError: a constant is NaN or infinite.
    """
    values = activations(model)
    ends = inside_operators(model.graph)
    fused = frozenset(ends)
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
    operands = _operands(model.graph)
    spans.update(operands)
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
    wide = widened(Plan({}, owner, fused, ends, frozenset(operands)), u16)
    owners = {owner[name] for name in wide}
    owners |= _beside(model.graph, owner, frozenset(wide), operands)
    grids = {
        name: scheme.activation_grid(
            merged[owner[name]],
            bits=16 if owner[name] in owners else 8,
            symmetric=owner[name] in zero_centred,
        )
        for name in spans
    }
    return Plan(grids, owner, fused, ends, frozenset(operands), frozenset(wide))


def widened(decided: Plan, names: Iterable[str]) -> tuple[str, ...]:
    """The activations that stand on 16 bits when `names` are asked for: these and all that share a grid with them.

    Args:
        decided: any plan of the network, whatever its own tensors at 16 bits.
        names: activations that have a grid.

    Returns:
        names in graph order, each once.

    Raises:
        UnsupportedError: a name is no activation, a constant, or inside an operator; the nearest name is the fix.
    """
    known = [name for name in decided.owner if name not in decided.operands]
    owners = set()
    for name in names:
        if name in decided.ends:
            what = f"tensor {name!r} is inside the operator that makes {decided.ends[name]!r}, and never on a grid"
            raise UnsupportedError(what, fix=f"name {decided.ends[name]!r}")
        if name in decided.operands:
            what = f"tensor {name!r} is a constant; it follows the activations it meets"
            raise UnsupportedError(what, fix="name one of those")
        if name not in decided.owner:
            near = did_you_mean(name, known)
            raise UnsupportedError(
                f"no activation called {name!r}",
                fix=near if near.startswith("did") else f"the model has {len(known)}; {near[:300]}...",
            )
        owners.add(decided.owner[name])
    return tuple(name for name in known if decided.owner[name] in owners)


def inside_operators(graph: ir.Graph) -> dict[str, str]:
    """By activation inside an operator with weights, the tensor that the operator makes with its Relu or Clip."""
    inside: dict[ir.Node, list[str]] = {}  # by the last node of an operator, what lies before it
    for node in graph:
        if walk.is_op(node, *scheme.FUSED_BEHIND):
            inside[node] = []
        elif walk.is_op(node, *scheme.FUSED) and all(constants.array(bound) is not None for bound in _bounds(node)):
            before = node.inputs[0]
            last = None if before is None else before.producer()
            if before is not None and last in inside and walk.only_consumer(before) is node:
                inside[node] = [*inside.pop(last), str(before.name)]
    return {name: str(last.outputs[0].name) for last, names in inside.items() for name in names}


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


def _beside(graph: ir.Graph, owner: Mapping[str, str], wide: Collection[str], operands: Collection[str]) -> set[str]:
    """The owners of constants that meet a tensor of `wide` in arithmetic, where no activation shares their grid."""
    tied = {owner[name] for name in owner if name not in operands}
    found: set[str] = set()
    for node in graph:
        ends = {str(value.name) for value in (*node.inputs, *node.outputs) if value is not None}
        if ends.isdisjoint(wide):
            continue
        for index, value in enumerate(node.inputs):
            if value is not None and value.name in operands and is_operand(node, index):
                found.add(owner[str(value.name)])
    return found - tied


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
