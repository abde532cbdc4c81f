"""One ONNX node on its way into a TensorFlow graph: its inputs in the layout an operator asks for, its attributes.

ONNX pictures are NCHW and TensorFlow Lite's are NHWC. Every rank 4 activation is kept as a *picture*, stored NHWC
while ONNX calls it NCHW; everything else is *plain*, stored as ONNX says. An operator asks for what it needs and the
value is moved only when it must be, by a Reshape when no two dimensions larger than one change places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.errors import UnsupportedError

Array = npt.NDArray[Any]
TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)
_FIX = "rewrite it in the source network or with a surgery pass, cut the graph before it, or drop the tflite target"


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: a TensorFlow tensor, or a numpy array when it is constant.

    Attributes:
        data: stored NHWC when `picture`, else in ONNX's order of dimensions. Constants are never pictures.
        picture: rank 4, stored NHWC.
        nonnegative: known to hold nothing below zero, so that zeros pad a maximum.
    """

    data: Any
    picture: bool = False
    nonnegative: bool = False

    @property
    def constant(self) -> bool:
        """Whether the value is known now."""
        return isinstance(self.data, np.ndarray)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in ONNX's order of dimensions."""
        stored = tuple(int(size) for size in self.data.shape)
        return tuple(stored[axis] for axis in TO_NCHW) if self.picture else stored


class Call:
    """A node with its inputs; it notices what the operator did not look at, so that nothing is ignored silently.

    Args:
        tf: the TensorFlow module.
        node: the ONNX node.
        inputs: its inputs, None where an optional one is left out.
    """

    def __init__(self, tf: Any, node: ir.Node, inputs: Sequence[Value | None]) -> None:
        self.tf = tf
        self.node = node
        self._inputs = tuple(inputs)
        self._unread_inputs = {index for index, value in enumerate(inputs) if value is not None}
        self._unread_attributes = set(node.attributes)

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def refuse(self, what: str, fix: str = _FIX) -> UnsupportedError:
        """The error that this node cannot be lowered because of `what`."""
        return UnsupportedError(f"{self.node.op_type}: {what}", where=describe(self.node), fix=fix)

    def finish(self) -> None:
        """Raise UnsupportedError when the operator left an attribute or an input unread."""
        if self._unread_attributes:
            name = min(self._unread_attributes)
            raise self.refuse(f"attribute {name} = {self.node.attributes[name].value!r} is not covered")
        if self._unread_inputs:
            raise self.refuse(f"input {min(self._unread_inputs)} is not covered")

    # -- attributes --------------------------------------------------------------------------------------------------

    def _attribute(self, name: str, kinds: tuple[ir.AttributeType, ...]) -> Any:
        self._unread_attributes.discard(name)
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return None
        if attribute.is_ref() or attribute.type not in kinds:
            raise self.refuse(f"attribute {name} is not a plain {kinds[0].name.lower()}")
        return attribute.value

    def integer(self, name: str, default: int = 0) -> int:
        """The integer attribute `name`."""
        value = self._attribute(name, (ir.AttributeType.INT,))
        return default if value is None else int(value)

    def integers(self, name: str) -> list[int] | None:
        """The list of integers `name`, None when it is left out."""
        value = self._attribute(name, (ir.AttributeType.INTS,))
        return None if value is None else [int(item) for item in value]

    def number(self, name: str, default: float) -> float:
        """The float attribute `name`."""
        value = self._attribute(name, (ir.AttributeType.FLOAT,))
        return default if value is None else float(value)

    def text(self, name: str, default: str) -> str:
        """The string attribute `name`."""
        value = self._attribute(name, (ir.AttributeType.STRING,))
        return default if value is None else str(value)

    def ignore(self, *names: str) -> None:
        """The attributes `names` change nothing here."""
        self._unread_attributes.difference_update(names)

    # -- inputs ------------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many inputs the node lists."""
        return len(self._inputs)

    def given(self, index: int) -> Value | None:
        """Input `index`, None when it is left out."""
        self._unread_inputs.discard(index)
        return self._inputs[index] if index < len(self._inputs) else None

    def value(self, index: int) -> Value:
        """Input `index`.

        Raises:
            UnsupportedError: it is left out.
        """
        value = self.given(index)
        if value is None:
            raise self.refuse(f"input {index} is missing")
        return value

    def constant(self, index: int, what: str) -> Array:
        """Input `index`, which must be known now.

        Raises:
            UnsupportedError: it is computed, or left out.
        """
        value = self.value(index)
        if not value.constant:
            raise self.refuse(f"the {what} is computed at run time", "make it constant: fold the graph (simplify)")
        return np.asarray(value.data)

    def optional_constant(self, index: int, what: str) -> Array | None:
        """Input `index`, None when it is left out or empty.

        Raises:
            UnsupportedError: it is computed.
        """
        if self.given(index) is None:
            return None
        array = self.constant(index, what)
        return array if array.size else None

    def constant_integers(self, index: int, what: str) -> list[int] | None:
        """Input `index` as a flat list of integers, None when it is left out."""
        if self.given(index) is None:
            return None
        return [int(item) for item in self.constant(index, what).reshape(-1)]

    # -- layout ------------------------------------------------------------------------------------------------------

    def picture(self, index: int) -> Any:
        """Input `index`, which has rank 4, as an NHWC tensor."""
        value = self.value(index)
        if len(value.shape) != 4:
            raise self.refuse(f"an input of shape {list(value.shape)} is no NCHW picture")
        return self.as_picture(value)

    def plain(self, index: int) -> Any:
        """Input `index` as a tensor in ONNX's order of dimensions."""
        return self.as_plain(self.value(index))

    def as_picture(self, value: Value) -> Any:
        """`value`, of rank 4 at most, as an NHWC tensor of rank 4."""
        if value.picture:
            return value.data
        if value.constant:
            return self.tf.constant(_constant_nhwc(value.data))
        tensor = value.data
        if len(tensor.shape) < 4:
            tensor = self.tf.reshape(tensor, [1] * (4 - len(tensor.shape)) + list(tensor.shape))
        return self.permute(tensor, TO_NHWC)

    def as_plain(self, value: Value) -> Any:
        """`value` as a tensor in ONNX's order of dimensions."""
        if value.picture:
            return self.permute(value.data, TO_NCHW)
        return self.tf.constant(value.data) if value.constant else value.data

    def aligned(self) -> tuple[list[Any], bool]:
        """All inputs in one layout, ready to be broadcast against each other, and whether that is NHWC."""
        values = [self.value(index) for index in range(self.count)]
        if any(value.picture for value in values) and all(len(value.shape) <= 4 for value in values):
            return [
                self.tf.constant(_without_leading_ones(_constant_nhwc(value.data)))
                if value.constant
                else self.as_picture(value)
                for value in values
            ], True
        return [self.as_plain(value) for value in values], False

    def permute(self, tensor: Any, order: Sequence[int]) -> Any:
        """`tensor` with its dimensions in `order`; a Reshape when only dimensions of size one move."""
        sizes = [int(size) for size in tensor.shape]
        moving = [axis for axis in order if sizes[axis] != 1]
        if list(order) == sorted(order):
            return tensor
        if moving == sorted(moving):
            return self.tf.reshape(tensor, [sizes[axis] for axis in order])
        return self.tf.transpose(tensor, list(order))

    def axis(self, axis: int, value: Value) -> int:
        """The stored axis of `value` that ONNX calls `axis` (negative from the end)."""
        rank = len(value.shape)
        if not -rank <= axis < rank:
            raise self.refuse(f"axis {axis} of a tensor of rank {rank}")
        axis %= rank
        return TO_NHWC.index(axis) if value.picture else axis


def describe(node: ir.Node) -> str:
    """How a message names `node`: by its name, else by its first output."""
    if node.name:
        return f"node {node.name!r}"
    outputs = [value.name for value in node.outputs if value.name]
    return f"the {node.op_type} node that makes {outputs[0]!r}" if outputs else f"a {node.op_type} node"


def _constant_nhwc(array: Array) -> Array:
    full = array.reshape((1,) * (4 - array.ndim) + array.shape)
    return np.ascontiguousarray(full.transpose(TO_NHWC))


def _without_leading_ones(array: Array) -> Array:
    # The converter fuses an addend into a convolution only when it has one dimension or none.
    lead = next((axis for axis, size in enumerate(array.shape) if size != 1), array.ndim)
    return array.reshape(array.shape[lead:])
