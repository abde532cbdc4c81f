"""One ONNX node on its way into a TensorFlow graph: its inputs in the layout an operator asks for, its attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.targets.tflite import layout
from workbench.targets.tflite.layout import TO_NHWC, Array, Value

_FIX = "rewrite it in the source network or with a surgery pass, cut the graph before it, or drop the tflite target"


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

    def tensor(self, index: int) -> Any:
        """Input `index` as a tensor, stored as it is."""
        return self.tf.convert_to_tensor(self.value(index).data)

    def picture(self, index: int) -> Any:
        """Input `index`, which has rank 4, as an NHWC tensor."""
        value = self.value(index)
        if len(value.shape) != 4:
            raise self.refuse(f"an input of shape {list(value.shape)} is no NCHW picture")
        return layout.as_picture(self.tf, value)

    def plain(self, index: int) -> Any:
        """Input `index` as a tensor in ONNX's order of dimensions."""
        return layout.as_plain(self.tf, self.value(index))

    def values(self) -> list[Value]:
        """All inputs."""
        return [self.value(index) for index in range(len(self._inputs))]

    def aligned(self) -> tuple[list[Any], bool]:
        """All inputs in one layout, ready to be broadcast against each other, and whether that is NHWC."""
        return layout.aligned(self.tf, self.values())

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
