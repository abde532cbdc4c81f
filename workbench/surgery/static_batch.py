"""Fix the batch, so that every shape of the graph is a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import onnx_ir as ir
from pydantic import Field

from workbench.errors import UnsupportedError
from workbench.graph import attributes, constants, shapes, walk
from workbench.surgery._pass import Edits, Pass, control_flow

Old = int | str | None
_UNNAMED = "workbench_batch"


@dataclass(frozen=True, kw_only=True)
class StaticBatch(Pass):
    """Give every input the batch that is asked for, symbolic or not, and infer all shapes again.

    1. The batch is axis 0 of every input of two axes or more. A symbol that stands there is replaced wherever an input
       uses it.
    2. A Reshape or Resize whose constant target has the old batch in front gets the new one, when the rest of the
       target is just one sample; else the graph is refused, since its samples would mix.
    3. The result must be consistent: every shape is inferred again, and outputs that had the batch must have it.
    4. Other symbolic axes of inputs stay and are reported.
    """

    batch: Annotated[int, Field(ge=1, le=1024, description="samples in one run")] = 1

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """A graph that takes any number of pictures takes two."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        any_batch (float[N,3,2,2] image) => (float[N,3,2,2] y) {
            y = Relu(image)
        }"""
        return cls(batch=2), ir.from_onnx_text(text)

    def requires(self, model: ir.Model) -> None:
        """The graph can have this batch; tried on a copy that shares the weights.

        Raises:
            UnsupportedError: inputs differ in batch, or a node has the old one built in.
        """
        _rebatch(model.clone(), self.batch)

    def apply(self, model: ir.Model) -> Edits:
        """Do what `requires` tried."""
        changed = _rebatch(model, self.batch)
        left = [*control_flow(model)]
        for value in model.graph.inputs:
            for axis, dim in enumerate(value.shape or ()):
                if not isinstance(dim, int):
                    left.append(f"input '{value.name}': axis {axis} is {dim}, which is not its batch")
        return Edits(changed=tuple(changed), left=tuple(left))


def _rebatch(model: ir.Model, batch: int) -> list[str]:
    """Change `model` and return what was done.

    Raises:
        UnsupportedError: it cannot be done; the model is half changed then.
    """
    inputs = [value for value in model.graph.inputs if not value.is_initializer() and len(value.shape or ()) > 1]
    before = {value: _dims(value) for value in inputs}
    fixed = {dims[0] for dims in before.values() if isinstance(dims[0], int)}
    symbols = {dims[0] for dims in before.values() if isinstance(dims[0], str)}
    if len(fixed) > 1:
        raise UnsupportedError(f"the inputs have different batches: {sorted(fixed)}", fix="export with one batch")
    old = next(iter(fixed), 1)  # what a constant may have built in; a traced graph with a symbol saw 1
    if all(dims[0] == batch for dims in before.values()) and not symbols:
        return []
    for value in inputs:
        if value.shape is not None and before[value][0] is None:
            # Inference forgets that two unknown sizes are one; a symbol is carried through.
            value.shape = ir.Shape([_UNNAMED, *before[value][1:]])
    olds: set[Old] = {old, None, _UNNAMED, *symbols}
    known = shapes.infer(model)
    changed = []
    if old != batch:
        for node in walk.nodes(model.graph, "Reshape", "Resize"):
            line = _retarget(model.graph, node, known, olds, old, batch)
            changed += [line] if line else []
    outputs = {value: _dims(value) for value in model.graph.outputs}
    for value in inputs:
        dims = [batch if axis == 0 or dim in symbols else dim for axis, dim in enumerate(before[value])]
        value.shape = ir.Shape(dims)
        if dims != list(before[value]):
            changed.append(f"input '{value.name}': {_shown(before[value])} is {_shown(tuple(dims))}")
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    _settle(model, outputs, olds, batch)
    return changed


def _settle(model: ir.Model, outputs: dict[ir.Value, shapes.Dims], olds: set[Old], batch: int) -> None:
    """Infer all shapes again and hold the outputs against what they had.

    Raises:
        UnsupportedError: the graph does not take this batch.
    """
    fix = f"export the network with batch {batch}"
    try:
        shapes.refresh(model)
    except UnsupportedError as error:
        raise UnsupportedError(f"the graph does not take batch {batch}: {error.what}", fix=fix) from error
    for value, dims in outputs.items():
        if value.shape is None:
            # Nothing can be inferred behind an operator of another domain; what the file declared is all there is.
            value.shape = ir.Shape([batch if axis == 0 and dim in olds else dim for axis, dim in enumerate(dims)])
        now = _dims(value)
        if dims and dims[0] in olds and now and now[0] != batch:
            raise UnsupportedError(f"output '{value.name}' keeps batch {now[0]}", where=walk.origin(value), fix=fix)


def _retarget(
    graph: ir.Graph, node: ir.Node, known: dict[str, shapes.Dims], olds: set[Old], old: int, batch: int
) -> str | None:
    """Rule 2 for one node; returns what was done, None when nothing had to be.

    Raises:
        UnsupportedError: the target mixes samples.
    """
    index = 1 if node.op_type == "Reshape" else 3
    data = node.inputs[0]
    target = constants.array(node.inputs[index]) if len(node.inputs) > index else None
    dims = known.get((data.name if data is not None else None) or "", ())
    if target is None or not target.size or not dims or dims[0] not in olds:
        return None
    goal = [int(size) for size in target.reshape(-1)]
    if node.op_type == "Reshape":
        if goal[0] == -1 or (goal[0] == 0 and not attributes.integer(node, "allowzero", 0)):
            return None
        sample = [int(size) for size in dims[1:] if isinstance(size, int)]
        whole = len(sample) == len(dims) - 1 and -1 not in goal and int(np.prod(goal[1:])) == int(np.prod(sample))
        if goal[0] != old or not (whole or -1 in goal[1:]):
            raise UnsupportedError(
                f"the target {goal} mixes the samples of a batch of {batch}",
                where=walk.label(node),
                fix="export the network with that batch, or cut the graph before this node",
            )
    elif "axes" in node.attributes or goal[0] != old:
        return None
    name = node.inputs[index]
    constants.put(graph, node, index, np.array([batch, *goal[1:]], np.int64), f"{name.name if name else 'shape'}_batch")
    return f"{walk.label(node)}: its target {goal} starts with {batch}"


def _dims(value: ir.Value) -> shapes.Dims:
    """The shape of `value` with symbols as text; () when it has none."""
    if value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def _shown(dims: shapes.Dims) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in dims)


PASS = StaticBatch
