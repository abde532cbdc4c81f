"""A power with a fixed exponent as products, square roots and a division."""

from __future__ import annotations

import onnx_ir as ir

from workbench.surgery._formula import Formula

_LARGEST = 8  # beyond it rounding adds up, and a Pow is shorter


def is_short(exponent: float) -> bool:
    """Whether `power` can spell out `exponent`: the quarters from -8 to 8."""
    return abs(exponent) <= _LARGEST and exponent * 4 == int(exponent * 4)


def power(f: Formula, x: ir.Value, exponent: float) -> ir.Value:
    """``x ** exponent`` for an exponent that `is_short`.

    Whole powers are squares and their products, a half is a square root, a quarter the root of one; a negative exponent
    divides 1 by the positive power. Each step rounds once. The exponent 0 gives 1 for every number by a Clip from 1 to
    1; the exponent 1 is `x` itself and puts no node.
    """
    if exponent == 0:
        return f("Clip", x, 1.0, 1.0)
    if exponent < 0:
        return f("Div", f.number(1.0), power(f, x, -exponent))
    quarters = int(exponent * 4)
    factors = []
    square, whole = x, quarters // 4
    while whole:
        if whole % 2:
            factors.append(square)
        whole //= 2
        if whole:
            square = f("Mul", square, square)
    if quarters % 4:
        root = f("Sqrt", x)
        if quarters % 4 >= 2:
            factors.append(root)
        if quarters % 2:
            factors.append(f("Sqrt", root))
    made = factors[0]
    for factor in factors[1:]:
        made = f("Mul", made, factor)
    return made
