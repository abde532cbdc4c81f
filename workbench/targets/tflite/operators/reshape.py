"""Operators that name the same cells by another shape; a picture must be put into ONNX's order for that."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import onnx_ir as ir

from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Value


def reshape(call: Call) -> Value:
    """RESHAPE."""
    asked = call.constant_integers(1, "shape") or []
    sizes = call.value(0).shape
    if not call.integer("allowzero"):
        if any(size == 0 and axis >= len(sizes) for axis, size in enumerate(asked)):
            raise call.refuse(f"shape {asked} copies an axis that {list(sizes)} does not have")
        asked = [sizes[axis] if size == 0 else size for axis, size in enumerate(asked)]
    if -1 in asked:
        rest = prod(size for size in asked if size != -1)
        if asked.count(-1) > 1 or rest == 0 or prod(sizes) % rest:
            raise call.refuse(f"shape {asked} of a tensor {list(sizes)}")
        asked[asked.index(-1)] = prod(sizes) // rest
    return _shaped(call, asked)


def flatten(call: Call) -> Value:
    """RESHAPE to a matrix."""
    sizes = call.value(0).shape
    axis = call.integer("axis", 1)
    cut = axis + len(sizes) if axis < 0 else axis
    return _shaped(call, [prod(sizes[:cut]), prod(sizes[cut:])])


def squeeze(call: Call) -> Value:
    """RESHAPE without axes of size one."""
    sizes = call.value(0).shape
    axes = call.constant_integers(1, "list of axes")
    gone = {axis for axis, size in enumerate(sizes) if size == 1}
    if axes is not None:
        asked = {axis % len(sizes) for axis in axes}
        if asked - gone:
            raise call.refuse(f"axes {axes} of a tensor {list(sizes)} are not of size one")
        gone = asked
    return _shaped(call, [size for axis, size in enumerate(sizes) if axis not in gone])


def unsqueeze(call: Call) -> Value:
    """RESHAPE with more axes of size one."""
    sizes = list(call.value(0).shape)
    axes = call.constant_integers(1, "list of axes") or []
    rank = len(sizes) + len(axes)
    new = {axis % rank for axis in axes}
    if len(new) != len(axes):
        raise call.refuse(f"axes {axes} repeat one")
    return _shaped(call, [1 if axis in new else sizes.pop(0) for axis in range(rank)])


def constant(call: Call) -> Value:
    """A constant."""
    node = call.node
    call.ignore(*node.attributes)
    tensor = ir.convenience.get_const_tensor(node.outputs[0])
    if tensor is None:
        raise call.refuse("this kind of constant is not covered")
    return Value(tensor.numpy())


def _shaped(call: Call, shape: list[int]) -> Value:
    value = call.value(0)
    if prod(shape) != prod(value.shape):
        raise call.refuse(f"shape {shape} of a tensor {list(value.shape)}")
    if value.constant:
        return Value(value.data.reshape(shape))
    if list(value.shape) == shape:
        return value
    return Value(call.tf.reshape(call.plain(0), shape), nonnegative=value.nonnegative)


OPERATORS: dict[str, Callable[[Call], Value]] = {
    "Constant": constant,
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
}
