"""Give every Resize its scales, one for each axis, which is what the chips' tables know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.surgery import _resize
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow


@dataclass(frozen=True, kw_only=True)
class ResizeScales(Pass):
    """Write the sizes, the axes and the aspect-ratio policy of a Resize as scales of all its axes.

    A runtime that is given sizes divides them by the input's and goes on with that scale, in float32. Given the same
    scale it reads the same cells with the same shares, so every number stays.

    1. An axis that is not named has scale 1. A region of interest that the coordinate mode does not look at goes.
    2. A quotient whose product with the input's size is less than the size wanted (one in three) becomes the next
       float32. The shares of a blend move by rounding then; a nearest Resize stays if it would read another cell.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """What PyTorch exports for interpolate(size=(6, 9))."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        enlarge (float[1,2,4,4] x) => (float[1,2,6,9] y) <int64[4] sizes = {1, 2, 6, 9}> {
            y = Resize<mode = "linear">(x, , , sizes)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every Resize that says it in another way."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "Resize"):
            said = _said(node)
            if not said:
                continue
            label = walk.label(node)
            axes = _resize.axes(node, known)
            scales = axes if isinstance(axes, str) else _scales(node, axes)
            if isinstance(scales, str):
                left.append(f"{label}: {scales}")
                continue
            _write(model.graph, node, np.array(scales, np.float32))
            changed.append(f"{label}: {said} become scales {[float(f'{scale:.6g}') for scale in scales]}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _said(node: ir.Node) -> str:
    """What there is beside scales of all axes, for the account."""
    found = ["sizes"] if _resize.given(node, 3) is not None else []
    return " and ".join(found + [name for name in ("axes", "keep_aspect_ratio_policy") if name in node.attributes])


def _scales(node: ir.Node, axes: Sequence[_resize.Axis]) -> list[np.float32] | str:
    """A scale for each axis; or why there is none."""
    if "axes" in node.attributes and _looks_at_region(node):
        return "its region is given for some axes"
    found = []
    for place, axis in enumerate(axes):
        fitting = [
            scale
            for scale in (axis.scale, np.nextafter(axis.scale, np.float32(np.inf)))
            if _cells(axis.size, scale) == {axis.out} and _reads_alike(node, axis, scale)
        ]
        if not fitting:
            return f"no float32 scale takes axis {place} from {axis.size} to {axis.out} and reads the same cells"
        found.append(fitting[0])
    return found


def _cells(size: int, scale: np.float32) -> set[int]:
    """How many cells `size` of them become: onnxruntime multiplies in float32, ONNX's shape inference in float64."""
    return {int(np.float32(size) * scale), int(size * float(scale))}


def _reads_alike(node: ir.Node, axis: _resize.Axis, scale: np.float32) -> bool:
    """Whether the axis reads with `scale` what it reads with its own."""
    if scale == axis.scale or attributes.text(node, "mode", "nearest") != "nearest":
        return True
    nearest = attributes.text(node, "nearest_mode", "round_prefer_floor")
    if nearest not in _resize.NEAREST:
        return False
    rule = attributes.text(node, "coordinate_transformation_mode", "half_pixel")
    before, after = (_resize.coordinates(one, rule) for one in (axis, replace(axis, scale=scale)))
    return np.array_equal(_resize.cells(before, nearest, axis.size), _resize.cells(after, nearest, axis.size))


def _looks_at_region(node: ir.Node) -> bool:
    return attributes.text(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"


def _write(graph: ir.Graph, node: ir.Node, scales: constants.Array) -> None:
    for name in ("axes", "keep_aspect_ratio_policy"):
        node.attributes.pop(name, None)
    gone = [node.inputs[3] if len(node.inputs) > 3 else None]
    if not _looks_at_region(node):
        gone.append(node.inputs[1])
        node.replace_input_with(1, None)
    if len(node.inputs) > 3:
        node.replace_input_with(3, None)
    node.resize_inputs(3)
    constants.put(graph, node, 2, scales, f"{node.outputs[0].name}_scales")
    for value in gone:
        if value is not None:
            constants.drop_unused(value)


PASS = ResizeScales
