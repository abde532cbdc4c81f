"""Give branches of very different range outputs of their own, since a tensor has one scale on the chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import onnx_ir as ir
from pydantic import Field

from workbench.errors import RecipeError
from workbench.graph import attributes, constants, walk
from workbench.surgery import _outputs
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow, require_named

_BOUNDED = ("Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Softsign", "Sin", "Cos")
_DEPTH, _LEAVES = 24, 256  # a file may join tensors with themselves, which doubles the tree at every node
_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_KEEP_RANGE = (*_RESHAPES, "Transpose", "Identity", "Slice", "Split", "Gather", "MaxPool", "Expand", "Tile")


@dataclass(frozen=True, kw_only=True)
class SplitOutputs(Pass):
    """Replace an output that a Concat makes by the tensors it joins, and say how the host joins them again.

    1. By default where a bounded branch (Sigmoid, Softmax, Tanh ... or a Clip between two constants) meets another one:
       raw boxes of 0..640 leave a probability of 0..1 less than one of 256 steps. With `tensors`, these outputs and no
       others, whatever their branches are.
    2. The Concat may lie behind Transpose, Reshape and their like, and have others among its branches. Inner ones whose
       branches are of one kind stay.
    3. The new outputs are tensors that are there already, with their names and values, in the order of the Concat, in
       the place of the old output. Which NumPy expression gives the old output is part of the account.
    """

    chooses_outputs: ClassVar[bool] = True

    tensors: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(description="names of the outputs to split; when left out, those that mix bounded and other branches"),
    ] = ()

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Boxes in pixels and probabilities in one output."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        detector (float[1,4,8] boxes_in, float[1,2,8] logits) => (float[1,6,8] y) {
            boxes = Relu(boxes_in)
            scores = Sigmoid(logits)
            y = Concat<axis = 1>(boxes, scores)
        }"""
        return cls(), ir.from_onnx_text(text)

    def requires(self, model: ir.Model) -> None:
        """Every output named exists and is joined from branches.

        Raises:
            RecipeError: a name is unknown, or no Concat makes it.
        """
        joins = _Joins(Known(model))
        outputs = {str(value.name): value for value in model.graph.outputs}
        require_named(outputs, self.tensors, "tensors", "output")
        for index, name in enumerate(self.tensors):
            if not joins.tree(outputs[name]).joins:
                raise RecipeError(
                    f"output '{name}' is made by {walk.origin(outputs[name])}, not joined by a Concat",
                    fix="name an output that a Concat makes, or cut_outputs with the tensors wanted",
                    at=("tensors", index),
                )

    def apply(self, model: ir.Model) -> Edits:
        """Visit every output."""
        graph = model.graph
        joins = _Joins(Known(model))
        changed: list[str] = []
        left = list(control_flow(model))
        outputs: list[ir.Value] = []
        for value in graph.outputs:
            asked = value.name in self.tensors
            tree = _Tree(value) if self.tensors and not asked else joins.tree(value).reduced(whole=asked)
            reason = next((why for leaf in tree.leaves() if (why := _refuses(leaf)) is not None), None)
            if not tree.joins:
                outputs.append(value)
            elif reason is not None:
                outputs.append(value)
                left.append(f"output '{value.name}': {reason}")
            else:
                leaves = list(dict.fromkeys(tree.leaves()))
                names = ", ".join(f"'{leaf.name}'" for leaf in leaves)
                changed.append(f"output '{value.name}': split into {names}; on the host it is {tree.expression()}")
                outputs += leaves
        if not changed:
            return Edits(left=tuple(left))
        outputs = list(dict.fromkeys(outputs))
        _outputs.declare(model, [value for value in outputs if not value.is_graph_output()])
        graph.outputs.clear()
        graph.outputs.extend(outputs)
        changed += _outputs.prune(graph)
        return Edits(changed=tuple(changed), left=tuple(left))


@dataclass(frozen=True)
class _Tree:
    """How a tensor is joined from others.

    Attributes:
        value: the tensor.
        parts: the trees it is made from; none for a tensor that is taken as it is.
        combine: from the expressions of the parts to the one of `value`.
    """

    value: ir.Value
    parts: tuple[_Tree, ...] = ()
    combine: Callable[[list[str]], str] = "".join

    @property
    def joins(self) -> bool:
        """Whether there is anything to split."""
        return bool(self.parts)

    def leaves(self) -> list[ir.Value]:
        """The tensors it is joined from, in order; one that is taken twice is there twice."""
        return [leaf for part in self.parts for leaf in part.leaves()] if self.parts else [self.value]

    def expression(self) -> str:
        """It in NumPy, of ``outputs``, a dictionary of the tensors it is joined from."""
        if not self.parts:
            return f"outputs[{self.value.name!r}]"
        return self.combine([part.expression() for part in self.parts])

    def reduced(self, *, whole: bool = False) -> _Tree:
        """The tree in which what joins tensors of one kind is a tensor as it is.

        Args:
            whole: take the outermost Concat apart in any case.
        """
        if not self.parts:
            return self
        joining = len(self.parts) > 1
        if not whole and len({_is_bounded(leaf) for leaf in self.leaves()}) < 2:
            return _Tree(self.value)
        parts = tuple(part.reduced(whole=whole and not joining) for part in self.parts)
        if not joining and not parts[0].joins:
            return _Tree(self.value)
        return _Tree(self.value, parts, self.combine)


class _Joins:
    """How the tensors of a graph are joined, each looked at once."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._found: dict[ir.Value, _Tree] = {}

    def tree(self, value: ir.Value, depth: int = _DEPTH) -> _Tree:
        """How `value` is joined, as far as Concat and moves tell, and not further back than `depth` nodes."""
        if value not in self._found:
            self._found[value] = self._look(value, depth)
        return self._found[value]

    def _look(self, value: ir.Value, depth: int) -> _Tree:
        node = value.producer()
        sources = [] if node is None else [one for one in node.inputs if one is not None]
        if node is None or not sources or not depth:
            return _Tree(value)
        if walk.is_op(node, "Concat"):
            axis = attributes.integer(node, "axis", 0)
            parts = tuple(self.tree(one, depth - 1) for one in sources)
            if len(parts) < 2 or sum(len(part.leaves()) for part in parts) > _LEAVES:
                return _Tree(value)
            return _Tree(value, parts, lambda texts: f"np.concatenate([{', '.join(texts)}], axis={axis})")
        move = _move(node, self._known)
        inner = _Tree(value) if move is None else self.tree(sources[0], depth - 1)
        return _Tree(value, (inner,), lambda texts: f"{texts[0]}{move}") if inner.joins else _Tree(value)


def _move(node: ir.Node, known: Known) -> str | None:
    """What NumPy calls `node`, when it moves all elements of its first input and does nothing else."""
    if walk.is_op(node, "Identity"):
        return ""
    if walk.is_op(node, "Transpose"):
        before = known.dims(node.inputs[0])
        order = attributes.integers(node, "perm", () if before is None else range(len(before))[::-1])
        return f".transpose({list(order)})" if order else None
    if walk.is_op(node, *_RESHAPES):
        after = known.dims(node.outputs[0])
        if after is None or sum(not isinstance(size, int) for size in after) > 1:
            return None
        return f".reshape({[size if isinstance(size, int) else -1 for size in after]})"
    return None


def _is_bounded(value: ir.Value) -> bool:
    """Whether the range of `value` is known by its operator, so that it is a small one."""
    node = value.producer()
    while node is not None and walk.is_op(node, *_KEEP_RANGE) and node.inputs and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if walk.is_op(node, "Clip") and node is not None:
        bounds = [constants.scalar(bound) for bound in node.inputs[1:3]]
        return len(bounds) == 2 and None not in bounds
    return walk.is_op(node, *_BOUNDED)


def _refuses(leaf: ir.Value) -> str | None:
    """Why `leaf` cannot be an output."""
    node = leaf.producer()
    if leaf.is_graph_input():
        return f"one of its branches is the input '{leaf.name}', which cannot be an output"
    if node is None or walk.is_op(node, "Constant"):
        return f"one of its branches is the constant '{leaf.name}', which cannot be an output"
    return None


PASS = SplitOutputs
