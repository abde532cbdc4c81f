"""Remove a Relu next to a Clip that already cuts below zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import onnx_ir as ir

from workbench.graph import splice, walk
from workbench.surgery import _clip
from workbench.surgery._pass import Edits, Pass, control_flow


@dataclass(frozen=True, kw_only=True)
class MergeReluAfterClip(Pass):
    """Remove a Relu beside a Clip whose minimum is 0 or more: the Clip does its work.

    1. Clip(a, b) then Relu, 0 <= a and 0 <= b: all that comes out of the Clip is at least 0. Readers of the Relu read
       the Clip.
    2. Relu then Clip(a, b), 0 <= a: max(max(x, 0), a) = max(x, a). The Clip reads what the Relu read. The Relu goes
       when nothing else reads it.
    3. A graph output keeps its name. TensorFlow's ReLU6 arrives as such pairs.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """One Relu after a Clip and one before."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        relu6 (float[1,2,3,3] x) => (float[1,2,3,3] y) <float zero = {0.0}, float six = {6.0}> {
            clipped = Clip(x, zero, six)
            positive = Relu(clipped)
            shifted = Neg(positive)
            relu = Relu(shifted)
            y = Clip(relu, zero, six)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit the graph in order, so that a chain of them collapses in one run."""
        changed: list[str] = []
        left = list(control_flow(model))
        renamed: dict[str, str] = {}
        for node in walk.nodes(model.graph, "Relu", "Clip"):
            if node.graph is None:
                continue  # a Relu that rule 2 removed
            if node.op_type == "Relu":
                _after(node, changed, left, renamed)
            else:
                _before(node, changed, left)
        return Edits(changed=tuple(changed), left=tuple(left), renamed=renamed)


def _after(relu: ir.Node, changed: list[str], left: list[str], renamed: dict[str, str]) -> None:
    """Rule 1."""
    clip = walk.producer(relu.inputs[0], "Clip")
    if clip is None:
        return
    if not _clip.never_negative(clip):
        left.append(f"{walk.label(relu)}: {walk.label(clip)} has no constant bounds of 0 or more")
        return
    reason = splice.bypass(clip.outputs[0], relu.outputs[0], renamed)
    if reason is not None:
        left.append(f"{walk.label(relu)}: {reason}")
        return
    line = f"{walk.label(relu)}: removed, {walk.label(clip)} leaves nothing below zero"
    splice.remove(relu)
    changed.append(line)


def _before(clip: ir.Node, changed: list[str], left: list[str]) -> None:
    """Rule 2, as often as it applies."""
    while (relu := walk.producer(clip.inputs[0], "Relu")) is not None:
        if not _clip.raises_to_zero(clip):
            left.append(f"{walk.label(relu)}: {walk.label(clip)} has no constant minimum of 0 or more")
            return
        if walk.only_consumer(relu.outputs[0]) is not clip:
            left.append(f"{walk.label(relu)}: {walk.readers(relu.outputs[0])} read it")
            return
        line = f"{walk.label(relu)}: removed, {walk.label(clip)} cuts below zero itself"
        clip.replace_input_with(0, relu.inputs[0])
        splice.remove(relu)
        changed.append(line)


PASS = MergeReluAfterClip
