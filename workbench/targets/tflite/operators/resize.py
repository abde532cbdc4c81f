"""Resize: the TensorFlow flags are chosen by computing where every output cell is read, for ONNX and for each of them.

Coordinates: the Resize operator of the ONNX specification, and `reference_ops::ResizeBilinear` and
`GetNearestNeighbor` of TensorFlow Lite.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor

import numpy as np

from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import Array, Value

# (align_corners, half_pixel_centers) as TensorFlow Lite has them
_FLAGS = ((False, False), (False, True), (True, False))
_FIX = "export with half_pixel and linear, or asymmetric, floor and whole-number scales"


def resize(call: Call) -> Value:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR, when one of their flags reads exactly the cells that ONNX reads."""
    value = call.value(0)
    picture = call.picture(0)
    mode = call.text("mode", "nearest")
    rule = call.text("coordinate_transformation_mode", "half_pixel")
    nearest = call.text("nearest_mode", "round_prefer_floor")
    call.given(1)  # the region of interest, which only tf_crop_and_resize reads
    call.ignore("cubic_coeff_a", "exclude_outside", "extrapolation_value")
    if call.text("keep_aspect_ratio_policy", "stretch") != "stretch" or call.integer("antialias"):
        raise call.refuse("keep_aspect_ratio_policy and antialias are not covered", _FIX)
    if mode not in ("linear", "nearest") or rule not in _RULES or nearest not in _ROUND:
        raise call.refuse(f"mode {mode}, {rule}, {nearest} is not covered", _FIX)
    sizes, scales = _sizes(call, value.shape)
    if tuple(sizes[:2]) != value.shape[:2]:
        raise call.refuse(f"resizing {list(value.shape)} to {sizes} changes more than rows and columns")
    if tuple(sizes) == value.shape and scales == [1.0] * 4:
        return value
    spans = [(value.shape[axis], sizes[axis], scales[axis]) for axis in (2, 3)]
    for align, half in _FLAGS:
        if all(_agree(mode, rule, nearest, align, half, *span) for span in spans):
            raw = call.tf.raw_ops
            function = raw.ResizeBilinear if mode == "linear" else raw.ResizeNearestNeighbor
            made = function(images=picture, size=sizes[2:], align_corners=align, half_pixel_centers=half)
            return Value(made, picture=True, nonnegative=value.nonnegative)
    flags = f"{mode}, {rule}" + (f", {nearest}" if mode == "nearest" else "")
    raise call.refuse(f"{flags} from {list(value.shape[2:])} to {sizes[2:]} reads other cells than TensorFlow", _FIX)


def _sizes(call: Call, shape: tuple[int, ...]) -> tuple[list[int], list[float]]:
    """The output's shape and the scales, in ONNX's order of dimensions."""
    factors = call.optional_constant(2, "list of scales")
    wanted = call.optional_constant(3, "list of sizes")
    axes = call.integers("axes") or list(range(4))
    given = factors if factors is not None else wanted
    if given is None or given.size != len(axes) or sorted({axis % 4 for axis in axes}) != sorted(a % 4 for a in axes):
        raise call.refuse("its scales or sizes do not fit its input")
    sizes, scales = list(shape), [1.0] * 4
    for axis, number in zip(axes, given.reshape(-1), strict=True):
        place = axis % 4
        scales[place] = float(number) if factors is not None else float(number) / shape[place]
        sizes[place] = floor(shape[place] * scales[place]) if factors is not None else int(number)
        if sizes[place] < 1:
            raise call.refuse(f"an output of {sizes[place]} cells")
    return sizes, scales


def _agree(mode: str, rule: str, nearest: str, align: bool, half: bool, size: int, out: int, scale: float) -> bool:
    """Whether TensorFlow Lite's flags read, along one axis, what ONNX reads."""
    theirs = _RULES[rule](np.arange(out, dtype=np.float32), size, out, np.float32(scale))
    step = np.float32((size - 1) / (out - 1) if align and out > 1 else size / out)
    ours = (np.arange(out, dtype=np.float32) + np.float32(0.5 if half else 0)) * step
    if mode == "linear":
        ours = np.clip(ours - np.float32(0.5 if half else 0), 0, size - 1)
        return bool(np.allclose(np.clip(theirs, 0, size - 1), ours, rtol=0, atol=1e-6 * max(size, 16)))
    cells = np.floor(ours + np.float32(0.5)) if align else np.floor(ours)
    return bool(np.array_equal(np.clip(_ROUND[nearest](theirs), 0, size - 1), np.clip(cells, 0, size - 1)))


def _half_pixel(x: Array, _size: int, _out: int, scale: np.float32) -> Array:
    return (x + np.float32(0.5)) / scale - np.float32(0.5)


def _half_pixel_symmetric(x: Array, size: int, out: int, scale: np.float32) -> Array:
    offset = np.float32(size / 2 * (1 - out / (float(scale) * size)))
    return offset + _half_pixel(x, size, out, scale)


def _pytorch_half_pixel(x: Array, size: int, out: int, scale: np.float32) -> Array:
    return _half_pixel(x, size, out, scale) if out > 1 else np.zeros_like(x)


def _align_corners(x: Array, size: int, out: int, _scale: np.float32) -> Array:
    return x * np.float32((size - 1) / (out - 1)) if out > 1 else np.zeros_like(x)


def _asymmetric(x: Array, _size: int, _out: int, scale: np.float32) -> Array:
    return x / scale


_RULES = {
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
}
_ROUND: dict[str, Callable[[Array], Array]] = {
    "ceil": lambda x: np.ceil(x),
    "floor": lambda x: np.floor(x),
    "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
    "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
}
OPERATORS = {"Resize": resize}
