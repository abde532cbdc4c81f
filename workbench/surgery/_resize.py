"""Where Resize reads each cell of its output, as onnxruntime computes it.

Coordinates: the Resize operator of the ONNX specification; every step in float32, as onnxruntime does it, since a cell
that lies half-way between two others falls to one of them by the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import attributes, constants
from workbench.surgery._formula import Known

Cells = npt.NDArray[np.float32]
F = np.float32
WHOLE = (F(0), F(1))
_TIE = F(1e-6)
_MOST = 1 << 20  # cells of an axis; a file may ask for any number


@dataclass(frozen=True)
class Axis:
    """One axis of a Resize.

    Attributes:
        size: cells before.
        out: cells after.
        scale: what the node says, or ``out / size``; the two differ where ``size * scale`` is rounded.
        region: first and last cell of a crop as fractions of the axis; only tf_crop_and_resize reads it.
    """

    size: int
    out: int
    scale: np.float32
    region: tuple[np.float32, np.float32]


def given(node: ir.Node, index: int) -> ir.Value | None:
    """Input `index` of `node`; an empty constant stands for one that is left out."""
    value = node.inputs[index] if index < len(node.inputs) else None
    array = constants.array(value)
    return None if array is not None and array.size == 0 else value


def axes(node: ir.Node, known: Known) -> tuple[Axis, ...] | str:
    """Every axis of the Resize `node`; or why its cells are not known."""
    rule = attributes.text(node, "coordinate_transformation_mode", "half_pixel")
    if rule not in _RULES:
        return f"ONNX has no coordinate_transformation_mode {rule}"
    dims = known.static(node.inputs[0])
    if dims is None:
        return "the size of its input is not static"
    before, rank = list(dims), len(dims)
    places = [axis % rank for axis in attributes.integers(node, "axes", range(rank))]
    factors, wanted = given(node, 2), given(node, 3)
    numbers = constants.array(factors if factors is not None else wanted)
    if numbers is None or numbers.size != len(places):
        return "its scales or sizes are computed at run time"
    counts = numbers.reshape(-1).astype(np.float64)
    if not (np.isfinite(counts) & (counts > 0)).all():
        return "its scales or sizes are not all above 0"
    if counts.max() > _MOST:
        return f"an axis of {counts.max():g} cells, or so many times as many, is too long"
    after, scales = list(before), [F(1)] * rank
    for place, number in zip(places, numbers.reshape(-1), strict=True):
        scales[place] = F(number) if factors is not None else F(F(number) / F(before[place]))
        after[place] = int(F(before[place]) * scales[place]) if factors is not None else int(number)
    policy = attributes.text(node, "keep_aspect_ratio_policy", "stretch")
    if factors is None and policy != "stretch":
        chosen = min if policy == "not_larger" else max
        if min(attributes.integers(node, "axes", (0,))) < 0:
            return "onnxruntime ignores keep_aspect_ratio_policy where axes are counted from the end, and ONNX does not"
        common = chosen(scales[place] for place in places)
        for place in places:
            scales[place] = common
            after[place] = int(np.floor(F(before[place]) * common + F(0.5)))
    regions = _regions(node, places, rank)
    if isinstance(regions, str):
        return regions
    if min(after) < 1:
        return "its output is empty"
    if max(*before, *after) > _MOST:
        return f"an axis of {max(*before, *after)} cells is too long"
    made = known.dims(node.outputs[0])
    if made and any(isinstance(one, int) and one != size for one, size in zip(made, after, strict=True)):
        return f"onnxruntime gives it {after} cells and ONNX, which rounds another product, {list(made)}"
    # onnxruntime copies all where no size changes, and along an axis whose scale is 1, whatever scales and regions say.
    if after == before and any(scale != 1 for scale in scales):
        return "its scales change no size; onnxruntime copies then, and ONNX does not"
    if any(scale == 1 and region != WHOLE for scale, region in zip(scales, regions, strict=True)):
        return "its region crops an axis whose scale is 1, which ONNX does and onnxruntime does not"
    return tuple(Axis(*four) for four in zip(before, after, scales, regions, strict=True))


def _regions(node: ir.Node, places: list[int], rank: int) -> list[tuple[np.float32, np.float32]] | str:
    regions = [WHOLE] * rank
    if attributes.text(node, "coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize":
        return regions
    roi = constants.array(given(node, 1))
    if roi is None or roi.size != 2 * len(places):
        return "its region is computed at run time"
    flat = roi.reshape(-1).astype(np.float32)
    if not np.isfinite(flat).all():
        return "its region is not finite"
    for index, place in enumerate(places):
        regions[place] = (F(flat[index]), F(flat[len(places) + index]))
    return regions


def coordinates(axis: Axis, rule: str) -> Cells:
    """Where each cell of the output lies among the input's cells.

    Args:
        axis: one of `axes`.
        rule: a ``coordinate_transformation_mode`` of ONNX.

    Returns:
        shape (out,), in cells of the input; it may lie outside 0..size - 1.
    """
    if axis.scale == 1:
        return np.arange(axis.out, dtype=np.float32)
    return _RULES[rule](np.arange(axis.out, dtype=np.float32), axis)


def cells(places: Cells, nearest: str, size: int) -> npt.NDArray[np.int64]:
    """The input cell that each of `places` falls to; those outside fall to the edge."""
    return np.clip(_NEAREST[nearest](places), 0, size - 1).astype(np.int64)


def _half_pixel(x: Cells, axis: Axis) -> Cells:
    return (x + F(0.5)) / axis.scale - F(0.5)


def _half_pixel_symmetric(x: Cells, axis: Axis) -> Cells:
    offset = F(axis.size) / F(2) * (F(1) - F(axis.out) / (axis.scale * F(axis.size)))
    # The one sum that onnxruntime does in float64.
    return (float(offset) + (x.astype(np.float64) + 0.5) / float(axis.scale) - 0.5).astype(np.float32)


def _pytorch_half_pixel(x: Cells, axis: Axis) -> Cells:
    return _half_pixel(x, axis) if axis.out > 1 else np.zeros_like(x)


def _align_corners(x: Cells, axis: Axis) -> Cells:
    return x * F(axis.size - 1) / F(axis.out - 1) if axis.out > 1 else np.zeros_like(x)


def _asymmetric(x: Cells, axis: Axis) -> Cells:
    return x / axis.scale


def _tensorflow(x: Cells, axis: Axis) -> Cells:
    return (x + F(0.5)) / axis.scale


def _crop(x: Cells, axis: Axis) -> Cells:
    first, last = axis.region
    if axis.out == 1:
        return np.full_like(x, F(0.5) * (first + last) * F(axis.size - 1))
    return first * F(axis.size - 1) + x * (last - first) * F(axis.size - 1) / F(axis.out - 1)


_RULES: dict[str, Callable[[Cells, Axis], Cells]] = {
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "tf_crop_and_resize": _crop,
    "tf_half_pixel_for_nn": _tensorflow,
}
# Half-way is what lies within 1e-6 of it: measured in onnxruntime 1.31. Earlier ones took 14.499999 for less than half
# although the exact quotient is 14.5 (microsoft/onnxruntime#28291).
_NEAREST: dict[str, Callable[[Cells], Cells]] = {
    "ceil": lambda x: np.ceil(x),
    "floor": lambda x: np.floor(x),
    "round_prefer_ceil": lambda x: np.floor(x) + (x - np.floor(x) >= F(0.5) - _TIE),
    "round_prefer_floor": lambda x: np.floor(x) + (x - np.floor(x) > F(0.5) + _TIE),
}
NEAREST = tuple(_NEAREST)
"""The values of `nearest_mode`."""
