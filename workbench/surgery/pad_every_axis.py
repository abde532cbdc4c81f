"""Write the amounts of every Pad for all axes, for compilers that do not read its list of axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import constants, walk
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow


@dataclass(frozen=True, kw_only=True)
class PadEveryAxis(Pass):
    """Drop the `axes` of Pad: the axes that it does not name are padded by 0.

    1. Left alone: amounts or axes that are computed at run time, and an input whose number of axes is not known.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """A column at the right of a picture."""
        text = """<ir_version: 8, opset_import: ["": 18]>
        right (float[1,1,2,2] x) => (float[1,1,2,3] y) <int64[2] amounts = {0, 1}, int64[1] last = {-1}> {
            y = Pad(x, amounts, , last)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every Pad that names its axes."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "Pad"):
            if len(node.inputs) < 4 or node.inputs[3] is None:
                continue
            amounts, axes = constants.array(node.inputs[1]), constants.array(node.inputs[3])
            dims = known.dims(node.inputs[0])
            if amounts is None or axes is None or dims is None:
                left.append(f"{walk.label(node)}: its amounts, its axes or their number are not known before it runs")
                continue
            spread = np.zeros((2, len(dims)), np.int64)
            spread[:, axes.reshape(-1).astype(np.int64) % len(dims)] = amounts.reshape(2, -1)
            constants.put(model.graph, node, 1, spread.reshape(-1), f"{node.outputs[0].name}_pads")
            named = node.inputs[3]
            node.replace_input_with(3, None)
            node.resize_inputs(3 if node.inputs[2] is not None else 2)
            constants.drop_unused(named)
            changed.append(f"{walk.label(node)}: pads {spread.reshape(-1).tolist()} for all {len(dims)} axes")
        return Edits(changed=tuple(changed), left=tuple(left))


PASS = PadEveryAxis
