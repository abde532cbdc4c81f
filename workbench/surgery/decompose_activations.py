"""Spell an activation out in simpler operators, for compilers that lack it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Self

import onnx_ir as ir
from pydantic import Field

from workbench.graph import attributes, walk
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow, require_named

_SMALLEST, _LARGEST = 1e-6, 1e6  # alphas of Celu by which x can be divided without leaving float32


@dataclass(frozen=True, kw_only=True)
class DecomposeActivations(Pass):
    """Write activations as Mul, Add, Clip, Sigmoid, Tanh, Softplus, Erf and Elu, with every attribute written out.

    The formulas are those of the ONNX operator reference, rearranged in two places where that saves nodes and is the
    same function: 0.5 * (1 + tanh(u)) = sigmoid(2 * u), and celu(x) = alpha * elu(x / alpha). Each result differs by
    the rounding of a few float32 steps.

    1. HardSigmoid: Clip(alpha * x + beta, 0, 1). HardSwish: x * HardSigmoid(x, 1/6, 1/2), and that is a Clip when
       HardSigmoid is to go too.
    2. Gelu: x / 2 * (1 + Erf(x / sqrt(2))); approximate "tanh": x * Sigmoid(x * (c + 0.044715 * c * x * x)) with
       c = 2 * sqrt(2 / pi). A Gelu that an exporter has spelled out already is not looked for.
    3. Mish: x * Tanh(Softplus(x)). Swish: x * Sigmoid(alpha * x). Softsign: x / (1 + Abs(x)).
    4. Selu: gamma * Elu(x, alpha). Celu: alpha * Elu(x / alpha, 1), for alpha of 1e-6 to 1e6.
    5. ThresholdedRelu: Relu(x) for alpha 0, else x * Cast(x > alpha). Shrink, bias 0: x * Cast(Abs(x) > lambd); with
       bias = lambd: x - Clip(x, -lambd, lambd). The two with a Cast are 0 * x below the threshold: an infinite x gives
       NaN there.
    6. Left alone: what is not float32, and the parameters that no formula above covers. Softplus itself needs a
       logarithm, which no chip's table has.
    """

    operators: Annotated[
        tuple[str, ...] | None, Field(min_length=1, description="only these operators; all it knows when left out")
    ] = None

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """A HardSwish and a Mish, of which the first is to go."""
        text = """<ir_version: 8, opset_import: ["": 18]>
        active (float[1,2,3,3] x) => (float[1,2,3,3] y) {
            swish = HardSwish(x)
            y = Mish(swish)
        }"""
        return cls(operators=("HardSwish",)), ir.from_onnx_text(text)

    def requires(self, model: ir.Model) -> None:
        """Every operator is one it knows.

        Raises:
            RecipeError: it knows no such activation.
        """
        del model
        require_named(_FORMULAS, self.operators or (), "operators", "activation")

    def apply(self, model: ir.Model) -> Edits:
        """Visit every activation."""
        changed = []
        left = list(control_flow(model))
        chosen = self.operators or tuple(_FORMULAS)
        known = Known(model)
        for node in walk.nodes(model.graph, *chosen):
            reason = known.not_float(node.inputs[0]) or _refuses(node)
            if reason is not None:
                left.append(f"{walk.label(node)}: {reason}")
                continue
            label, formula = walk.label(node), Formula(model.graph, node)
            _FORMULAS[node.op_type](formula, node, chosen)
            changed.append(f"{label}: spelled out as {formula.finish()}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _refuses(node: ir.Node) -> str | None:
    """Why no formula covers the parameters of `node`; None when one does."""
    if node.op_type == "Celu":
        alpha = attributes.decimal(node, "alpha", 1.0)
        if not _SMALLEST <= alpha <= _LARGEST:
            return f"x / alpha is no number to rely on with alpha {alpha:g}"
    if node.op_type == "Gelu":
        how = attributes.text(node, "approximate", "none")
        if how not in ("none", "tanh"):
            return f"approximate '{how}' is neither none nor tanh"
    if node.op_type == "Shrink":
        threshold, bias = attributes.decimal(node, "lambd", 0.5), attributes.decimal(node, "bias", 0.0)
        if threshold < 0 or bias not in (0, threshold):
            return f"bias {bias:g} with lambd {threshold:g} is neither a hard nor a soft threshold"
    return None


def _hard_sigmoid(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    del chosen
    return _ramp(f, node.inputs[0], attributes.decimal(node, "alpha", 0.2), attributes.decimal(node, "beta", 0.5))


def _hard_swish(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    x = node.inputs[0]
    if "HardSigmoid" in chosen:
        return f("Mul", x, _ramp(f, x, 1 / 6, 0.5))
    return f("Mul", x, f("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def _ramp(f: Formula, x: ir.Value | None, alpha: float, beta: float) -> ir.Value:
    """``alpha * x + beta`` within 0 and 1."""
    scaled = x if alpha == 1 else f("Mul", x, alpha)
    shifted = scaled if beta == 0 else f("Add", scaled, beta)
    return f("Clip", shifted, 0.0, 1.0)


def _gelu(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    del chosen
    x = node.inputs[0]
    if attributes.text(node, "approximate", "none") == "none":
        share = f("Add", f("Erf", f("Mul", x, 1 / math.sqrt(2))), 1.0)
        return f("Mul", f("Mul", x, 0.5), share)
    slope = 2 * math.sqrt(2 / math.pi)
    bent = f("Add", f("Mul", f("Mul", x, x), 0.044715 * slope), slope)
    return f("Mul", x, f("Sigmoid", f("Mul", x, bent)))


def _mish(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    del chosen
    return f("Mul", node.inputs[0], f("Tanh", f("Softplus", node.inputs[0])))


def _swish(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    del chosen
    x, alpha = node.inputs[0], attributes.decimal(node, "alpha", 1.0)
    return f("Mul", x, f("Sigmoid", x if alpha == 1 else f("Mul", x, alpha)))


def _softsign(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    del chosen
    return f("Div", node.inputs[0], f("Add", f("Abs", node.inputs[0]), 1.0))


def _selu(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    del chosen
    alpha = attributes.decimal(node, "alpha", 1.67326319217681884765625)
    gamma = attributes.decimal(node, "gamma", 1.05070102214813232421875)
    return f("Mul", f("Elu", node.inputs[0], alpha=alpha), gamma)


def _celu(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    del chosen
    x, alpha = node.inputs[0], attributes.decimal(node, "alpha", 1.0)
    if alpha == 1:
        return f("Elu", x, alpha=1.0)
    return f("Mul", f("Elu", f("Mul", x, 1 / alpha), alpha=1.0), alpha)


def _thresholded_relu(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    del chosen
    x, alpha = node.inputs[0], attributes.decimal(node, "alpha", 1.0)
    return f("Relu", x) if alpha == 0 else f("Mul", x, _above(f, x, alpha))


def _shrink(f: Formula, node: ir.Node, chosen: tuple[str, ...]) -> ir.Value:
    del chosen
    x, threshold = node.inputs[0], attributes.decimal(node, "lambd", 0.5)
    if attributes.decimal(node, "bias", 0.0) == 0:
        return f("Mul", x, _above(f, f("Abs", x), threshold))
    return f("Sub", x, f("Clip", x, -threshold, threshold))


def _above(f: Formula, x: ir.Value | None, threshold: float) -> ir.Value:
    """1 where `x` is greater than `threshold`, 0 elsewhere."""
    return f("Cast", f("Greater", x, threshold, kind=ir.DataType.BOOL), to=int(ir.DataType.FLOAT))


_FORMULAS: dict[str, Callable[[Formula, ir.Node, tuple[str, ...]], ir.Value]] = {
    "Celu": _celu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Mish": _mish,
    "Selu": _selu,
    "Shrink": _shrink,
    "Softsign": _softsign,
    "Swish": _swish,
    "ThresholdedRelu": _thresholded_relu,
}
PASS = DecomposeActivations
