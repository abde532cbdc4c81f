"""Reductions along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Value, as_plain


def arg_max(call: Call) -> Value:
    """ARG_MAX; the first of equal values."""
    value = call.value(0)
    if call.integer("select_last_index"):
        raise call.refuse("attribute select_last_index = 1 is not covered", "set it to 0")
    axis = call.axis(asked := call.integer("axis"), value)
    keep = bool(call.integer("keepdims", 1))
    best = call.tf.expand_dims(call.tf.argmax(call.tensor(0), axis, "int64"), axis)
    return _result(call, Value(best, value.picture, True), [asked], keep)


def _reduction(name: str, before: str = "identity", after: str = "identity") -> Callable[[Call], Value]:
    """The operator that is the function tf.math.`name`, of each number's `before`; `after` is of the result."""

    def operator(call: Call) -> Value:
        def reduce(tensor: Any, axes: list[int]) -> Any:
            first, last = (getattr(call.tf if one == "identity" else call.tf.math, one) for one in (before, after))
            inner = first(tensor)
            return last(getattr(call.tf.math, name)(inner, axes, keepdims=True) if axes else inner)

        value = call.value(0)
        axes = call.integers("axes")
        if axes is None:
            axes = call.constant_integers(1, "list of axes")
        keep = bool(call.integer("keepdims", 1))
        if not axes:
            as_it_is = call.integer("noop_with_empty_axes")
            if as_it_is and before == "identity":
                return value
            axes = [] if as_it_is else list(range(len(value.shape)))  # squares and absolute values are taken even then
        call.ignore("noop_with_empty_axes")
        stored = sorted(call.axis(axis, value) for axis in axes)
        made = reduce(call.tensor(0), stored)
        sign = before != "identity" or (value.nonnegative and name != "reduce_prod")
        return _result(call, Value(made, value.picture, sign), axes, keep)

    return operator


def _result(call: Call, kept: Value, axes: list[int], keep: bool) -> Value:
    """`kept`, whose reduced axes have size one, without them when they are not to be kept."""
    if keep:
        return kept
    rank = len(kept.shape)
    gone = {axis % rank for axis in axes}
    shape = [size for axis, size in enumerate(kept.shape) if axis not in gone]
    return Value(call.tf.reshape(as_plain(call.tf, kept), shape), nonnegative=kept.nonnegative)


OPERATORS: dict[str, Callable[[Call], Value]] = {
    "ArgMax": arg_max,
    "ReduceL1": _reduction("reduce_sum", before="abs"),
    "ReduceL2": _reduction("reduce_sum", before="square", after="sqrt"),
    "ReduceMax": _reduction("reduce_max"),
    "ReduceMean": _reduction("reduce_mean"),
    "ReduceMin": _reduction("reduce_min"),
    "ReduceProd": _reduction("reduce_prod"),
    "ReduceSum": _reduction("reduce_sum"),
    "ReduceSumSquare": _reduction("reduce_sum", before="square"),
}
