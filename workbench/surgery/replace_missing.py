"""Write operators that some chip lacks in operators that every chip has."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Annotated, Self

import numpy as np
import onnx_ir as ir
from pydantic import Field

from workbench.graph import constants, walk
from workbench.surgery import _reductions
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow, require_named

_FLOAT, _BOOL = ir.DataType.FLOAT, ir.DataType.BOOL
_COUNTING = (_FLOAT, ir.DataType.INT32, ir.DataType.INT64)
_MOST_COPIES = 64


@dataclass(frozen=True, kw_only=True)
class ReplaceMissing(Pass):
    """Replace operators that are in some chips' tables only, or in none, by equal ones that are in all.

    1. The same to the last bit: Neg (Mul by -1), Floor (the negative Ceil of the negative), Reciprocal (1 / x), Sum (a
       chain of Add), Sign (x > 0 less x < 0), ReduceMin (the negative ReduceMax of the negative), Tile (Concat),
       Dropout (Identity); Not, And, Or and Xor by comparing numbers that are 0 and 1 with a half.
    2. The same within rounding: Mean (Sum times a factor), ReduceSum, ReduceL1, ReduceSumSquare (a ReduceMean times the
       number of terms), GlobalLpPool of order 1 and 2, LpNormalization along another axis than the last. Cos is the Sin
       a quarter turn on, which rounds the angle once: 1e-7 of it.
    3. Where(c, a, b) is a * c + b * (1 - c), the same to the last bit as long as a and b are finite; with a constant
       that is not, it is left alone.
    4. Left alone: other types than float32 (Neg and Tile also take whole numbers), open sizes where they are
       counted, axes or repeats of the run, a Tile of more than 64 copies, a Dropout in training. What needs a
       logarithm, such as LogSoftmax, has no equal here, since no table has Log.
    """

    operators: Annotated[
        tuple[str, ...] | None, Field(min_length=1, description="only these operators; all it knows when left out")
    ] = None

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """A negative, which the AX650 lacks, and a sum of three."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        missing (float[1,2,3,3] x) => (float[1,2,3,3] y) {
            n = Neg(x)
            p = Relu(n)
            y = Sum(x, n, p)
        }"""
        return cls(operators=("Neg", "Sum")), ir.from_onnx_text(text)

    def requires(self, model: ir.Model) -> None:
        """Every operator is one it knows.

        Raises:
            RecipeError: it knows no equal of one.
        """
        del model
        require_named(_FORMULAS, self.operators or (), "operators", "replaceable operator")

    def apply(self, model: ir.Model) -> Edits:
        """Visit every node of these operators."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        opset = walk.opset(model)
        for node in walk.nodes(model.graph, *(self.operators or _FORMULAS)):
            kinds, write = _FORMULAS[node.op_type]
            # The condition of a Where is a bool; what counts is what it chooses from.
            kind = known.kind(node.inputs[1 if node.op_type == "Where" else 0])
            label = walk.label(node)
            formula = Formula(model.graph, node, kind if kind in _COUNTING else _FLOAT)
            if kind is None:
                reason: str | None = "the type of its input is not known"
            elif kinds and kind not in kinds:
                reason = f"it is of type {kind.name}"
            else:
                reason = write(formula, node, known, opset)
            if reason is None:
                changed.append(f"{label}: now {formula.finish()}")
            else:
                left.append(f"{label}: {reason}")
        return Edits(changed=tuple(changed), left=tuple(left))


Write = Callable[[Formula, ir.Node, Known, int], str | None]
"""Puts the nodes, or returns why it cannot be done and puts none."""


def _plain(write: Callable[[Formula, ir.Node], object]) -> Write:
    """A formula that can always be written."""

    def formula(f: Formula, node: ir.Node, known: Known, opset: int) -> None:
        del known, opset
        write(f, node)

    return formula


def _sum(f: Formula, node: ir.Node) -> ir.Value:
    first, *others = node.inputs
    if first is None or not others:
        return f("Identity", first)
    return reduce(partial(f, "Add"), others, first)


def _mean(f: Formula, node: ir.Node) -> ir.Value:
    made = _sum(f, node)
    return made if len(node.inputs) == 1 else f("Mul", made, 1 / len(node.inputs))


def _sign(f: Formula, node: ir.Node) -> ir.Value:
    x = node.inputs[0]
    above, below = f("Greater", x, 0.0, kind=_BOOL), f("Less", x, 0.0, kind=_BOOL)
    return f("Sub", _number(f, above), _number(f, below))


def _logic(f: Formula, node: ir.Node) -> ir.Value:
    """Truth as a number that is more, or less, than a half."""
    numbers = [_number(f, value) for value in node.inputs]
    if node.op_type == "Not":
        return f("Less", *numbers, 0.5)
    if node.op_type == "Xor":
        return f("Greater", f("Abs", f("Sub", *numbers, kind=_FLOAT), kind=_FLOAT), 0.5)
    return f("Greater", f("Mul" if node.op_type == "And" else "Add", *numbers, kind=_FLOAT), 0.5)


def _number(f: Formula, value: ir.Value | None) -> ir.Value:
    """0 for false and 1 for true."""
    return f("Cast", value, to=int(_FLOAT), kind=_FLOAT)


def _where(f: Formula, node: ir.Node, known: Known, opset: int) -> str | None:
    del known, opset
    condition, yes, no = node.inputs
    for value in (yes, no):
        data = constants.array(value)
        if value is not None and data is not None and not np.isfinite(data.astype(np.float64)).all():
            return f"'{value.name}' is not finite, and 0 times it is no number"
    mask = _number(f, condition)
    f("Add", f("Mul", yes, mask), f("Mul", no, f("Sub", 1.0, mask)))
    return None


def _tile(f: Formula, node: ir.Node, known: Known, opset: int) -> str | None:
    del known, opset
    repeats = constants.array(node.inputs[1])
    if repeats is None:
        return "its repeats are computed at run time"
    counts = [int(count) for count in repeats.reshape(-1)]
    if not all(counts):
        return "it leaves nothing"
    if math.prod(counts) > _MOST_COPIES:
        return f"it makes {math.prod(counts)} copies, and a Concat of more than {_MOST_COPIES} is no help"
    made = node.inputs[0]
    for axis, count in enumerate(counts):
        if count > 1:
            made = f("Concat", *(made,) * count, axis=axis)
    if made is node.inputs[0]:
        f("Identity", made)
    return None


def _dropout(f: Formula, node: ir.Node, known: Known, opset: int) -> str | None:
    del known, opset
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    data = constants.array(mode)
    if mode is not None and (data is None or data.any()):
        return "it may be in training"
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return "its mask is read"
    f("Identity", node.inputs[0])
    return None


_FORMULAS: dict[str, tuple[tuple[ir.DataType, ...], Write]] = {
    "And": ((_BOOL,), _plain(_logic)),
    "Cos": ((_FLOAT,), _plain(lambda f, node: f("Sin", f("Add", node.inputs[0], math.pi / 2)))),
    "Dropout": ((), _dropout),
    "Floor": ((_FLOAT,), _plain(lambda f, node: f("Mul", f("Ceil", f("Mul", node.inputs[0], -1.0)), -1.0))),
    "GlobalLpPool": ((_FLOAT,), _reductions.global_pool),
    "LpNormalization": ((_FLOAT,), _reductions.normalization),
    "Mean": ((_FLOAT,), _plain(_mean)),
    "Neg": (_COUNTING, _plain(lambda f, node: f("Mul", node.inputs[0], -1))),
    "Not": ((_BOOL,), _plain(_logic)),
    "Or": ((_BOOL,), _plain(_logic)),
    "Reciprocal": ((_FLOAT,), _plain(lambda f, node: f("Div", 1.0, node.inputs[0]))),
    "ReduceL1": ((_FLOAT,), _reductions.reduction),
    "ReduceMin": ((_FLOAT,), _reductions.reduction),
    "ReduceSum": ((_FLOAT,), _reductions.reduction),
    "ReduceSumSquare": ((_FLOAT,), _reductions.reduction),
    "Sign": ((_FLOAT,), _plain(_sign)),
    "Sum": ((_FLOAT,), _plain(_sum)),
    "Tile": ((), _tile),
    "Where": ((_FLOAT,), _where),
    "Xor": ((_BOOL,), _plain(_logic)),
}
PASS = ReplaceMissing
