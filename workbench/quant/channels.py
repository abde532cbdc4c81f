"""Which channels of a network have to share one factor when tensors are rescaled, and which must keep their scale.

Every operator here is one of three kinds. Homogeneous ones pass positive factors on: f(s * x) = s * f(x) for one s a
channel (Relu, pooling, a sum when all operands have the same s) or one s for the whole tensor (a Clip, whose bounds
move with it, or a Reshape that mixes channels). Operators with constant weights end the reach of a factor: the weights
for an input channel are divided by its factor, those of an output channel multiplied. All others pin what they touch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import walk
from workbench.quant.activations import activations
from workbench.quant.channel_groups import Groups, Ids
from workbench.quant.channel_rules import RULES

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spaces:
    """The groups of channels of one network; channels with the same number share one factor.

    Args:
        ids: by activation in graph order, the group of each channel, shape (channels,): the entries of axis 1, or 1
            for a tensor with fewer than two axes.
        pinned: by group that must keep its scale, the reason.
    """

    ids: Mapping[str, Ids]
    pinned: Mapping[int, str]

    def factors(self, name: str, chosen: Mapping[int, float]) -> Doubles:
        """The factor of each channel of the activation `name`, when `chosen` holds those of groups, 1 elsewhere."""
        return np.array([chosen.get(group, 1.0) for group in self.ids[name].tolist()], np.float64)


def spaces(model: ir.Model) -> Spaces:
    """The groups of channels of `model`, whose inferred types and shapes are written into it.

    Raises:
        UnsupportedError: as `activations`.
    """
    groups = Groups(activations(model))
    for given in model.graph.inputs:
        groups.pin(given, f"'{given.name}' is a graph input")
    for node in model.graph:
        if walk.is_op(node, "Constant"):
            continue
        rule = RULES.get(node.op_type) if walk.is_op(node) else None
        reason = "no factor passes through it" if rule is None else rule(groups, node)
        if reason is not None:
            for value in (*node.inputs, *node.outputs):
                groups.pin(value, f"{walk.label(node)}: {reason}")
    for output in model.graph.outputs:
        groups.pin(output, f"'{output.name}' is a graph output")
    return Spaces(*groups.result())
