"""Matrix products and Softmax."""

from __future__ import annotations

import numpy as np

from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Value


def gemm(call: Call) -> Value:
    """FULLY_CONNECTED: alpha and beta are multiplied into the constants."""
    left = call.plain(0)
    right = call.constant(1, "second matrix")
    alpha, beta = np.float32(call.number("alpha", 1.0)), np.float32(call.number("beta", 1.0))
    if call.integer("transB"):
        right = right.T
    made = call.tf.matmul(left, np.ascontiguousarray(right * alpha), transpose_a=bool(call.integer("transA")))
    if call.given(2) is not None:
        made = made + call.constant(2, "addend") * beta
    return Value(made)


def matmul(call: Call) -> Value:
    """FULLY_CONNECTED or BATCH_MATMUL; pictures become plain tensors, since rows and columns are multiplied."""
    left, right = call.plain(0), call.plain(1)
    if min(len(left.shape), len(right.shape)) < 2:
        raise call.refuse("a vector is not covered", "Unsqueeze it to a matrix")
    return Value(call.tf.matmul(left, right))


def softmax(call: Call) -> Value:
    """SOFTMAX along the last stored axis; spelled out along another, which would need a TRANSPOSE."""
    value = call.value(0)
    tf, tensor = call.tf, call.tensor(0)
    axis = call.axis(call.integer("axis", -1), value)
    if axis == len(value.shape) - 1:
        return Value(tf.nn.softmax(tensor), value.picture, nonnegative=True)
    powers = tf.exp(tensor - tf.reduce_max(tensor, axis, keepdims=True))
    return Value(powers / tf.reduce_sum(powers, axis, keepdims=True), value.picture, nonnegative=True)


OPERATORS = {"Gemm": gemm, "MatMul": matmul, "Softmax": softmax}
