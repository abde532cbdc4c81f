"""Tensors on their way into a TensorFlow graph: pictures are stored NHWC, everything else as ONNX says.

ONNX pictures are NCHW and TensorFlow Lite's are NHWC. Every rank 4 activation is kept as a *picture*, stored NHWC while
ONNX calls it NCHW; everything else is *plain*. An operator asks for what it needs, and a value is moved only when it
must be: by a Reshape when no two dimensions larger than one change places, else by a Transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: a TensorFlow tensor, or a numpy array when it is constant.

    Attributes:
        data: stored NHWC when `picture`, else in ONNX's order of dimensions. Constants are never pictures.
        picture: rank 4, stored NHWC.
        nonnegative: known to hold nothing below zero, so that zeros pad a maximum and a Relu does nothing.
    """

    data: Any
    picture: bool = False
    nonnegative: bool = False

    @property
    def constant(self) -> bool:
        """Whether the value is known now."""
        return isinstance(self.data, np.ndarray)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in ONNX's order of dimensions."""
        stored = tuple(int(size) for size in self.data.shape)
        return tuple(stored[axis] for axis in TO_NCHW) if self.picture else stored

    @property
    def never_negative(self) -> bool:
        """As `nonnegative`; a constant is looked at."""
        return bool(np.all(self.data >= 0)) if self.constant else self.nonnegative


def as_picture(tf: Any, value: Value) -> Any:
    """`value`, of rank 4 at most, as an NHWC tensor of rank 4."""
    if value.picture:
        return value.data
    if value.constant:
        return tf.constant(constant_nhwc(value.data))
    tensor = value.data
    if len(tensor.shape) < 4:
        tensor = tf.reshape(tensor, [1] * (4 - len(tensor.shape)) + list(tensor.shape))
    return permute(tf, tensor, TO_NHWC)


def as_plain(tf: Any, value: Value) -> Any:
    """`value` as a tensor in ONNX's order of dimensions."""
    if value.picture:
        return permute(tf, value.data, TO_NCHW)
    return tf.constant(value.data) if value.constant else value.data


def aligned(tf: Any, values: Sequence[Value]) -> tuple[list[Any], bool]:
    """`values` in one layout, ready to be broadcast against each other, and whether that is NHWC."""
    if any(value.picture for value in values) and all(len(value.shape) <= 4 for value in values):
        return [_without_leading_ones(tf, value) for value in values], True
    return [as_plain(tf, value) for value in values], False


def permute(tf: Any, tensor: Any, order: Sequence[int]) -> Any:
    """`tensor` with its dimensions in `order`; a Reshape when only dimensions of size one move."""
    if list(order) == sorted(order):
        return tensor
    sizes = [int(size) for size in tensor.shape]
    moving = [axis for axis in order if sizes[axis] != 1]
    if moving == sorted(moving):
        return tf.reshape(tensor, [sizes[axis] for axis in order])
    return tf.transpose(tensor, list(order))


def constant_nhwc(array: Array) -> Array:
    """A constant of rank 4 at most as rank 4, NHWC."""
    full = array.reshape((1,) * (4 - array.ndim) + array.shape)
    return np.ascontiguousarray(full.transpose(TO_NHWC))


def _without_leading_ones(tf: Any, value: Value) -> Any:
    """As `as_picture`; the converter fuses an addend into a convolution only when it has one dimension or none."""
    if not value.constant:
        return as_picture(tf, value)
    array = constant_nhwc(value.data)
    lead = next((axis for axis, size in enumerate(array.shape) if size != 1), array.ndim)
    return tf.constant(array.reshape(array.shape[lead:]))
