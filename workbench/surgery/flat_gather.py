"""Give every Gather one list of indices, the only form the chips take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow


@dataclass(frozen=True, kw_only=True)
class FlatGather(Pass):
    """Write a Gather by one index, or by a table of them, as a Gather by a list and a Squeeze or Reshape.

    Gather puts the axes of its indices in the place of the axis it reads (ONNX operator reference), so to gather by all
    indices in a row and to cut that axis up afterwards is the same. Numbers are only moved.

    1. One index (the ``x[:, 0]`` of PyTorch): a list of one, and a Squeeze.
    2. A table: its entries in a row, and a Reshape. Indices that are computed at run time are flattened by a Reshape.
    3. Left alone: a table where the size of the input or of the table is not known.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """The first row of a picture."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        row (float[1,2,3] x) => (float[1,3] y) <int64 first = {0}> {
            y = Gather<axis = 1>(x, first)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every Gather."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "Gather"):
            shape, table = known.static(node.inputs[0]), known.static(node.inputs[1])
            rank, dims = known.dims(node.inputs[1]), known.dims(node.inputs[0])
            if rank is not None and len(rank) == 1:
                continue
            if dims is None or table is None or (table and shape is None):
                left.append(f"{walk.label(node)}: the size of its input or of its indices is not static")
                continue
            axis = attributes.integer(node, "axis", 0) % len(dims)
            label, formula = walk.label(node), Formula(model.graph, node)
            _gather(formula, node, axis, shape, table, known)
            changed.append(f"{label}: indices of {len(table)} axes are a list ({formula.finish()})")
        return Edits(changed=tuple(changed), left=tuple(left))


def _gather(
    f: Formula, node: ir.Node, axis: int, shape: tuple[int, ...] | None, table: tuple[int, ...], known: Known
) -> None:
    """Put the nodes; the last makes what `node` made."""
    indices = constants.array(node.inputs[1])
    if indices is not None:
        listed = f.constant(np.ascontiguousarray(indices.reshape(-1)), "indices")
    else:
        row = f.constant(np.asarray([-1], np.int64), "row")
        listed = f("Reshape", node.inputs[1], row, kind=known.kind(node.inputs[1]))
    value = f("Gather", node.inputs[0], listed, axis=axis)
    if not table or shape is None:
        f("Squeeze", value, f.constant(np.asarray([axis], np.int64), "axis"))
        return
    whole = (*shape[:axis], *table, *shape[axis + 1 :])
    f("Reshape", value, f.constant(np.asarray(whole, np.int64), "shape"))


PASS = FlatGather
