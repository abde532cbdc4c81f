"""Recognise a node that multiplies and shifts each channel by constants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import constants, walk

Doubles = npt.NDArray[np.float64]


def affine(node: ir.Node, data: ir.Value, channels: int, *, rank: int) -> tuple[Doubles, Doubles] | None:
    """`node`, an Add, Sub, Mul or Div with a constant, as ``scale * data + shift`` per channel.

    Args:
        node: any node that reads `data`.
        data: a tensor of `rank` axes whose axis 1 has `channels` entries.
        channels: size of that axis.
        rank: number of axes of `data`.

    Returns:
        scale and shift, each (channels,), the scale not finite for a division by zero; None when the node is something
        else.
    """
    if not walk.is_op(node, "Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    first = node.inputs[0] is data
    constant = constants.per_channel(node.inputs[1 if first else 0], channels, rank)
    if constant is None:
        return None
    ones, zeros = np.ones(channels), np.zeros(channels)
    if node.op_type == "Add":
        return ones, constant
    if node.op_type == "Sub":
        return (ones, -constant) if first else (-ones, constant)
    if node.op_type == "Mul":
        return constant, zeros
    if not first:
        return None  # constant / x bends
    with np.errstate(divide="ignore"):
        return 1 / constant, zeros


def batch_norm(node: ir.Node, channels: int) -> tuple[Doubles, Doubles] | str:
    """A BatchNormalization as ``scale * data + shift`` per channel, or why it is not that.

    scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale (ONNX operator reference, inference mode).
    """
    if _training(node):
        return "it is in training mode"
    found = [constants.array(value) for value in node.inputs[1:5]]
    if len(found) != 4 or any(array is None or array.shape != (channels,) for array in found):
        return "its parameters are not constants, one a channel"
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in found)
    epsilon = node.attributes.get("epsilon")
    spread = variance + (1e-5 if epsilon is None else epsilon.as_float())
    if not (spread > 0).all():
        return "its variance is not positive"
    scale = gamma / np.sqrt(spread)
    return scale, beta - mean * scale


def _training(node: ir.Node) -> bool:
    mode = node.attributes.get("training_mode")
    return (mode is not None and mode.as_int() != 0) or any(value.uses() for value in node.outputs[1:])
