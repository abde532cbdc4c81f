"""Functions of two or more tensors, element by element, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import onnx_ir as ir

from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Value


def pow_(call: Call) -> Value:
    """SQUARE for the exponent 2, SQRT for 0.5, POW otherwise."""
    exponent = call.value(1)
    if exponent.constant and exponent.data.size == 1 and float(exponent.data.reshape(-1)[0]) in (0.5, 2.0):
        function = call.tf.square if float(exponent.data.reshape(-1)[0]) == 2 else call.tf.sqrt
        return Value(function(call.tensor(0)), call.value(0).picture, nonnegative=True)
    tensors, picture = call.aligned()
    return Value(call.tf.pow(*tensors), picture)


def div(call: Call) -> Value:
    """DIV; of whole numbers ONNX rounds towards zero, as DIV does."""
    tensors, picture = call.aligned()
    whole = call.tf.as_dtype(tensors[0].dtype).is_integer
    made = call.tf.raw_ops.Div(x=tensors[0], y=tensors[1]) if whole else call.tf.math.divide(*tensors)
    return Value(made, picture, all(value.never_negative for value in call.values()))


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
    return Value(
        call.tf.cast(call.tensor(0), _TYPES[wanted]), value.picture, value.nonnegative and wanted == ir.DataType.FLOAT
    )


def _binary(name: str, nonnegative: Callable[[bool, bool], bool] | None = None) -> Callable[[Call], Value]:
    """The operator that is the function tf.math.`name` of two tensors, or folded over more."""

    def operator(call: Call) -> Value:
        tensors, picture = call.aligned()
        signs = [value.never_negative for value in call.values()]
        sign = nonnegative is not None and reduce(nonnegative, signs)
        return Value(reduce(getattr(call.tf.math, name), tensors), picture, sign)

    return operator


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
    "Div": div,
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
