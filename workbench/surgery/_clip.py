"""What a Clip lets through."""

from __future__ import annotations

import onnx_ir as ir

from workbench.graph import constants


def never_negative(clip: ir.Node) -> bool:
    """Whether all that comes out of `clip` is at least 0, whatever goes in.

    ONNX's Clip is min(max(x, low), high), so with crossed bounds the upper one wins, be it below zero.
    """
    if not raises_to_zero(clip):
        return False
    if len(clip.inputs) < 3 or clip.inputs[2] is None:
        return True
    high = constants.scalar(clip.inputs[2])
    return high is not None and high >= 0


def raises_to_zero(clip: ir.Node) -> bool:
    """Whether `clip` has a constant minimum of 0 or more, so that it treats all negative numbers like 0."""
    low = constants.scalar(clip.inputs[1]) if len(clip.inputs) > 1 else None
    return low is not None and low >= 0
