"""Spell local response normalization out: squares, a convolution that sums neighbours, a power and a division."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.surgery import _powers
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow

_WIDEST = 4096  # channels; the constant has a number for each pair of them


@dataclass(frozen=True, kw_only=True)
class DecomposeLrn(Pass):
    """Write LRN as x / (bias + alpha / size * sum of squares over neighbouring channels) ** beta.

    1. The squares are Mul(x, x). Their sum over the channels c - floor((size - 1) / 2) to c + ceil((size - 1) / 2), as
       the ONNX operator reference has it, is a 1x1 Conv with a constant band of alpha / size; its bias is LRN's. What
       lies outside of the channels counts as zero, so the band is simply cut off there.
    2. The power is written out as expand_pow does it (0.75, the usual one, is Sqrt(s) * Sqrt(Sqrt(s))); of another
       beta it is a Pow by a scalar.
    3. The sum has the same terms in another order, and each step rounds once. A channel sees no more than its window,
       so zeros of the band only add zeros; an infinite channel would make them NaN.
    4. Left alone: an input that is not float32, has not 3 to 5 axes, or whose number of channels is not known or more
       than 4096.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Three channels and a window of three."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        lateral (float[1,3,2,2] x) => (float[1,3,2,2] y) {
            y = LRN<size = 3, alpha = 0.5, bias = 2.0>(x)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every LRN."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "LRN"):
            x = node.inputs[0]
            channels = known.not_float(x) or _refuses(node) or _channels(known.dims(x))
            if x is None or isinstance(channels, str):
                left.append(f"{walk.label(node)}: {channels}")
                continue
            label, formula = walk.label(node), Formula(model.graph, node)
            _spell_out(formula, node, x, channels, len(known.dims(x) or ()))
            changed.append(f"{label}: spelled out as {formula.finish()}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _refuses(node: ir.Node) -> str | None:
    size = attributes.integer(node, "size", 1)
    return None if size > 0 else f"its window has {size} channels"


def _channels(dims: tuple[int | str | None, ...] | None) -> int | str:
    """How many channels are normalized, or why that cannot be done by a convolution."""
    if dims is None or len(dims) < 2:
        return "the shape of its input is not known"
    if not 3 <= len(dims) <= 5:
        return f"a convolution takes no tensor of {len(dims)} axes"
    if not isinstance(dims[1], int):
        return "the number of its channels is not static"
    if dims[1] > _WIDEST:
        return f"a band over {dims[1]} channels would be a constant of {dims[1] ** 2 // 2**18} MiB"
    return dims[1]


def _spell_out(f: Formula, node: ir.Node, x: ir.Value, channels: int, rank: int) -> ir.Value:
    size = attributes.integer(node, "size", 1)
    share = attributes.decimal(node, "alpha", 1e-4) / size
    bias = np.full(channels, attributes.decimal(node, "bias", 1.0), np.float32)
    axes = rank - 2
    band: constants.Array = _band(channels, size).astype(np.float32) * np.float32(share)
    base = f(
        "Conv",
        f("Mul", x, x),
        f.constant(band.reshape(channels, channels, *(1,) * axes), "band"),
        f.constant(bias, "bias"),
        auto_pad="NOTSET",
        dilations=(1,) * axes,
        group=1,
        kernel_shape=(1,) * axes,
        pads=(0,) * (2 * axes),
        strides=(1,) * axes,
    )
    beta = attributes.decimal(node, "beta", 0.75)
    spread = _powers.power(f, base, beta) if _powers.is_short(beta) else f("Pow", base, beta)
    return f("Div", x, spread)


def _band(channels: int, size: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Row c is true at the channels that c is normalized with."""
    apart = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    window: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = (apart >= -((size - 1) // 2)) & (apart <= size // 2)
    return window


PASS = DecomposeLrn
