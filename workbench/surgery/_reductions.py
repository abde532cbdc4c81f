"""Reductions that a chip lacks, by those that every chip has: the mean, the maximum and the length."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants
from workbench.surgery._formula import Formula, Known

_AXES_BECAME_AN_INPUT = 18  # of ReduceMean, ReduceMax and ReduceL2; of ReduceSum at 13
_SHORTEST = 1e-12


def reduction(f: Formula, node: ir.Node, known: Known, opset: int) -> str | None:
    """Write ReduceSum, ReduceMin, ReduceL1 or ReduceSumSquare; returns why it cannot be done.

    A sum is the mean times the number of its terms, a minimum the negative of the maximum of the negatives.
    """
    x, shape = node.inputs[0], known.static(node.inputs[0])
    if shape is None:
        return "the size of its input is not static"
    axes = _axes(node)
    if isinstance(axes, str):
        return axes
    if not axes and attributes.integer(node, "noop_with_empty_axes", 0):
        return "it has no axes"
    keep = attributes.integer(node, "keepdims", 1)
    axes = [axis % len(shape) for axis in axes] or list(range(len(shape)))
    if node.op_type == "ReduceMin":
        f("Mul", _reduce(f, "ReduceMax", f("Mul", x, -1.0), axes, keep, opset), -1.0)
        return None
    if node.op_type == "ReduceL1":
        x = f("Abs", x)
    elif node.op_type == "ReduceSumSquare":
        x = f("Mul", x, x)
    _sum(f, x, shape, axes, keep, opset)
    return None


def global_pool(f: Formula, node: ir.Node, known: Known, opset: int) -> str | None:
    """Write GlobalLpPool of the orders 1 and 2; returns why it cannot be done."""
    x, shape = node.inputs[0], known.static(node.inputs[0])
    order = attributes.integer(node, "p", 2)
    if shape is None or len(shape) < 3:
        return "the size of its input is not static"
    if order not in (1, 2):
        return f"its order is {order}, not 1 or 2"
    axes = list(range(2, len(shape)))
    if order == 2:
        _reduce(f, "ReduceL2", x, axes, 1, opset)
    else:
        _sum(f, f("Abs", x), shape, axes, 1, opset)
    return None


def normalization(f: Formula, node: ir.Node, known: Known, opset: int) -> str | None:
    """Write LpNormalization along an axis that is not the last; returns why it cannot be done.

    A vector shorter than 1e-12 is divided by that, so that one of zeros stays one of zeros.
    """
    x, shape = node.inputs[0], known.static(node.inputs[0])
    axis, order = attributes.integer(node, "axis", -1), attributes.integer(node, "p", 2)
    if not shape:
        return "the size of its input is not static"
    if order not in (1, 2):
        return f"its order is {order}, not 1 or 2"
    if axis == -1:
        return "along the last axis every chip has it"
    axes = [axis % len(shape)]
    length = _reduce(f, "ReduceL2", x, axes, 1, opset) if order == 2 else _sum(f, f("Abs", x), shape, axes, 1, opset)
    f("Div", x, f("Clip", length, _SHORTEST))
    return None


def _axes(node: ir.Node) -> list[int] | str:
    """The axes that are reduced, none for all; or why they are not known."""
    if "axes" in node.attributes:
        return list(attributes.integers(node, "axes", ()))
    value = node.inputs[1] if len(node.inputs) > 1 else None
    data = constants.array(value)
    if value is not None and data is None:
        return "its axes are computed at run time"
    return [] if data is None else [int(axis) for axis in data.reshape(-1)]


def _sum(f: Formula, x: ir.Value | None, shape: Sequence[int], axes: Sequence[int], keep: int, opset: int) -> ir.Value:
    mean = _reduce(f, "ReduceMean", x, axes, keep, opset)
    count = math.prod(shape[axis] for axis in axes)
    return mean if count == 1 else f("Mul", mean, float(count))


def _reduce(f: Formula, op_type: str, x: ir.Value | None, axes: Sequence[int], keep: int, opset: int) -> ir.Value:
    if opset < _AXES_BECAME_AN_INPUT:
        # A number has no axes, and an empty list no type; left out, it is all of them.
        return f(op_type, x, axes=list(axes), keepdims=keep) if axes else f(op_type, x, keepdims=keep)
    return f(op_type, x, f.constant(np.asarray(axes, np.int64), "axes"), keepdims=keep)
