"""Remove arithmetic that changes nothing, which the vendor's optimizer removes together with a graph output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import constants, splice, walk
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow

_NEUTRAL = {"Mul": 1, "Div": 1, "Pow": 1, "Add": 0, "Sub": 0}
_BOTH_SIDES = ("Mul", "Add")
_DOES = {
    "Mul": "multiplies by 1",
    "Div": "divides by 1",
    "Pow": "raises to the power of 1",
    "Add": "adds 0",
    "Sub": "subtracts 0",
}


@dataclass(frozen=True, kw_only=True)
class RemoveIdentityArithmetic(Pass):
    """Remove Mul, Div and Pow by exactly 1 and Add and Sub of exactly 0, where the result has the operand's shape.

    Every number stays, NaN and infinity too: IEEE 754 gives ``x * 1 = x / 1 = x - 0 = x + -0 = x`` bit by bit.

    1. ``x + 0`` and ``x - -0`` turn -0 into 0, which is the same number but not the same divisor. They go where nothing
       behind them divides by what they make, or takes its power, or is an operator that nobody here knows.
    2. What makes the operand takes over the name of a graph output. Where it cannot, being an input, a constant or an
       output itself, the node stays.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """An output scale that came out as 1, and an offset that came out as 0."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        scaled (float[1,2,3,3] x) => (float[1,2,3,3] y) <float one = {1}, float[1,2,1,1] none = {0, 0}> {
            r = Relu(x)
            s = Add(r, none)
            y = Mul(s, one)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit the graph in order, so that a chain of them goes in one run."""
        changed: list[str] = []
        left = list(control_flow(model))
        renamed: dict[str, str] = {}
        known = Known(model)
        for node in walk.nodes(model.graph, *_NEUTRAL):
            place = _operand(node)
            if place is None:
                continue
            label = walk.label(node)
            kept = node.inputs[place]
            reason = _refuses(node, place, known)
            if reason is None and kept is not None:
                reason = splice.bypass(kept, node.outputs[0], renamed)
            if reason is not None or kept is None:
                left.append(f"{label}: {reason}")
                continue
            changed.append(f"{label}: {_DOES[node.op_type]}, removed")
            splice.remove(node)
        return Edits(changed=tuple(changed), left=tuple(left), renamed=renamed)


def _operand(node: ir.Node) -> int | None:
    """Which input comes out as it went in, because the other is neutral; None when there is none."""
    if len(node.inputs) != 2:
        return None
    for place in (0, 1) if node.op_type in _BOTH_SIDES else (0,):
        other = constants.array(node.inputs[1 - place])
        if other is not None and other.size and bool((other == _NEUTRAL[node.op_type]).all()):
            return place
    return None


def _refuses(node: ir.Node, place: int, known: Known) -> str | None:
    other = constants.array(node.inputs[1 - place])
    if other is None or not known.keeps_shape(node.inputs[place], other.shape):
        return f"it {_DOES[node.op_type]}, but its other operand may broadcast to another shape"
    if node.op_type not in ("Add", "Sub") or other.dtype.kind in "iu":
        return None
    wanted = node.op_type == "Add"  # the sign of a 0 that changes no -0
    if bool((np.signbit(other.astype(np.float64)) == wanted).all()):
        return None
    reader = _tells_zeros_apart(node.outputs[0])
    return None if reader is None else f"it makes 0 of -0, and {walk.label(reader)} can tell them apart"


def _tells_zeros_apart(value: ir.Value) -> ir.Node | None:
    """The first node behind `value` whose result may differ in more than the sign of a zero when that sign does."""
    seen: set[ir.Value] = {value}
    waiting = [value]
    while waiting:
        current = waiting.pop(0)
        for use in current.uses():
            node = use.node
            if _depends_on_sign(node, use.idx) or node.graph is not value.graph:
                return node
            fresh = [made for made in node.outputs if made not in seen]
            seen.update(fresh)
            waiting.extend(fresh)
    return None


def _depends_on_sign(node: ir.Node, place: int) -> bool:
    if not walk.is_op(node) or next(walk.inner_graphs(node), None) is not None:
        return True
    return node.op_type in ("Reciprocal", "Pow") or (node.op_type == "Div" and place == 1)


PASS = RemoveIdentityArithmetic
