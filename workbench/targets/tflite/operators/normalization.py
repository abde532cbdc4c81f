"""Normalizations by the mean and the variance of the numbers themselves."""

from __future__ import annotations

from typing import Any

from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Array, Value


def instance_normalization(call: Call) -> Value:
    """Every channel of every picture by its own mean and variance."""
    value = call.value(0)
    rank = len(value.shape)
    if rank < 3:
        raise call.refuse(f"an input of rank {rank} has nothing to normalize over")
    axes = [1, 2] if value.picture else list(range(2, rank))
    shape = [-1] if value.picture else [1, -1, *[1] * (rank - 2)]
    scale, bias = (call.constant(index, what).reshape(shape) for index, what in ((1, "scale"), (2, "bias")))
    made = _normal(call, call.tensor(0), axes, call.number("epsilon", 1e-5))
    return Value(made * scale + bias, value.picture)


def layer_normalization(call: Call) -> Value:
    """The last axes by their mean and variance, in ONNX's order of dimensions.

    Raises:
        UnsupportedError: the mean or the deviation is an output.
    """
    if len(call.node.outputs) > 1 and any(value.name for value in call.node.outputs[1:]):
        raise call.refuse("the mean and the deviation as outputs are not covered")
    call.ignore("stash_type")
    tensor: Any = call.plain(0)
    rank = len(tensor.shape)
    axis = call.integer("axis", -1)
    if not -rank <= axis < rank:
        raise call.refuse(f"axis {axis} of a tensor of rank {rank}")
    made = _normal(call, tensor, list(range(axis % rank, rank)), call.number("epsilon", 1e-5))
    made = made * call.constant(1, "scale")
    bias: Array | None = call.optional_constant(2, "bias")
    return Value(made if bias is None else made + bias)


def _normal(call: Call, tensor: Any, axes: list[int], epsilon: float) -> Any:
    """`tensor` with mean 0 and variance 1 over `axes`."""
    tf = call.tf
    centred = tensor - tf.reduce_mean(tensor, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axes, keepdims=True)
    return centred * tf.math.rsqrt(variance + epsilon)


OPERATORS = {"InstanceNormalization": instance_normalization, "LayerNormalization": layer_normalization}
