"""Write group normalization as an instance normalization of the groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True, kw_only=True)
class DecomposeGroupNorm(Pass):
    """Write GroupNormalization as Reshape, InstanceNormalization, Reshape, and Mul and Add per channel.

    An instance normalization takes mean and variance over everything behind axis 1, so of a tensor whose axis 1 are the
    groups it is the normalization of each group (ONNX operator reference); mean and variance are summed in the same
    float32.

    1. The groups become axis 1, and the channels of a group become rows: [N, C, H, W] is [N, G, C / G * H, W].
    2. Scale and bias per channel (since operator set 21) are a Mul and an Add, each left out where it does nothing. A
       scale and bias per group (operator set 18) are the instance normalization's own.
    3. Left alone: an input of another type than float32 or of unknown size, and a scale or bias that is computed at run
       time.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Two groups of two channels."""
        text = """<ir_version: 10, opset_import: ["": 21]>
        groups (float[1,4,2,2] x) => (float[1,4,2,2] y) <float[4] s = {1, 2, 3, 4}, float[4] b = {0, 1, 0, -1}> {
            y = GroupNormalization<num_groups = 2>(x, s, b)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every group normalization."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "GroupNormalization"):
            shape = known.static(node.inputs[0])
            scale, bias = (_parameter(node, index) for index in (1, 2))
            reason = known.not_float(node.inputs[0])
            if reason is None and shape is None:
                reason = "the size of its input is not static"
            if reason is None and (scale is None or bias is None):
                reason = "its scale or bias is not a float32 constant"
            groups = attributes.integer(node, "num_groups", 0)
            if reason is None and shape is not None and (len(shape) < 2 or groups < 1 or shape[1] % groups):
                reason = f"{groups} groups do not share the channels of {list(shape)}"
            if reason is None and shape is not None and scale is not None and bias is not None:
                reason = _misfit(len(scale), len(bias), groups, shape[1])
            if reason is not None or shape is None or scale is None or bias is None:
                left.append(f"{walk.label(node)}: {reason}")
                continue
            label, formula = walk.label(node), Formula(model.graph, node)
            _spell_out(formula, node, shape, scale, bias)
            changed.append(f"{label}: spelled out as {formula.finish()}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _parameter(node: ir.Node, index: int) -> Floats | None:
    """Scale or bias, when it is a constant list of float32."""
    found = constants.array(node.inputs[index])
    return found.astype(np.float32) if found is not None and found.dtype == np.float32 and found.ndim == 1 else None


def _misfit(scales: int, biases: int, groups: int, channels: int) -> str | None:
    if scales == biases and scales in (groups, channels):
        return None
    return f"{scales} scales and {biases} biases are neither one for each of {groups} groups nor of {channels} channels"


def _spell_out(f: Formula, node: ir.Node, shape: tuple[int, ...], scale: Floats, bias: Floats) -> ir.Value:
    groups = attributes.integer(node, "num_groups", 0)
    batch, channels, *rest = shape
    rows = channels // groups
    folded = [batch, groups, rows * rest[0], *rest[1:]] if rest else [batch, groups, rows]
    by_group = len(scale) == groups
    own = (scale, bias) if by_group else (np.ones(groups, np.float32), np.zeros(groups, np.float32))
    normal = f(
        "InstanceNormalization",
        f("Reshape", node.inputs[0], f.constant(np.asarray(folded, np.int64), "groups")),
        f.constant(own[0], "scale"),
        f.constant(own[1], "shift"),
        epsilon=attributes.decimal(node, "epsilon", 1e-5),
    )
    made = f("Reshape", normal, f.constant(np.asarray(shape, np.int64), "channels"))
    if by_group:
        return made
    axes = (-1, *(1,) * len(rest))
    if not (scale == 1).all():
        made = f("Mul", made, f.constant(scale.reshape(axes), "scale"))
    if bias.any():
        made = f("Add", made, f.constant(bias.reshape(axes), "shift"))
    return made


PASS = DecomposeGroupNorm
