"""Write a remainder as a division, a product and a difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, splice, walk
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow

_WHOLE = (ir.DataType.INT32, ir.DataType.INT64)
_SHORT = (ir.DataType.INT8, ir.DataType.INT16, ir.DataType.UINT8, ir.DataType.UINT16)
_INDICES = ("ArgMax", "ArgMin", "Shape", "Size", "NonZero")
_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity")
_EXACT = 2**24  # float32 holds every whole number up to here


@dataclass(frozen=True, kw_only=True)
class DecomposeMod(Pass):
    """Write Mod by a constant as a - b * (a / b), which no chip's table has otherwise.

    1. int32 and int64: ONNX's Div rounds towards zero, so r = a - b * Div(a, b) has the sign of a, which is what
       fmod = 1 asks for. With fmod = 0 the result has the sign of b: r + b goes through the same once more. The second
       round is left out where a comes from ArgMax, ArgMin, TopK, Shape or NonZero and b is positive, since nothing is
       negative there. The chips' tables list Div without a word on whole numbers.
    2. float32 with fmod = 1: the quotient is rounded towards zero by a Cast to int32 and back, so Abs(a / b) must be
       below 2 ** 31. Only where no rounding can change the quotient: b is a power of two, or a and b are whole numbers
       (a is cast from an integer, or comes from Floor, Ceil or Round), below 2 ** 24.
    3. A remainder of two constants is folded, unless it is an output.
    4. Left alone: another divisor of floats, whose remainder hangs on the last bit of the quotient; a divisor that is
       computed at run time, that holds a zero, or that is so large that r + b would overflow; other types.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """The column of the best cell of a heat map with rows of five, and a wave with a period of a half."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        cell (float[1,3,20] x) => (int64[1,3,1] column, float[1,3,20] wave) <int64 width = {5}, float half = {0.5}> {
            best = ArgMax<axis = 2>(x)
            column = Mod(best, width)
            wave = Mod<fmod = 1>(x, half)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every remainder."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "Mod"):
            label, kind = walk.label(node), known.kind(node.inputs[0])
            reason = _refuses(node, known)
            if reason is not None or kind is None:
                left.append(f"{label}: {reason}")
            elif _is_constant(node):
                _fold(model.graph, node)
                changed.append(f"{label}: folded, both numbers are constant")
            else:
                formula = Formula(model.graph, node, kind)
                _spell_out(formula, node, kind)
                changed.append(f"{label}: spelled out as {formula.finish()}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _refuses(node: ir.Node, known: Known) -> str | None:
    """Why a remainder cannot be written out; None when it can."""
    kind, divisor = known.kind(node.inputs[0]), constants.array(node.inputs[1])
    if kind is None:
        return "the type of its input is not known"
    if divisor is None:
        return "its divisor is computed at run time"
    if not divisor.size or (divisor == 0).any():
        return "its divisor is zero"
    if _is_constant(node):
        return None
    if kind in _WHOLE:
        # r + b reaches 2 * b - 1 in size.
        most = 2.0 ** (30 if kind == ir.DataType.INT32 else 62)
        sizes = np.abs(divisor.astype(np.float64))
        return f"a remainder and its divisor may overflow {kind.name}" if (sizes > most).any() else None
    if kind != ir.DataType.FLOAT:
        return f"remainders of {kind.name} are not covered"
    if attributes.integer(node, "fmod", 0) != 1:
        return "ONNX has no remainder of floats but with fmod = 1"
    sizes = np.abs(divisor.astype(np.float64))
    if (np.frexp(sizes)[0] == 0.5).all():
        return None
    if not _is_whole(node.inputs[0], known) or (sizes != np.rint(sizes)).any() or (sizes >= _EXACT).any():
        return "its remainder hangs on the last bit of the quotient, which is exact by a power of two only"
    return None


def _is_constant(node: ir.Node) -> bool:
    """Whether a constant can stand for `node`."""
    return all(constants.array(value) is not None for value in node.inputs) and not node.outputs[0].is_graph_output()


def _fold(graph: ir.Graph, node: ir.Node) -> None:
    """Put a constant in the place of a remainder of constants."""
    dividend, divisor = (np.asarray(constants.array(value)) for value in node.inputs)
    function = np.fmod if attributes.integer(node, "fmod", 0) else np.mod
    value = constants.add(graph, f"{node.outputs[0].name}_folded", np.asarray(function(dividend, divisor)))
    node.outputs[0].replace_all_uses_with(value)
    splice.remove(node)


def _spell_out(f: Formula, node: ir.Node, kind: ir.DataType) -> None:
    a, b = node.inputs
    if kind == ir.DataType.FLOAT:
        quotient = f("Cast", f("Div", a, b), to=int(ir.DataType.INT32), kind=ir.DataType.INT32)
        f("Sub", a, f("Mul", f("Cast", quotient, to=int(kind)), b))
        return
    remainder = f("Sub", a, f("Mul", f("Div", a, b), b))
    if not _keeps_sign(node):
        positive = f("Add", remainder, b)
        f("Sub", positive, f("Mul", f("Div", positive, b), b))


def _keeps_sign(node: ir.Node) -> bool:
    """Whether the remainder of whole numbers with the sign of the dividend is the one that is asked for."""
    if attributes.integer(node, "fmod", 0):
        return True
    return bool((np.asarray(constants.array(node.inputs[1])) > 0).all()) and _never_negative(node.inputs[0])


def _never_negative(value: ir.Value | None) -> bool:
    """Whether `value` holds indices or sizes, seen through what only moves them."""
    while value is not None:
        data = constants.array(value)
        if data is not None:
            return bool((data.astype(np.float64) >= 0).all())
        node = value.producer()
        if walk.is_op(node, *_INDICES):
            return True
        if node is not None and walk.is_op(node, "TopK"):
            return value is node.outputs[1]
        moves = walk.is_op(node, *_MOVES)
        cast = walk.is_op(node, "Cast") and node is not None and attributes.integer(node, "to", 0) in _WHOLE
        value = node.inputs[0] if node is not None and (moves or cast) else None
    return False


def _is_whole(value: ir.Value | None, known: Known) -> bool:
    """Whether the float `value` holds whole numbers only."""
    node = walk.producer(value)
    if node is None:
        return False
    if node.op_type == "Cast":
        return known.kind(node.inputs[0]) in (*_WHOLE, *_SHORT)
    return node.op_type in ("Floor", "Ceil", "Round")


PASS = DecomposeMod
