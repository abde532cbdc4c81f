"""Exchange red and blue in the first convolution, for runtimes that cannot swap them in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import onnx_ir as ir
from pydantic import Field

from workbench.graph import attributes, constants, walk
from workbench.surgery._pass import Edits, Pass, PreprocessChange, control_flow, require_named

_MARK = "workbench.channels_reversed"  # in memory only: a file that is read again is a network like any other


@dataclass(frozen=True, kw_only=True)
class SwapInputChannels(Pass):
    """Reverse the order of the channels that an input takes: RGB becomes BGR, BGR becomes RGB.

    1. Every reader of the input must be a plain convolution with constant weights; their input channels are reversed.
       Normalization between them belongs out of the graph first (lift_normalization), as does a Pad (fold_pad).
    2. The recipe's colour order is exchanged, and per-channel mean and std are reversed with it.
    3. An input is swapped once, however often the pass runs: swapping twice would only undo it.
    """

    inputs: Annotated[
        tuple[str, ...] | None,
        Field(min_length=1, description="only these inputs; all with three channels when left out"),
    ] = None

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """A convolution that weighs red, green and blue differently."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        colours (float[1,3,2,2] image) => (float[1,1,2,2] y) <float[1,3,1,1] w = {0.2, 0.7, 0.1}> {
            y = Conv(image, w)
        }"""
        return cls(), ir.from_onnx_text(text)

    def requires(self, model: ir.Model) -> None:
        """Every named input exists.

        Raises:
            RecipeError: one does not.
        """
        require_named({v.name: v for v in model.graph.inputs if v.name}, self.inputs or (), "inputs", "input")

    def apply(self, model: ir.Model) -> Edits:
        """Visit every input that may be a colour picture."""
        changed = []
        left = list(control_flow(model))
        preprocess = {}
        for value in model.graph.inputs:
            chosen = self.inputs is not None and value.name in self.inputs
            colourful = value.shape is not None and len(value.shape) == 4 and value.shape[1] == 3
            if not value.name or not (chosen or (self.inputs is None and colourful)):
                continue
            reason = _refuses(value) if colourful else "it has no three channels"
            if reason is not None:
                left.append(f"input '{value.name}': {reason}")
                continue
            for node in walk.consumers(value):
                weight = node.inputs[1]
                data = constants.array(weight)
                if weight is None or data is None:
                    raise AssertionError("_refuses lets constant weights through only")
                constants.put(model.graph, node, 1, np.ascontiguousarray(data[:, ::-1]), f"{weight.name}_swapped")
                changed.append(f"{walk.label(node)}: input channels reversed for '{value.name}'")
            value.meta[_MARK] = True
            preprocess[value.name] = PreprocessChange(reverse_channels=True)
        return Edits(changed=tuple(changed), left=tuple(left), preprocess=preprocess)


def _refuses(value: ir.Value) -> str | None:
    """Why the channels of input `value` cannot be reversed; None when they can."""
    if value.meta.get(_MARK):
        return "it is swapped already"
    if value.is_graph_output():
        return "it is an output too"
    readers = walk.consumers(value)
    if not readers:
        return "nothing reads it"
    for node in readers:
        if not walk.is_op(node, "Conv") or node.graph is not value.graph:
            hint = {"Pad": "; run fold_pad first"}.get(node.op_type, "")
            if node.op_type in ("Add", "Sub", "Mul", "Div"):
                hint = "; run lift_normalization first"
            return f"{walk.label(node)} reads it, not a convolution{hint}"
        if attributes.integer(node, "group", 1) != 1:
            return f"{walk.label(node)} is grouped, so its outputs would be reordered"
        if node.inputs[0] is not value or value in node.inputs[1:]:
            return f"{walk.label(node)} reads it as weights"
        if constants.array(node.inputs[1]) is None:
            return f"the weights of {walk.label(node)} are not constant"
    return None


PASS = SwapInputChannels
