"""The numeric scheme of the chip: grids of integers, and which operators share or need none.

Facts: activations U8 (or U16) per tensor, asymmetric, scale ``(max - min) / 255``; weights S8 per output channel,
symmetric; bias S32 with scale ``input * weight``; the inputs of a MatMul have zero point 0; operators that only move
values keep their neighbours' parameters; a convolution and its Relu or Clip are one operator. They were read off real
quantized models, and emulation of them finds range and weight problems, not the rounding details of the chip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import attributes
from workbench.quant.ranges import Range

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer]

# The smallest scale: float32 loses precision below it, and flush-to-zero would make it 0, by which kernels divide.
_TINY = float(np.finfo(np.float32).tiny)
# A bias beyond this leaves too little of the 32-bit accumulator to the products: 255 * 127 * 33,000 fit beside it, or
# 65535 * 127 * 129 when the input has 16 bits. Longer sums of 16 bits fit as long as weights and inputs are not all
# extreme: CPM's largest possible sum, every input at its worst, takes 29.4 bits (21.4 with inputs of 8). See
# `sum_bits`, and the layers that `cost` lists.
_BIAS_LIMIT = 2**30
# A dead channel is only its bias; this many steps keep it far below the rounding of any 16-bit output.
_DEAD_STEPS = 2**20

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose input 1, when constant, is a weight: signed, per output channel."""

FUSED_BEHIND = frozenset({"Conv", "ConvTranspose", "Gemm"})
"""Operators that take a Relu or Clip into themselves, so that no grid stands between."""

FUSED = frozenset({"Relu", "Clip"})
"""Activations taken into the operator before them."""

ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Concat", "MatMul"})
"""Operators whose constant operands are quantized like activations; a constant elsewhere is a parameter."""

_MOVING = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "MaxPool",
        "Pad",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)


@dataclass(frozen=True)
class Grid:
    """One set of parameters for a whole tensor: ``real = scale * (integer - zero_point)``.

    Args:
        scale: a positive float32 value.
        zero_point: the integer that stands for 0.
        bits: 8 or 16.
        signed: whether the integers are symmetric around 0 (then `zero_point` is 0 and the lowest integer unused).
    """

    scale: float
    zero_point: int
    bits: int = 8
    signed: bool = False

    @property
    def lowest(self) -> int:
        """The smallest integer in use."""
        return 1 - (1 << (self.bits - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """The largest integer in use."""
        return (1 << (self.bits - 1 if self.signed else self.bits)) - 1

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """The integers' numpy type."""
        return np.dtype(f"{'' if self.signed else 'u'}int{self.bits}")

    def quantize(self, values: Floats) -> Integers:
        """The nearest integers, halves to even as QuantizeLinear has it, saturated."""
        steps = np.rint(np.asarray(values, np.float32) / np.float32(self.scale)) + self.zero_point
        return _integers(np.clip(steps, self.lowest, self.highest), self.dtype)

    def dequantize(self, integers: Integers) -> Floats:
        """The float32 values that the integers stand for."""
        return (np.asarray(integers, np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


def activation_grid(span: Range, *, bits: int = 8, symmetric: bool = False) -> Grid:
    """The grid that holds `span` and 0, with 0 exactly on it.

    A span of nothing but 0 gets scale 1; one too narrow for float32 the narrowest scale there is.

    Args:
        span: the values to hold.
        bits: 8 or 16.
        symmetric: signed integers with zero point 0, as the inputs of a MatMul need.
    """
    low, high = min(span.low, 0.0), max(span.high, 0.0)
    if symmetric:
        return Grid(_scale(max(-low, high), 2 ** (bits - 1) - 1), 0, bits, signed=True)
    steps = 2**bits - 1
    scale = _scale(high - low, steps)
    # Not -low / scale: the float32 rounding of the scale must not decide where the middle of -1..1 falls.
    zero = steps * (-low / (high - low)) if scale > _TINY and high > low else -low / scale
    return Grid(scale, int(np.clip(np.rint(zero), 0, steps)), bits)


def weight_scales(
    weights: Floats, axis: int, *, input_scale: float, bias: Floats | None = None, bits: int = 8
) -> npt.NDArray[np.float32]:
    """One scale an output channel, ``max |w| / 127``, raised where the 32-bit bias would not fit.

    At 16 bits the input's steps, and so the bias's, are 257 times finer: a channel gives way to its bias when its
    largest weight is below ``|bias| * 127 / 2^30`` steps of the input, 0.13 % of the bias for inputs up to 6. Its
    weights then have fewer levels, whose error stays below 3e-5 of the bias for each weight.

    Args:
        weights: any shape; `axis` counts the output channels (within a group, for ConvTranspose).
        axis: the axis of the result.
        input_scale: scale of the activation these weights meet; the bias has steps of ``input_scale * scale``.
        bias: its values, shape (k * channels,) for k groups, or None.
        bits: bits of the weights.

    Returns:
        shape (channels,), all positive.
    """
    channels = weights.shape[axis]
    rows = np.moveaxis(np.asarray(weights, np.float64), axis, 0).reshape(channels, -1)
    peaks = np.abs(rows).max(axis=1, initial=0.0)
    scales = peaks / (2 ** (bits - 1) - 1)
    offsets = np.zeros(channels) if bias is None else np.abs(bias.astype(np.float64)).reshape(-1, channels).max(axis=0)
    live = peaks > 0
    # A dead channel has no scale of its own; the one it gets serves its bias alone.
    alone = np.where(offsets > 0, offsets / (input_scale * _DEAD_STEPS), 1.0)
    scales = np.where(live, np.maximum(scales, offsets / (input_scale * _BIAS_LIMIT)), alone)
    # Both the scale and the bias step have to be numbers that float32 holds.
    return np.maximum(scales, max(_TINY, 2 * _TINY / input_scale)).astype(np.float32)


def quantize_weights(weights: Floats, scales: Floats, axis: int, *, bits: int = 8) -> Integers:
    """`weights` in steps of their channel's scale, halves to even, within ``+-(2^(bits-1) - 1)``; shape as given."""
    limit = 2 ** (bits - 1) - 1
    steps = np.rint(np.asarray(weights, np.float32) / along(scales, axis, weights.ndim))
    return _integers(np.clip(steps, -limit, limit), np.dtype(f"int{bits}"))


def quantize_bias(bias: Floats, scales: Floats) -> npt.NDArray[np.int32]:
    """`bias` in steps of `scales`, both of shape (channels,)."""
    steps = np.rint(bias.astype(np.float64) / scales.astype(np.float64))
    return np.clip(steps, 1 - 2**31, 2**31 - 1).astype(np.int32)


def sum_bits(integers: Integers, axis: int, grid: Grid, bias: npt.NDArray[np.int32] | None = None) -> float:
    """Bits of a signed accumulator that no input can overflow: the largest possible sum of any output channel.

    Args:
        integers: quantized weights; `axis` counts the output channels.
        axis: of `integers`.
        grid: of the input.
        bias: in steps of the products, shape (k * channels,) for k groups.

    Returns:
        e.g. 32.0 for a sum of up to 2^31; not above 32 means that a 32-bit accumulator is enough whatever comes.
    """
    channels = integers.shape[axis]
    rows = np.moveaxis(integers.astype(np.float64), axis, 0).reshape(channels, -1)
    farthest = max(grid.highest - grid.zero_point, grid.zero_point - grid.lowest)
    sums = np.abs(rows).sum(axis=1) * farthest
    if bias is not None:
        sums = sums + np.abs(bias.astype(np.float64)).reshape(-1, channels).max(axis=0)
    return float(np.log2(max(float(sums.max(initial=0.0)), 1.0)) + 1)


def shared_inputs(node: ir.Node) -> tuple[int, ...]:
    """The inputs whose values `node` only moves, so that they and all its outputs have one grid; empty for others."""
    if node.op_type == "Concat":
        return tuple(range(len(node.inputs)))
    if node.op_type in _MOVING:
        return (0,)
    # Nearest neighbours are picked; other modes mix them and have a range of their own.
    if node.op_type == "Resize" and attributes.text(node, "mode", "nearest") == "nearest":
        return (0,)
    return ()


def weight_axis(node: ir.Node, rank: int) -> int:
    """The axis of a weight that counts output channels, for a weight of `rank` axes of a `WEIGHTED` operator."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1  # (inputs, outputs / group, ...): groups share their scales
    if node.op_type == "Gemm":
        return 0 if attributes.integer(node, "transB", 0) else 1
    return rank - 1


def _scale(span: float, steps: int) -> float:
    return float(np.float32(max(span / steps, _TINY))) if span > 0 else 1.0


def _integers(steps: Floats, dtype: np.dtype[np.integer]) -> Integers:
    result: Integers = steps.astype(dtype)
    return result


def along(scales: Floats, axis: int, rank: int) -> npt.NDArray[np.float32]:
    """`scales` in the shape that multiplies them along `axis` of `rank`."""
    shape = [1] * rank
    shape[axis] = -1
    return np.asarray(scales, np.float32).reshape(shape)
