"""Pools over windows and over the whole picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.targets.tflite import windows
from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Value

_LOWEST = float(np.finfo(np.float32).min)


def max_pool(call: Call) -> Value:
    """MAX_POOL_2D; padding that TensorFlow's SAME does not give is a Pad with zeros, or with the lowest number."""
    if len(call.node.outputs) > 1:
        raise call.refuse("its second output, the indices, is not covered")
    call.ignore("storage_order")
    source = call.value(0)
    picture, place = _read(call)
    picture, padding = windows.pad(call, picture, place, 0.0 if source.nonnegative else _LOWEST)
    made = call.tf.nn.max_pool2d(picture, place.kernel, place.strides, padding)
    return Value(made, picture=True, nonnegative=source.nonnegative)


def average_pool(call: Call) -> Value:
    """AVERAGE_POOL_2D, which leaves padding out of the mean; a constant factor or a Pad where ONNX asks for more."""
    include = bool(call.integer("count_include_pad"))
    source = call.value(0)
    picture, place = _read(call)
    if include and any(axis.end > end for axis, end in zip(place.axes, place.declared_end, strict=True)):
        raise call.refuse("ceil_mode with count_include_pad is not covered", "set one of them to 0")
    if place.valid or (place.same and not include):
        made = call.tf.nn.avg_pool2d(picture, place.kernel, place.strides, "VALID" if place.valid else "SAME")
        return Value(made, picture=True, nonnegative=source.nonnegative)
    made = call.tf.nn.avg_pool2d(call.tf.pad(picture, place.pads), place.kernel, place.strides, "VALID")
    if not include:
        made = made * _share(place)
    return Value(made, picture=True, nonnegative=source.nonnegative)


def global_average(call: Call) -> Value:
    """MEAN over rows and columns."""
    return Value(call.tf.reduce_mean(call.picture(0), [1, 2], keepdims=True), True, call.value(0).nonnegative)


def global_max(call: Call) -> Value:
    """REDUCE_MAX over rows and columns."""
    return Value(call.tf.reduce_max(call.picture(0), [1, 2], keepdims=True), True, call.value(0).nonnegative)


def _read(call: Call) -> tuple[Any, windows.Windows]:
    picture = call.picture(0)
    kernel = call.integers("kernel_shape")
    if kernel is None or len(kernel) != 2 or min(kernel) < 1:
        raise call.refuse(f"kernel_shape = {kernel} is not two numbers above zero")
    place = windows.read(call, [int(size) for size in picture.shape[1:3]], kernel)
    if place.dilations != (1, 1):
        raise call.refuse(f"attribute dilations = {list(place.dilations)} is not covered")
    return picture, place


def _share(place: windows.Windows) -> Any:
    """Cells of a window divided by those inside the picture, for every window: shape 1 x rows x columns x 1."""
    factors = []
    for axis in place.axes:
        first = np.arange(axis.out) * axis.stride - axis.begin
        inside = np.minimum(first + axis.reach, axis.size) - np.maximum(first, 0)
        factors.append((axis.reach / inside).astype(np.float32))
    return np.outer(*factors)[None, :, :, None]


OPERATORS = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
    "MaxPool": max_pool,
}
