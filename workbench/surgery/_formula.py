"""Write a formula over tensors and numbers as nodes in the place of one node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from workbench.graph import shapes
from workbench.surgery._replace import Replacement

Operand = ir.Value | float | None


class Known:
    """Types and shapes of a model's tensors, inferred when somebody first asks; a tensor that is new stays unknown.

    A tensor that took another's name has that one's type and shape, so it need not be asked about again.
    """

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._found: dict[str, tuple[int, shapes.Dims | None]] | None = None

    def kind(self, value: ir.Value | None) -> ir.DataType | None:
        """The element type of `value`, None when nobody knows it."""
        found = self._look(value)
        return None if found is None or not found[0] else ir.DataType(found[0])

    def dims(self, value: ir.Value | None) -> shapes.Dims | None:
        """The shape of `value`; None when not even its rank is known."""
        found = self._look(value)
        return None if found is None else found[1]

    def static(self, value: ir.Value | None) -> tuple[int, ...] | None:
        """The shape of `value` when every size is a number and none is zero."""
        dims = self.dims(value)
        if dims is None:
            return None
        sizes = tuple(size for size in dims if isinstance(size, int) and size > 0)
        return sizes if len(sizes) == len(dims) else None

    def keeps_shape(self, value: ir.Value | None, other: tuple[int, ...]) -> bool:
        """Whether `value` keeps its shape when a constant of shape `other` is broadcast with it."""
        if not other:
            return True
        dims = self.dims(value)
        if dims is None or len(other) > len(dims):
            return False
        return all(size in (1, own) for size, own in zip(reversed(other), reversed(dims), strict=False))

    def not_float(self, value: ir.Value | None) -> str | None:
        """Why a formula with float32 constants does not fit `value`; None when it does."""
        kind = self.kind(value)
        if kind == ir.DataType.FLOAT:
            return None
        return "the type of its input is not known" if kind is None else f"its input is {kind.name}, not float32"

    def _look(self, value: ir.Value | None) -> tuple[int, shapes.Dims | None] | None:
        if value is None or value.name is None:
            return None
        if self._found is None:
            self._found = shapes.typed(shapes.outline(self._model))
        return self._found.get(value.name)


class Formula(Replacement):
    """Nodes in the place of one, put by calling the formula: ``f("Mul", x, f("Sigmoid", x))``; the last is the result.

    Numbers become scalar constants, one for each number.

    Args:
        graph: the one that holds `node`.
        node: what the formula stands for.
        kind: the element type of the numbers.
    """

    def __init__(self, graph: ir.Graph, node: ir.Node, kind: ir.DataType = ir.DataType.FLOAT) -> None:
        super().__init__(graph, node)
        self._kind = kind
        self._numbers: dict[float, ir.Value] = {}

    def __call__(
        self,
        op_type: str,
        *operands: Operand,
        kind: ir.DataType | None = None,
        **attributes: int | float | str | Sequence[int],
    ) -> ir.Value:
        """Put a node.

        Args:
            op_type: an operator of ONNX's own domain with one output.
            operands: tensors, numbers, or None for an input that is left out.
            kind: the element type of its output, where that is not the one of what the formula stands for.
            attributes: its attributes.

        Returns:
            what the node makes.
        """
        inputs = [self.number(operand) if isinstance(operand, int | float) else operand for operand in operands]
        made = self.add(op_type, inputs, attributes, suffix=op_type.lower())
        if kind is not None:
            made.type = ir.TensorType(kind)
        return made

    def number(self, number: float) -> ir.Value:
        """The scalar constant `number`."""
        if number not in self._numbers:
            data = np.asarray(number, self._kind.numpy())
            self._numbers[number] = self.constant(data, "number")
        return self._numbers[number]
