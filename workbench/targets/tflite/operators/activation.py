"""Activations: functions of one tensor, element by element, which keep its layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Value, constant_nhwc


def relu(call: Call) -> Value:
    """RELU; nothing when the input is known to hold nothing below zero."""
    value = call.value(0)
    return value if value.nonnegative else _like(call, call.tf.nn.relu, nonnegative=True)


def clip(call: Call) -> Value:
    """RELU6 for 0..6, MINIMUM of RELU for 0..x, MINIMUM and MAXIMUM otherwise."""
    low, high = (call.optional_constant(index, what) for index, what in ((1, "lower bound"), (2, "upper bound")))
    bottom = -np.inf if low is None else float(low.reshape(-1)[0])
    top = np.inf if high is None else float(high.reshape(-1)[0])
    if call.tensor(0).dtype != call.tf.float32:
        raise call.refuse(f"{call.tensor(0).dtype.name} is not covered")

    def limited(x: Any) -> Any:
        if (bottom, top) == (0, 6):
            return call.tf.nn.relu6(x)
        if bottom == 0:
            x = call.tf.nn.relu(x)
        elif bottom > -np.inf:
            x = call.tf.maximum(x, np.float32(bottom))
        return call.tf.minimum(x, np.float32(top)) if top < np.inf else x

    return _like(call, limited, nonnegative=bottom >= 0 or call.value(0).nonnegative)


def leaky_relu(call: Call) -> Value:
    """LEAKY_RELU."""
    alpha = call.number("alpha", 0.01)
    return _like(call, lambda x: call.tf.nn.leaky_relu(x, alpha))


def prelu(call: Call) -> Value:
    """PRELU, which the converter recognises in relu(x) + -slope * relu(-x)."""
    value, slope = call.value(0), call.constant(1, "slope")
    if value.picture and slope.ndim <= 4:
        nhwc = constant_nhwc(slope)
        slope = nhwc[0] if len(nhwc) == 1 else nhwc  # PRELU's slope has no batch axis
    return _like(call, lambda x: call.tf.nn.relu(x) + (-slope) * call.tf.nn.relu(-x))


def elu(call: Call) -> Value:
    """ELU; with alpha other than 1 its negative half is scaled."""
    alpha = call.number("alpha", 1.0)
    tf = call.tf
    if alpha == 1:
        return _like(call, tf.nn.elu)
    return _like(call, lambda x: tf.nn.relu(x) + np.float32(alpha) * tf.nn.elu(tf.minimum(x, 0.0)))


def hard_sigmoid(call: Call) -> Value:
    """Limit alpha * x + beta to 0..1."""
    alpha, beta = np.float32(call.number("alpha", 0.2)), np.float32(call.number("beta", 0.5))
    return _like(call, lambda x: call.tf.minimum(call.tf.nn.relu(x * alpha + beta), 1.0), nonnegative=True)


def hard_swish(call: Call) -> Value:
    """HARD_SWISH, which the converter recognises in x * relu6(x + 3) / 6."""
    return _like(call, lambda x: x * (call.tf.nn.relu6(x + np.float32(3)) * np.float32(1 / 6)))


def gelu(call: Call) -> Value:
    """GELU, which the converter recognises in TensorFlow's own formula.

    Raises:
        UnsupportedError: an approximation that ONNX does not know.
    """
    how = call.text("approximate", "none")
    if how not in ("none", "tanh"):
        raise call.refuse(f"attribute approximate = {how!r} is not covered")
    return _like(call, lambda x: call.tf.nn.gelu(x, approximate=how == "tanh"))


def softplus(call: Call) -> Value:
    """The logarithm of 1 + e^x, written so that it never overflows."""
    return _like(call, lambda x: _softplus(call, x), nonnegative=True)


def mish(call: Call) -> Value:
    """The product of x and tanh(softplus(x))."""
    return _like(call, lambda x: x * call.tf.tanh(_softplus(call, x)))


def identity(call: Call) -> Value:
    """Nothing."""
    return call.value(0)


def dropout(call: Call) -> Value:
    """Nothing: at inference nothing is dropped.

    Raises:
        UnsupportedError: training mode is on, or the mask is an output.
    """
    call.ignore("seed", "ratio")
    call.given(1)
    mode = call.optional_constant(2, "training mode")
    if len(call.node.outputs) > 1 or (mode is not None and bool(mode.reshape(-1)[0])):
        raise call.refuse("training mode and the mask are not covered", "export the network in evaluation mode")
    return call.value(0)


def _softplus(call: Call, x: Any) -> Any:
    tf = call.tf
    return tf.nn.relu(x) + tf.math.log(np.float32(1) + tf.exp(-tf.abs(x)))


def _like(call: Call, function: Callable[[Any], Any], nonnegative: bool = False) -> Value:
    """`function` of input 0, in the layout it has."""
    return Value(function(call.tensor(0)), call.value(0).picture, nonnegative)


def _unary(name: str, nonnegative: bool = False) -> Callable[[Call], Value]:
    """The operator that is the function tf.math.`name`."""

    def operator(call: Call) -> Value:
        return _like(call, getattr(call.tf.math, name), nonnegative)

    return operator


OPERATORS: dict[str, Callable[[Call], Value | list[Value]]] = {
    "Abs": _unary("abs", nonnegative=True),
    "Ceil": _unary("ceil"),
    "Clip": clip,
    "Cos": _unary("cos"),
    "Dropout": dropout,
    "Elu": elu,
    "Exp": _unary("exp", nonnegative=True),
    "Floor": _unary("floor"),
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Identity": identity,
    "LeakyRelu": leaky_relu,
    "Log": _unary("log"),
    "Mish": mish,
    "Neg": _unary("negative"),
    "PRelu": prelu,
    "Relu": relu,
    "Round": _unary("round"),
    "Sigmoid": _unary("sigmoid", nonnegative=True),
    "Sin": _unary("sin"),
    "Softplus": softplus,
    "Sqrt": _unary("sqrt", nonnegative=True),
    "Tanh": _unary("tanh"),
}
