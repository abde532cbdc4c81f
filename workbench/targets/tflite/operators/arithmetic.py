"""Functions of two or more tensors, element by element, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir

from workbench.targets.tflite.call import Call, Value


def pow_(call: Call) -> Value:
    """SQUARE for the exponent 2, SQRT for 0.5, POW otherwise."""
    exponent = call.value(1)
    if exponent.constant and exponent.data.size == 1 and float(exponent.data.reshape(-1)[0]) in (0.5, 2.0):
        base = call.value(0)
        function = call.tf.square if float(exponent.data.reshape(-1)[0]) == 2 else call.tf.sqrt
        return Value(function(call.tf.convert_to_tensor(base.data)), base.picture, nonnegative=True)
    tensors, picture = call.aligned()
    return Value(call.tf.pow(*tensors), picture)


def where(call: Call) -> Value:
    """SELECT_V2."""
    tensors, picture = call.aligned()
    return Value(call.tf.where(*tensors), picture)


def cast(call: Call) -> Value:
    """CAST; nothing when the type stays."""
    value = call.value(0)
    call.ignore("saturate")
    wanted = ir.DataType(call.integer("to"))
    if wanted not in _TYPES:
        raise call.refuse(f"attribute to = {wanted.name} is not covered")
    tensor = call.tf.cast(call.tf.convert_to_tensor(value.data), _TYPES[wanted])
    return Value(tensor, value.picture, value.nonnegative and wanted == ir.DataType.FLOAT)


def _binary(name: str, nonnegative: Callable[[bool, bool], bool] | None = None) -> Callable[[Call], Value]:
    """The operator that is the function tf.math.`name` of two tensors, or folded over more."""

    def operator(call: Call) -> Value:
        tensors, picture = call.aligned()
        sign = nonnegative is not None and reduce(nonnegative, (_sign(call, index) for index in range(call.count)))
        return Value(reduce(getattr(call.tf.math, name), tensors), picture, sign)

    return operator


def _sign(call: Call, index: int) -> bool:
    value = call.value(index)
    return bool(np.all(value.data >= 0)) if value.constant else value.nonnegative


def _both(a: bool, b: bool) -> bool:
    return a and b


def _either(a: bool, b: bool) -> bool:
    return a or b


_TYPES: dict[ir.DataType, str] = {
    ir.DataType.BOOL: "bool",
    ir.DataType.FLOAT: "float32",
    ir.DataType.INT32: "int32",
    ir.DataType.INT64: "int64",
    ir.DataType.INT8: "int8",
    ir.DataType.UINT8: "uint8",
}

OPERATORS: dict[str, Callable[[Call], Any]] = {
    "Add": _binary("add", _both),
    "Cast": cast,
    "Div": _binary("divide", _both),
    "Equal": _binary("equal"),
    "Greater": _binary("greater"),
    "GreaterOrEqual": _binary("greater_equal"),
    "Less": _binary("less"),
    "LessOrEqual": _binary("less_equal"),
    "Max": _binary("maximum", _either),
    "Min": _binary("minimum", _both),
    "Mul": _binary("multiply", _both),
    "Pow": pow_,
    "Sub": _binary("subtract"),
    "Sum": _binary("add", _both),
    "Where": where,
}
