"""Conv, ConvTranspose and BatchNormalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.targets.tflite import windows
from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Array, Value


def conv(call: Call) -> Value:
    """A convolution: CONV_2D, or DEPTHWISE_CONV_2D when every channel has its own filters."""
    picture = call.picture(0)
    _, height, width, channels = (int(size) for size in picture.shape)
    weights = _weights(call)
    group = call.integer("group", 1)
    if group < 1 or weights.shape[1] * group != channels or weights.shape[0] % group:
        raise call.refuse(f"weights {list(weights.shape)} in {group} groups do not fit {channels} channels")
    place = windows.read(call, (height, width), weights.shape[2:])
    picture, padding = windows.pad(call, picture, place)
    strides, dilations = [1, *place.strides, 1], [1, *place.dilations, 1]
    if group == channels and group > 1:
        filters = weights.reshape(channels, -1, *place.kernel).transpose(2, 3, 0, 1)
        # raw: tf.nn.depthwise_conv2d writes a dilation as SpaceToBatch around the convolution
        made = call.tf.raw_ops.DepthwiseConv2dNative(
            input=picture, filter=_contiguous(filters), strides=strides, padding=padding, dilations=dilations
        )
    else:
        filters = weights.transpose(2, 3, 1, 0)
        made = call.tf.raw_ops.Conv2D(
            input=picture, filter=_contiguous(filters), strides=strides, padding=padding, dilations=dilations
        )
    return Value(_biased(call, made), picture=True)


def conv_transpose(call: Call) -> Value:
    """A transposed convolution of one group: TRANSPOSE_CONV, cropped when TensorFlow's SAME is not what ONNX asks."""
    picture = call.picture(0)
    batch, height, width, channels = (int(size) for size in picture.shape)
    weights = _weights(call)
    if (group := call.integer("group", 1)) != 1:
        raise call.refuse(f"attribute group = {group} is not covered", "use group 1, or Resize and a Conv instead")
    if weights.shape[0] != channels:
        raise call.refuse(f"weights {list(weights.shape)} do not fit {channels} channels")
    if call.text("auto_pad", "NOTSET") != "NOTSET" or call.integers("output_shape") is not None:
        raise call.refuse("auto_pad and output_shape are not covered", "write the padding as pads and output_padding")
    weights = _dilated(weights, call.integers("dilations") or [1, 1])
    strides = call.integers("strides") or [1, 1]
    pads = call.integers("pads") or [0, 0, 0, 0]
    extra = call.integers("output_padding") or [0, 0]
    begin, end = pads[:2], [pads[axis + 2] - extra[axis] for axis in (0, 1)]
    full = [(size - 1) * strides[axis] + weights.shape[2 + axis] for axis, size in enumerate((height, width))]
    wanted = [full[axis] - begin[axis] - end[axis] for axis in (0, 1)]
    if min(end) < 0 or min(wanted) < 1:
        raise call.refuse(f"pads = {pads} with output_padding = {extra} are not covered")
    same = all(
        wanted[axis] == size * strides[axis] and begin[axis] == max(weights.shape[2 + axis] - strides[axis], 0) // 2
        for axis, size in enumerate((height, width))
    )
    made = call.tf.nn.conv2d_transpose(
        picture,
        _contiguous(weights.transpose(2, 3, 1, 0)),
        output_shape=[batch, *(wanted if same else full), weights.shape[1]],
        strides=strides,
        padding="SAME" if same else "VALID",
    )
    made = _biased(call, made)
    if not same and wanted != full:
        made = made[:, begin[0] : begin[0] + wanted[0], begin[1] : begin[1] + wanted[1], :]
    return Value(made, picture=True)


def batch_normalization(call: Call) -> Value:
    """Mul and Add of one number a channel, which the converter folds into a convolution before them."""
    value = call.value(0)
    scale, offset, mean, variance = (
        call.constant(index, what).astype(np.float64)
        for index, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    call.ignore("momentum")
    if call.integer("training_mode"):
        raise call.refuse("attribute training_mode = 1 is not covered", "export the network in evaluation mode")
    factor = scale / np.sqrt(variance + call.number("epsilon", 1e-5))
    addend = offset - mean * factor
    shape = [-1] if value.picture else [1, -1, *[1] * (len(value.shape) - 2)]
    made = call.tensor(0) * factor.astype(np.float32).reshape(shape)
    return Value(made + addend.astype(np.float32).reshape(shape), value.picture)


def _weights(call: Call) -> Array:
    weights = call.constant(1, "weight tensor")
    if weights.ndim != 4:
        raise call.refuse(f"weights {list(weights.shape)} are not those of a two-dimensional convolution")
    if call.integers("kernel_shape") not in (None, list(weights.shape[2:])):
        raise call.refuse(f"kernel_shape contradicts the weights {list(weights.shape)}")
    return weights


def _biased(call: Call, tensor: Any) -> Any:
    bias = call.optional_constant(2, "bias")
    return tensor if bias is None else call.tf.nn.bias_add(tensor, bias)


def _dilated(weights: Array, dilations: list[int]) -> Array:
    """`weights` with zeros between their cells: TensorFlow's transposed convolution knows no dilation."""
    if dilations == [1, 1]:
        return weights
    size = [(count - 1) * step + 1 for count, step in zip(weights.shape[2:], dilations, strict=True)]
    wide = np.zeros((*weights.shape[:2], *size), weights.dtype)
    wide[:, :, :: dilations[0], :: dilations[1]] = weights
    return wide


def _contiguous(array: Array) -> Array:
    return np.ascontiguousarray(array)


OPERATORS = {"BatchNormalization": batch_normalization, "Conv": conv, "ConvTranspose": conv_transpose}
