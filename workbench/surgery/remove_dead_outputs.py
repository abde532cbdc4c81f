"""Remove what nothing reads: nodes, weights, optional outputs of nodes and parts of a Split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
import onnx
import onnx_ir as ir

from workbench.graph import attributes, constants, naming, splice, walk
from workbench.surgery import _outputs
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow


@dataclass(frozen=True, kw_only=True)
class RemoveDeadOutputs(Pass):
    """Remove nodes, weights and node outputs that no graph output depends on; nothing that is left changes.

    1. Nodes and weights that no graph output needs go.
    2. Outputs that ONNX calls optional go when nothing reads them: the indices of a MaxPool, the mask of a Dropout, the
       statistics of a LayerNormalization, the states of an LSTM. Those of a BatchNormalization in training mode stay,
       since they are what switches it on.
    3. A Split of which some parts are read becomes a Slice for each of these.
    4. Required outputs (the values of a TopK) and graph inputs stay.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Indices that nobody reads, half of a Split, and a branch that was forgotten."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        leftovers (float[1,4,4,4] x) => (float[1,2,2,2] y) <int64[2] parts = {2, 2}> {
            pooled, indices = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)
            y, rest = Split<axis = 1>(pooled, parts)
            forgotten = Relu(x)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Clear dead nodes first: what only they read is dead then, too."""
        graph = model.graph
        left = list(control_flow(model))
        changed = _outputs.prune(graph)
        known = Known(model)
        for node in tuple(graph):
            dead = [place for place, value in enumerate(node.outputs) if value.name and not _is_read(value)]
            if not dead or not walk.is_op(node) or next(walk.inner_graphs(node), None) is not None:
                continue
            label = walk.label(node)
            names = ", ".join(f"'{node.outputs[place].name}'" for place in dead)
            if node.op_type == "Split":
                parts = _parts(node, known)
                if isinstance(parts, str):
                    left.append(f"{label}: {parts}, so {names} must stay")
                else:
                    changed.append(f"{label}: nothing reads {names}; {_slice(graph, node, parts)}")
                continue
            reason = _refuses(node, dead, walk.opset(model))
            if reason is not None:
                left.append(f"{label}: nothing reads {names}, but {reason}")
                continue
            changed.append(f"{label}: nothing reads {names}, dropped")
            _drop(node, dead)
        return Edits(changed=tuple(changed), left=(*left, *_outputs.idle_inputs(graph)))


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


@cache
def _optional(op_type: str, version: int) -> tuple[bool, ...]:
    """Which outputs of an operator may be left out."""
    try:
        schema = onnx.defs.get_schema(op_type, version, "")
    except onnx.defs.SchemaError:
        return ()
    return tuple(output.option == onnx.defs.OpSchema.FormalParameterOption.Optional for output in schema.outputs)


def _refuses(node: ir.Node, dead: Sequence[int], version: int) -> str | None:
    """Why outputs `dead` of `node` must stay."""
    optional = _optional(node.op_type, version)
    if not all(place < len(optional) and optional[place] for place in dead):
        return "it must make them"
    # Before operator set 14 it was the number of outputs that said whether a BatchNormalization learns.
    learns = attributes.integer(node, "training_mode", 0) if version >= 14 else len(node.outputs) > 1
    return "it is in training mode" if node.op_type == "BatchNormalization" and learns else None


def _drop(node: ir.Node, dead: Sequence[int]) -> None:
    """Leave outputs out: those at the end are not there any more, the others have no name."""
    for place in dead:
        node.outputs[place].name = ""
    count = len(node.outputs)
    while count and not node.outputs[count - 1].name:
        count -= 1
    node.resize_outputs(count)


def _parts(node: ir.Node, known: Known) -> tuple[int, ...] | str:
    """The size of each part of a Split; or why they are not known."""
    dims = known.dims(node.inputs[0])
    axis = attributes.integer(node, "axis", 0)
    size = dims[axis] if dims is not None and -len(dims) <= axis < len(dims) else None
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is not None:
        sizes = constants.array(given)
        if sizes is None:
            return "its sizes are computed at run time"
        return tuple(int(one) for one in sizes.reshape(-1))
    if not isinstance(size, int):
        return "the size of its axis is not static"
    count = attributes.integer(node, "num_outputs", len(node.outputs))
    part = -(-size // count)
    return (*(part,) * (count - 1), size - part * (count - 1))


def _slice(graph: ir.Graph, node: ir.Node, parts: Sequence[int]) -> str:
    """Put a Slice for every part that is read; returns the end of a line."""
    axis = constants.add(
        graph, f"{node.outputs[0].name}_axis", np.array([attributes.integer(node, "axis", 0)], np.int64)
    )
    taken = {one.name for one in graph if one.name}
    starts = np.concatenate([[0], np.cumsum(parts)])
    made = []
    for place, value in enumerate(node.outputs):
        if not _is_read(value):
            continue
        bounds = [
            constants.add(graph, f"{value.name}_{end}", np.array([starts[place + offset]], np.int64))
            for offset, end in enumerate(("start", "end"))
        ]
        name = naming.unique(f"{node.name or node.op_type}_{place}", taken)
        part = ir.node("Slice", [node.inputs[0], *bounds, axis], name=name)
        graph.insert_before(node, [part])
        made.append(f"'{value.name}'")
        splice.inherit(part.outputs[0], value)
    splice.remove(node)
    return f"{', '.join(made)} {'is a Slice' if len(made) == 1 else 'are Slices'}"


PASS = RemoveDeadOutputs
