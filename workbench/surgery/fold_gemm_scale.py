"""Multiply a Gemm's alpha and beta into its matrix and its bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, naming, walk
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow


@dataclass(frozen=True, kw_only=True)
class FoldGemmScale(Pass):
    """Give every Gemm alpha = 1 and beta = 1, written out: the factors go into its operands.

    Gemm is alpha * A @ B + beta * C (ONNX operator reference), so a factor may be multiplied into an operand before;
    each weight is rounded to float32 once more, in double precision before.

    1. alpha is multiplied into B when that is constant, else into A when that is, else a Mul in front of A does it.
    2. beta is multiplied into C when that is constant, else a Mul in front of C does it. With beta = 0, C is not read
       any more. Without C, beta means nothing.
    3. A constant that others read too is copied; theirs stays. Left alone: a Gemm of another type than float32, and a
       factor that would take a weight out of float32's range.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """A halved product and a doubled bias."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        scaled (float[1,2] x) => (float[1,2] y) <float[2,2] w = {1, 2, 3, 4}, float[2] b = {5, 6}> {
            y = Gemm<alpha = 0.5, beta = 2.0>(x, w, b)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every Gemm."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for gemm in walk.nodes(model.graph, "Gemm"):
            alpha, beta = (attributes.decimal(gemm, name, 1.0) for name in ("alpha", "beta"))
            if alpha == 1 and beta == 1:
                continue
            reason = known.not_float(gemm.inputs[0])
            if reason is None and not (np.isfinite(alpha) and np.isfinite(beta)):
                reason = f"alpha {alpha:g} and beta {beta:g} are no factors"
            places = [] if reason is not None else _places(gemm, alpha, beta)
            overflow = next((place for place in places if _overflows(gemm, *place)), None)
            if overflow is not None:
                name = getattr(gemm.inputs[overflow[0]], "name", "")
                reason = f"{overflow[1]:g} times '{name}' leaves the range of float32"
            if reason is not None:
                left.append(f"{walk.label(gemm)}: {reason}")
                continue
            done = [_multiply(model.graph, gemm, index, factor) for index, factor in places]
            if beta == 0 and _given(gemm, 2) is not None:
                done.append(_without_bias(gemm))
            attributes.put_decimal(gemm, "alpha", 1.0)
            attributes.put_decimal(gemm, "beta", 1.0)
            changed.append(f"{walk.label(gemm)}: {', '.join(done) or 'beta without a bias is 1'}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _places(gemm: ir.Node, alpha: float, beta: float) -> list[tuple[int, float]]:
    """Which inputs are to be multiplied, and by what."""
    found = []
    if alpha != 1:
        found.append((1 if _constant(gemm, 1) is not None else 0, alpha))
    if beta not in (0, 1) and _given(gemm, 2) is not None:
        found.append((2, beta))
    return found


def _given(gemm: ir.Node, index: int) -> ir.Value | None:
    return gemm.inputs[index] if index < len(gemm.inputs) else None


def _constant(gemm: ir.Node, index: int) -> constants.Array | None:
    return constants.array(_given(gemm, index))


def _scaled(gemm: ir.Node, index: int, factor: float) -> constants.Array | None:
    """The constant input `index` times `factor`; None when it is computed at run time."""
    data = _constant(gemm, index)
    if data is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return (data.astype(np.float64) * factor).astype(np.float32)


def _overflows(gemm: ir.Node, index: int, factor: float) -> bool:
    """Whether a number of the constant input `index` leaves float32 when it is multiplied by `factor`."""
    data, scaled = _constant(gemm, index), _scaled(gemm, index, factor)
    return data is not None and scaled is not None and bool((np.isfinite(scaled) != np.isfinite(data)).any())


def _multiply(graph: ir.Graph, gemm: ir.Node, index: int, factor: float) -> str:
    """Multiply input `index` by `factor`, and say how."""
    value = gemm.inputs[index]
    if value is None or not value.name:
        raise AssertionError("only inputs that are given are multiplied")
    name = value.name
    data = _scaled(gemm, index, factor)
    if data is not None:
        constants.put(graph, gemm, index, data, f"{name}_scaled")
        return f"'{name}' is multiplied by {factor:g}"
    scale = constants.add(graph, f"{name}_scale", np.asarray(factor, np.float32))
    taken = {other.name for other in graph if other.name}
    node = ir.node("Mul", [value, scale], name=naming.unique(f"{gemm.name or gemm.outputs[0].name}_scale", taken))
    made = node.outputs[0]
    made.name, made.type, made.shape = walk.fresh_name(graph, f"{name}_scaled"), value.type, value.shape
    graph.insert_before(gemm, [node])
    gemm.replace_input_with(index, made)
    return f"a Mul by {factor:g} in front of it for '{name}'"


def _without_bias(gemm: ir.Node) -> str:
    """Let the Gemm read no bias."""
    value = gemm.inputs[2]
    gemm.resize_inputs(2)
    if value is None:
        raise AssertionError("there is a bias to leave out")
    constants.drop_unused(value)
    return f"'{value.name}' times 0 is left out"


PASS = FoldGemmScale
