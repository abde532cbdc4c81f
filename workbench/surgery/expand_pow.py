"""Write a power with a fixed exponent as products, roots and a division."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import constants, splice, walk
from workbench.surgery import _powers
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow


@dataclass(frozen=True, kw_only=True)
class ExpandPow(Pass):
    """Write Pow by a constant as Mul, Sqrt and Div, and make any other constant exponent a scalar.

    1. Multiples of 1/4 from -8 to 8: squares and their products for the whole part, Sqrt for a half, Sqrt of Sqrt for
       a quarter, 1 divided by the positive power where the exponent is negative. Exponent 1 is the base itself, or an
       Identity where that is an input and the result an output; exponent 0 is a Clip from 1 to 1. Of a base of whole
       numbers only exponents 1, 2, ... 8 are written out.
    2. Every step rounds once, so the result differs by a few units in the last place, and where it is a normal number
       nothing overflows on the way. Of a negative base a fractional power is NaN before and after. Not the same: -0.0
       to the power of -0.5 is -inf and was inf, -inf to the power of 0.5 is NaN and was inf, and NaN to the power of 0
       is NaN and was 1.
    3. An exponent that is the same number everywhere counts as that number, as long as it does not broadcast the base
       to another shape. One that is not written out becomes a scalar initializer, as the chips ask for.
    4. Left alone: an exponent that differs from element to element or is computed at run time.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """The cube of an inverse square root."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        powers (float[1,2,3,3] x) => (float[1,2,3,3] y) <float[1] cube = {3}, float[1] root = {-0.5}> {
            shrunk = Sigmoid(x)
            inverse = Pow(shrunk, root)
            y = Pow(inverse, cube)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every power."""
        changed: list[str] = []
        left = list(control_flow(model))
        renamed: dict[str, str] = {}
        known = Known(model)
        for node in walk.nodes(model.graph, "Pow"):
            exponent = _exponent(node, known)
            if isinstance(exponent, str):
                left.append(f"{walk.label(node)}: {exponent}")
            elif exponent == 1:
                changed.append(_drop(model.graph, node, renamed))
            elif _writes_out(node, exponent, known):
                label, formula = walk.label(node), Formula(model.graph, node, known.kind(node.inputs[0]) or _FLOAT)
                _power(formula, node, exponent)
                changed.append(f"{label}: power {exponent:g} is {formula.finish()}")
            elif _to_scalar(model.graph, node):
                changed.append(f"{walk.label(node)}: its exponent {exponent:g} is a scalar initializer")
        return Edits(changed=tuple(changed), left=tuple(left), renamed=renamed)


_FLOAT = ir.DataType.FLOAT


def _exponent(node: ir.Node, known: Known) -> float | str:
    """The one number that the base is raised to, or why there is none."""
    data = constants.array(node.inputs[1])
    if data is None:
        return "its exponent is computed at run time"
    numbers = np.unique(data.astype(np.float64))
    if numbers.size != 1:
        return "its exponent is not one number but differs from element to element"
    if not known.keeps_shape(node.inputs[0], data.shape):
        return f"its exponent of shape {list(data.shape)} broadcasts the base, or the base's shape is not known"
    return float(numbers[0])


def _writes_out(node: ir.Node, exponent: float, known: Known) -> bool:
    kind = known.kind(node.inputs[0])
    if kind in (ir.DataType.INT32, ir.DataType.INT64):
        return exponent > 0 and exponent == int(exponent) and _powers.is_short(exponent)
    return kind == _FLOAT and _powers.is_short(exponent)


def _power(formula: Formula, node: ir.Node, exponent: float) -> None:
    base = node.inputs[0]
    if base is None:
        raise AssertionError("Pow has a base")
    _powers.power(formula, base, exponent)


def _drop(graph: ir.Graph, node: ir.Node, renamed: dict[str, str]) -> str:
    """Let the readers of a first power read its base, and say how."""
    kept, gone, label = node.inputs[0], node.outputs[0], walk.label(node)
    if kept is None:
        raise AssertionError("Pow has a base")
    if splice.bypass(kept, gone, renamed) is not None:
        formula = Formula(graph, node)
        formula("Identity", kept)
        return f"{label}: power 1 is {formula.finish()}"
    splice.remove(node)
    return f"{label}: removed, it is its base"


def _to_scalar(graph: ir.Graph, node: ir.Node) -> bool:
    """Make the exponent an initializer without axes; tell whether it was not."""
    value = node.inputs[1]
    data = constants.array(value)
    if value is None or data is None:
        raise AssertionError("only constant exponents come here")
    if value.is_initializer() and data.ndim == 0:
        return False
    constants.put(graph, node, 1, np.asarray(data.reshape(-1)[0]), f"{value.name}_scalar")
    return True


PASS = ExpandPow
