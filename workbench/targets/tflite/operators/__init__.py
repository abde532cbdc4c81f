"""The operators that can be lowered to TensorFlow Lite, by ONNX name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Value
from workbench.targets.tflite.operators import (
    activation,
    arithmetic,
    convolution,
    matrix,
    normalization,
    pooling,
    reduction,
    reorder,
    reshape,
    resize,
)

Operator = Callable[[Call], Value | list[Value]]

OPERATORS: Mapping[str, Operator] = {
    **activation.OPERATORS,
    **arithmetic.OPERATORS,
    **convolution.OPERATORS,
    **matrix.OPERATORS,
    **normalization.OPERATORS,
    **pooling.OPERATORS,
    **reduction.OPERATORS,
    **reorder.OPERATORS,
    **reshape.OPERATORS,
    **resize.OPERATORS,
}
