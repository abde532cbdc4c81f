"""Operators that take tensors apart, put them together or move their cells, along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import TO_NHWC, Value, as_picture, as_plain, permute


def concat(call: Call) -> Value:
    """CONCATENATION."""
    values = call.values()
    picture = any(value.picture for value in values)
    axis = call.integer("axis")
    rank = len(values[0].shape)
    if any(len(value.shape) != rank for value in values) or not -rank <= axis < rank:
        raise call.refuse(f"axis {axis} of tensors of shapes {[list(value.shape) for value in values]}")
    tensors = [as_picture(call.tf, value) if picture else as_plain(call.tf, value) for value in values]
    axis %= rank
    made = call.tf.concat(tensors, TO_NHWC.index(axis) if picture else axis)
    return Value(made, picture, all(value.never_negative for value in values))


def split(call: Call) -> list[Value]:
    """SPLIT or SPLIT_V."""
    value = call.value(0)
    asked = call.integer("axis")
    axis = call.axis(asked, value)
    size = value.shape[asked]
    sizes = call.constant_integers(1, "list of sizes")
    count = call.integer("num_outputs", len(call.node.outputs))
    if sizes is None:
        part = -(-size // count)
        sizes = [part] * (count - 1) + [size - part * (count - 1)]
    if sum(sizes) != size or min(sizes) < 1 or len(sizes) != len(call.node.outputs):
        raise call.refuse(f"parts {sizes} of an axis of {size} for {len(call.node.outputs)} outputs")
    tensor = call.tensor(0)
    parts = call.tf.split(tensor, len(sizes) if len(set(sizes)) == 1 else sizes, axis)
    return [Value(part, value.picture, value.nonnegative) for part in parts]


def slice_(call: Call) -> Value:
    """STRIDED_SLICE."""
    value = call.value(0)
    starts = call.constant_integers(1, "list of starts") or []
    ends = call.constant_integers(2, "list of ends") or []
    axes = call.constant_integers(3, "list of axes") or list(range(len(starts)))
    steps = call.constant_integers(4, "list of steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise call.refuse(f"starts {starts}, ends {ends}, axes {axes}, steps {steps} do not go together")
    cuts = [slice(None)] * len(value.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        first, last, stride = slice(start, end, step).indices(value.shape[axis])
        if not range(first, last, stride):
            raise call.refuse(f"starts {starts}, ends {ends} leave nothing")
        cuts[call.axis(axis, value)] = slice(first, None if last < 0 else last, stride)
    return Value(call.tensor(0)[tuple(cuts)], value.picture, value.nonnegative)


def pad(call: Call) -> Value:
    """PAD, PADV2 or MIRROR_PAD."""
    value = call.value(0)
    rank = len(value.shape)
    pads = call.constant_integers(1, "list of pads") or []
    fill = call.optional_constant(2, "padding value")
    axes = call.constant_integers(3, "list of axes") or list(range(rank))
    mode = call.text("mode", "constant")
    if len(pads) != 2 * len(axes) or min(pads, default=0) < 0:
        raise call.refuse(f"pads = {pads} for {len(axes)} axes are not covered")
    if mode not in ("constant", "reflect"):
        raise call.refuse(f"attribute mode = {mode!r} is not covered")
    number = 0.0 if fill is None else fill.reshape(-1)[0]
    amounts = [[0, 0] for _ in range(rank)]
    for index, axis in enumerate(axes):
        amounts[call.axis(axis, value)] = [pads[index], pads[index + len(axes)]]
    tensor = call.tensor(0)
    made = call.tf.pad(tensor, amounts, mode.upper(), **({"constant_values": number} if mode == "constant" else {}))
    return Value(made, value.picture, value.nonnegative and number >= 0)


def transpose(call: Call) -> Value:
    """Nothing when it only undoes, or does, the change to NHWC; TRANSPOSE otherwise."""
    value = call.value(0)
    rank = len(value.shape)
    order = call.integers("perm") or list(range(rank))[::-1]
    if sorted(order) != list(range(rank)):
        raise call.refuse(f"attribute perm = {order} of a tensor of rank {rank}")
    stored = [TO_NHWC.index(axis) if value.picture else axis for axis in order]
    tensor = call.tensor(0)
    if rank == 4 and stored != list(range(4)):
        return Value(permute(call.tf, tensor, [stored[axis] for axis in TO_NHWC]), True, value.nonnegative)
    return Value(permute(call.tf, tensor, stored), nonnegative=value.nonnegative)


def gather(call: Call) -> Value:
    """GATHER with constant indices."""
    value = call.value(0)
    indices = call.constant(1, "list of indices")
    asked = call.integer("axis")
    axis = call.axis(asked, value)
    if indices.ndim > 1:
        raise call.refuse(f"indices of shape {list(indices.shape)} are not covered")
    size = value.shape[asked]
    places = np.where(indices < 0, indices + size, indices).astype(np.int32).reshape(-1)
    if places.size == 0 or places.min() < 0 or places.max() >= size:
        raise call.refuse(f"indices outside an axis of {size}")
    made = Value(call.tf.gather(call.tensor(0), places, axis=axis), value.picture, value.nonnegative)
    if indices.ndim:
        return made
    shape = [size for index, size in enumerate(made.shape) if index != asked % len(made.shape)]
    return Value(call.tf.reshape(as_plain(call.tf, made), shape), nonnegative=value.nonnegative)


def space_to_depth(call: Call) -> Value:
    """SPACE_TO_DEPTH; both formats put the block before the channel."""
    block = call.integer("blocksize")
    return Value(call.tf.nn.space_to_depth(call.picture(0), block), True, call.value(0).nonnegative)


def depth_to_space(call: Call) -> Value:
    """DEPTH_TO_SPACE; mode CRD, where the channel comes before the block, needs its channels reordered first."""
    picture: Any = call.picture(0)
    block = call.integer("blocksize")
    mode = call.text("mode", "DCR")
    channels = int(picture.shape[3])
    if mode not in ("DCR", "CRD") or block < 1 or channels % block**2:
        raise call.refuse(f"mode = {mode!r} with blocksize = {block} of {channels} channels")
    if mode == "CRD":
        order = np.arange(channels, dtype=np.int32).reshape(-1, block**2).T.reshape(-1)
        picture = call.tf.gather(picture, order, axis=3)
    return Value(call.tf.nn.depth_to_space(picture, block), True, call.value(0).nonnegative)


OPERATORS: dict[str, Callable[[Call], Value | list[Value]]] = {
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Gather": gather,
    "Pad": pad,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Transpose": transpose,
}
