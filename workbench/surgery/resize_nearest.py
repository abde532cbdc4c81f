"""Write every nearest Resize with round_prefer_ceil, the only nearest_mode the chips have, or as Slice or Gather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import attributes, walk
from workbench.surgery import _resize
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow
from workbench.surgery._replace import Replacement

_WANTED = "round_prefer_ceil"
_RULES = ("half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners")  # in order of preference
_SAFE = 1e-3  # cells; what lies this far from half-way falls to the same cell in any arithmetic

Cells = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ResizeNearest(Pass):
    """Replace nearest_mode floor, ceil and round_prefer_floor by what reads exactly the same cells.

    A nearest Resize copies cells: along each axis, output cell i is input cell c(i). These c(i) are worked out as
    onnxruntime does, and whatever reads the same cells gives the same bits.

    1. A Resize with round_prefer_ceil, where one of the coordinate modes half_pixel, asymmetric, pytorch_half_pixel and
       align_corners reads these cells, and no cell lies so near to half-way that the chip could round it otherwise.
       The node's own coordinate mode comes first. Whole-number enlargement always ends here.
    2. A Slice with steps, where all axes read every n-th cell.
    3. A Resize as in 1, where cells lie exactly half-way, which round_prefer_ceil means to round up.
    4. A Gather for each axis that changes, with one list of cells; the axis that shrinks most comes first.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """What PyTorch exports for nn.Upsample(scale_factor=2)."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        upsample (float[1,2,3,3] x) => (float[1,2,6,6] y) <float[4] scales = {1, 1, 2, 2}> {
            y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
                (x, , scales)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every nearest Resize."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "Resize"):
            mode = attributes.text(node, "nearest_mode", "round_prefer_floor")
            if attributes.text(node, "mode", "nearest") != "nearest" or mode == _WANTED:
                continue
            label = walk.label(node)
            rule = attributes.text(node, "coordinate_transformation_mode", "half_pixel")
            axes = _resize.axes(node, known)
            read = axes if isinstance(axes, str) else _read(axes, rule, mode)
            if isinstance(axes, str) or isinstance(read, str):
                left.append(f"{label}: {read}")
            else:
                changed.append(f"{label}: {rule} and {mode} {_rewrite(model.graph, node, axes, read, rule)}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _read(axes: Sequence[_resize.Axis], rule: str, mode: str) -> tuple[Cells, ...] | str:
    """The input cell of each output cell, axis by axis; or why it is not known."""
    if mode not in _resize.NEAREST:
        return f"ONNX has no nearest_mode {mode}"
    found = []
    for axis in axes:
        places = _resize.coordinates(axis, rule)
        if rule == "tf_crop_and_resize" and ((places < 0) | (places > axis.size - 1)).any():
            return "its region reaches beyond the picture, where it writes extrapolation_value"
        found.append(_resize.cells(places, mode, axis.size))
    return tuple(found)


def _rewrite(graph: ir.Graph, node: ir.Node, axes: Sequence[_resize.Axis], read: Sequence[Cells], rule: str) -> str:
    """Put the first form that reads `read`; returns what it is, as the end of a line."""
    rules = sorted(_RULES, key=lambda one: one != rule)
    fitting = [one for one in rules if _agrees(one, axes, read)]
    safe = [one for one in fitting if _margin(one, axes) >= _SAFE]
    strided = all(_step(axis, cells) is not None for axis, cells in zip(axes, read, strict=True))
    if safe:
        return _resized(node, safe[0])
    if strided:
        return _gathered(graph, node, axes, read)
    exact = [one for one in fitting if _margin(one, axes) == 0]
    return _resized(node, exact[0]) if exact else _gathered(graph, node, axes, read)


def _resized(node: ir.Node, rule: str) -> str:
    node.attributes["coordinate_transformation_mode"] = ir.AttrString("coordinate_transformation_mode", rule)
    node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", _WANTED)
    return f"read the same cells as {rule} and {_WANTED}"


def _gathered(graph: ir.Graph, node: ir.Node, axes: Sequence[_resize.Axis], read: Sequence[Cells]) -> str:
    """A Slice for all axes that read every n-th cell, then a Gather for each of the others."""
    new = Replacement(graph, node)
    value = node.inputs[0]
    shape = [axis.size for axis in axes]
    steps = {place: _step(axis, cells) for place, (axis, cells) in enumerate(zip(axes, read, strict=True))}
    cut = {place: step for place, step in steps.items() if step and not _whole(axes[place], read[place])}
    if cut:
        for place in cut:
            shape[place] = axes[place].out
        lists = {
            "starts": [int(read[place][0]) for place in cut],
            "ends": [int(read[place][-1]) + 1 for place in cut],
            "axes": list(cut),
            "steps": list(cut.values()),
        }
        operands = [new.constant(np.array(numbers, np.int64), key) for key, numbers in lists.items()]
        value = new.add("Slice", [value, *operands], suffix="strided", shape=shape)
    rest = [place for place, step in steps.items() if step is None]
    for place in sorted(rest, key=lambda place: (axes[place].out / axes[place].size, place)):
        shape[place] = axes[place].out
        cells = new.constant(read[place].astype(np.int32), f"cells_{place}")
        value = new.add("Gather", [value, cells], {"axis": place}, suffix=f"axis_{place}", shape=shape)
    return f"become {new.finish()}"


def _whole(axis: _resize.Axis, cells: Cells) -> bool:
    """Whether an axis stays as it is."""
    return axis.out == axis.size and bool((cells == np.arange(axis.size)).all())


def _step(axis: _resize.Axis, cells: Cells) -> int | None:
    """n, where an axis reads every n-th cell; None where it does not."""
    if axis.out == 1:
        return 1
    steps = np.unique(np.diff(cells))
    return int(steps[0]) if steps.size == 1 and steps[0] >= 1 else None


def _agrees(rule: str, axes: Sequence[_resize.Axis], read: Sequence[Cells]) -> bool:
    """Whether `rule` with round_prefer_ceil reads `read` along every axis."""
    return all(
        np.array_equal(_resize.cells(_resize.coordinates(axis, rule), _WANTED, axis.size), cells)
        for axis, cells in zip(axes, read, strict=True)
    )


def _margin(rule: str, axes: Sequence[_resize.Axis]) -> float:
    """How near a cell that the edge does not decide comes to half-way between two, in cells; 0 when it is exact."""
    nearest = np.inf
    for axis in axes:
        places = _resize.coordinates(axis, rule)
        inner = places[(places > 0) & (places < axis.size - 1)]
        if inner.size:
            nearest = min(nearest, float(np.abs(inner - np.floor(inner) - np.float32(0.5)).min()))
    return nearest


PASS = ResizeNearest
