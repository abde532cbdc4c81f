"""What each operator does to the factors of its channels; `RULES` lists the operators that are understood.

A rule joins the channels that have to share a factor, and returns None, or a reason why every tensor that the operator
touches keeps its scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.quant.channel_groups import Groups

_CONSTANT = "it works on a constant"


def weight_reason(node: ir.Node) -> str | None:
    """Why the operator with weights `node` cannot take factors into them; None when it can."""
    value = node.inputs[1]
    weight = constants.array(value)
    if value is None or weight is None or weight.dtype != np.float32:
        return "its weights are not constant float32"
    if constants.is_shared(value):
        return f"it shares its weights '{value.name}'"
    if not np.isfinite(weight).all():
        return "its weights are not finite"
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = constants.array(node.inputs[2])
        if bias is None or bias.dtype != np.float32 or not np.isfinite(bias).all():
            return "its bias is not constant, finite float32"
    return None


def clip_bounds(clip: ir.Node) -> tuple[float, float] | None:
    """What a Clip cuts to, infinite where it does not cut; None when that is computed at run time."""
    found = []
    for index, free in ((1, -math.inf), (2, math.inf)):
        value = clip.inputs[index] if index < len(clip.inputs) else None
        bound = free if value is None else constants.scalar(value)
        if bound is None or math.isnan(bound):
            return None
        # Exporters write the largest float32 where they mean no bound.
        found.append(math.copysign(math.inf, bound) if abs(bound) >= float(np.finfo(np.float32).max) else bound)
    return found[0], found[1]


def _weighted(groups: Groups, node: ir.Node) -> str | None:
    """Conv, ConvTranspose, Gemm and MatMul with constant weights end the reach of factors on both sides."""
    if groups.of(node.inputs[0]) is None:
        return _CONSTANT
    if groups.of(node.inputs[1]) is not None:
        return "its weights are computed at run time"
    if node.op_type in ("Gemm", "MatMul"):
        weight = constants.array(node.inputs[1])
        if attributes.integer(node, "transA", 0) or len(groups.shape(node.inputs[0])) != 2:
            return "its channels are not on axis 1"
        if weight is None or weight.ndim != 2:
            return "its weights are not a constant matrix"
    return weight_reason(node)


def _same(groups: Groups, node: ir.Node) -> str | None:
    """Each channel of the outputs is that of input 0; all are one group where their number changes."""
    source = groups.of(node.inputs[0])
    if source is None:
        return _CONSTANT
    for value in node.outputs:
        result = groups.of(value)
        if result is not None and result.size == source.size:
            groups.join(source, result)
        elif result is not None:
            groups.tie(source, result)
    return None


def _whole(groups: Groups, node: ir.Node) -> str | None:
    """Values change places: the whole tensor is one group."""
    found = [ids for value in (node.inputs[0], *node.outputs) if (ids := groups.of(value)) is not None]
    if groups.of(node.inputs[0]) is None:
        return _CONSTANT
    groups.tie(*found)
    return None


def _prelu(groups: Groups, node: ir.Node) -> str | None:
    if constants.array(node.inputs[1]) is None:
        return "its slope is computed at run time"
    return _same(groups, node)


def _dropout(groups: Groups, node: ir.Node) -> str | None:
    training = node.inputs[2] if len(node.inputs) > 2 else None
    if training is not None and constants.scalar(training) != 0:
        return "it may be in training mode"
    return _same(groups, node)


def _clip(groups: Groups, node: ir.Node) -> str | None:
    bounds = clip_bounds(node)
    if bounds is None:
        return "its bounds are computed at run time"
    reason = _same(groups, node)
    if reason is None and any(math.isfinite(bound) and bound != 0 for bound in bounds):
        return _whole(groups, node)  # it has one bound for all channels
    return reason


def _sum(groups: Groups, node: ir.Node) -> str | None:
    """Operands that meet in a sum, a minimum or a maximum have one factor, and constants are scaled with them."""
    result = groups.of(node.outputs[0])
    operands = [value for value in node.inputs if value is not None]
    if result is None or all(groups.of(value) is None for value in operands):
        return _CONSTANT
    for value in operands:
        held = constants.array(value)
        if groups.of(value) is None and (held is None or held.dtype != np.float32):
            return f"its operand '{value.name}' is not constant float32"
    for value in operands:
        ids = groups.along(value, node.outputs[0])
        if ids is not None:
            groups.join(ids, result)
    return None


def _product(groups: Groups, node: ir.Node) -> str | None:
    """A product passes on the factors of one operand, when the other is a constant or keeps its scale."""
    first, second = node.inputs[0], node.inputs[1]
    result, left, right = groups.of(node.outputs[0]), groups.of(first), groups.of(second)
    swap = left is None or (right is not None and groups.is_pinned(left) and not groups.is_pinned(right))
    if swap and node.op_type == "Div":
        return "it divides by an activation"
    scaled, other = (second, right if not swap else left) if swap else (first, right)
    if other is not None and not groups.is_pinned(other):
        return "it multiplies two activations"
    ids = None if scaled is None else groups.along(scaled, node.outputs[0])
    if ids is None or result is None:
        return _CONSTANT
    groups.join(ids, result)
    return None


def _concat(groups: Groups, node: ir.Node) -> str | None:
    result = groups.of(node.outputs[0])
    if result is None:
        return _CONSTANT
    rank = len(groups.shape(node.outputs[0]))
    if attributes.integer(node, "axis", 0) % max(rank, 1) != 1:
        parts = [groups.of(value) for value in node.inputs]
        if any(ids is None for ids in parts):
            return _CONSTANT
        for ids in parts:
            if ids is not None:
                groups.join(ids, result)
        return None
    start = 0
    for value in node.inputs:
        ids = groups.of(value)
        shape = walk.static_shape(value)
        if ids is None and shape is None:
            return _CONSTANT
        size = ids.size if ids is not None else (shape or (0, 0))[1]
        channels = result[start : start + size]
        if ids is None:
            groups.pin_channels(
                channels, f"{walk.label(node)}: '{None if value is None else value.name}' is a constant"
            )
        else:
            groups.join(ids, channels)
        start += size
    return None


def _split(groups: Groups, node: ir.Node) -> str | None:
    source = groups.of(node.inputs[0])
    if source is None:
        return _CONSTANT
    if attributes.integer(node, "axis", 0) % max(len(groups.shape(node.inputs[0])), 1) != 1:
        return _same(groups, node)
    start = 0
    for value in node.outputs:
        ids = groups.of(value)
        if ids is None:
            return _CONSTANT
        groups.join(source[start : start + ids.size], ids)
        start += ids.size
    return None


def _slice(groups: Groups, node: ir.Node) -> str | None:
    source, result = groups.of(node.inputs[0]), groups.of(node.outputs[0])
    if source is None or result is None:
        return _CONSTANT
    given = [_whole_numbers(node, index) for index in range(1, 5)]
    starts, ends, axes, steps = given
    if starts is None or ends is None or any(v is None and len(node.inputs) > i + 1 for i, v in enumerate(given)):
        return "its ends are computed at run time"
    rank = len(groups.shape(node.inputs[0]))
    for index, axis in enumerate(axes if axes is not None else range(len(starts))):
        if axis % max(rank, 1) == 1:
            step = 1 if steps is None else steps[index]
            # A walk down to the very first entry ends below -size, which numpy would count from the end again.
            end = None if step < 0 and ends[index] < -source.size else ends[index]
            source = source[starts[index] : end : step]
    if source.size != result.size:
        return "its ends are not understood"
    groups.join(source, result)
    return None


def _gather(groups: Groups, node: ir.Node) -> str | None:
    source, result = groups.of(node.inputs[0]), groups.of(node.outputs[0])
    picked = constants.array(node.inputs[1])
    if source is None or result is None or picked is None:
        return "what it picks is computed at run time"
    if picked.ndim != 1:
        return _whole(groups, node)
    if attributes.integer(node, "axis", 0) % max(len(groups.shape(node.inputs[0])), 1) != 1:
        return _same(groups, node)
    groups.join(source[picked.astype(np.int64)], result)
    return None


def _pad(groups: Groups, node: ir.Node) -> str | None:
    filling = constants.scalar(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else 0.0
    if attributes.text(node, "mode", "constant") == "constant" and filling != 0:
        return "it does not fill with zeros"
    pads, axes = _whole_numbers(node, 1), _whole_numbers(node, 3)
    if pads is None or (axes is None and len(node.inputs) > 3 and node.inputs[3] is not None):
        return "its borders are computed at run time"
    rank = max(len(groups.shape(node.inputs[0])), 1)
    given = list(range(len(pads) // 2)) if axes is None else [axis % rank for axis in axes]
    widths = {axis: (pads[index], pads[index + len(given)]) for index, axis in enumerate(given)}
    return _same(groups, node) if widths.get(1, (0, 0)) == (0, 0) else _whole(groups, node)


def _resize(groups: Groups, node: ir.Node) -> str | None:
    if attributes.text(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return "it fills in a value of its own"
    return _same(groups, node)


def _reduce(groups: Groups, node: ir.Node) -> str | None:
    rank = max(len(groups.shape(node.inputs[0])), 1)
    axes: tuple[int, ...] | None = attributes.integers(node, "axes", ()) or _whole_numbers(node, 1)
    inside = axes is not None and len(axes) > 0 and all(axis % rank > 1 for axis in axes)
    return _same(groups, node) if inside else _whole(groups, node)


def _transpose(groups: Groups, node: ir.Node) -> str | None:
    order = attributes.integers(node, "perm", ())
    return _same(groups, node) if order[:2] == (0, 1) else _whole(groups, node)


def _reshape(groups: Groups, node: ir.Node) -> str | None:
    """Values keep their order: those that come to lie in one channel are one group."""
    source, result = groups.of(node.inputs[0]), groups.of(node.outputs[0])
    if source is None or result is None:
        return _CONSTANT
    before, after = groups.shape(node.inputs[0]), groups.shape(node.outputs[0])
    if len(before) < 2 or len(after) < 2 or before[0] != after[0] or 0 in before:
        return _whole(groups, node)
    rows = np.repeat(source, math.prod(before[2:])).reshape(after[1], -1)
    for row, channel in zip(rows, result, strict=True):
        groups.tie(np.unique(row), channel[None])
    return None


def _none(groups: Groups, node: ir.Node) -> str | None:  # noqa: ARG001 -- a rule like the others
    """The operator looks at no value."""
    return None


def _whole_numbers(node: ir.Node, index: int) -> tuple[int, ...] | None:
    """The constant integers of input `index`; None when it is absent or computed."""
    held = constants.array(node.inputs[index]) if index < len(node.inputs) else None
    return None if held is None else tuple(int(number) for number in held.reshape(-1))


RULES: Mapping[str, Callable[[Groups, ir.Node], str | None]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), _weighted),
    **dict.fromkeys(("Relu", "LeakyRelu", "Identity", "Abs", "Neg"), _same),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _same),
    **dict.fromkeys(("Add", "Sub", "Sum", "Mean", "Max", "Min"), _sum),
    **dict.fromkeys(("Mul", "Div"), _product),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"), _reduce),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth", "Tile"), _whole),
    **dict.fromkeys(("Shape", "Size"), _none),
    "Clip": _clip,
    "Concat": _concat,
    "Dropout": _dropout,
    "Gather": _gather,
    "PRelu": _prelu,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}
