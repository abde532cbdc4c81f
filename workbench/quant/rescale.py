"""Multiply the channels of a network's tensors by factors, exactly: by its constants alone, outputs unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.quant.channel_rules import clip_bounds, weight_reason
from workbench.quant.channels import Doubles, Spaces

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_SUMS = ("Add", "Sub", "Sum", "Mean", "Max", "Min")


@dataclass(frozen=True)
class Layer:
    """An operator with weights whose both sides can take factors.

    Args:
        node: Conv, ConvTranspose, or a Gemm or MatMul of a matrix.
        source: the activation it reads.
        result: the activation it makes.
        weight: (groups, outputs of a group, inputs of a group, taps), float64.
    """

    node: ir.Node
    source: str
    result: str
    weight: Doubles


def layers(model: ir.Model, found: Spaces) -> list[Layer]:
    """The operators of `model` that end the reach of factors, in graph order."""
    result = []
    for node in walk.nodes(model.graph, *_WEIGHTED):
        names = [str(value.name) if value is not None else "" for value in (node.inputs[0], node.outputs[0])]
        if any(name not in found.ids for name in names) or weight_reason(node) is not None:
            continue
        weight = _across(node)
        if weight is None:
            continue
        count, outputs, inputs, _ = weight.shape
        # A stack of matrices with as many rows as columns has channels that only look like those of its weight.
        if [count * inputs, count * outputs] != [found.ids[name].size for name in names]:
            continue
        result.append(Layer(node, names[0], names[1], weight))
    return result


@dataclass(frozen=True)
class _Write:
    """A constant to put in place of input `index` of `node`."""

    node: ir.Node
    index: int
    data: npt.NDArray[np.float32]
    groups: frozenset[int]


def rescale(model: ir.Model, found: Spaces, chosen: Mapping[int, float]) -> dict[int, str]:
    """Multiply every channel by the factor of its group; the model is changed in place, and computes the same.

    Args:
        model: that `found` was made from.
        found: its groups.
        chosen: positive factors by group; groups without one keep their scale.

    Returns:
        the groups of `chosen` whose factor was not applied, and why.

    Raises:
        ValueError: a factor is not positive and finite.
    """
    if not all(math.isfinite(factor) and factor > 0 for factor in chosen.values()):
        raise ValueError("factors have to be positive and finite")
    declined = {group: found.pinned[group] for group in sorted(chosen) if group in found.pinned}
    while True:
        kept = {group: factor for group, factor in chosen.items() if factor != 1 and group not in declined}
        writes, refused = _writes(model, found, kept)
        if not refused:
            break
        declined.update(refused)
    for write in writes:
        old = write.node.inputs[write.index]
        constants.put(model.graph, write.node, write.index, write.data, str(None if old is None else old.name))
    return declined


def _writes(model: ir.Model, found: Spaces, kept: Mapping[int, float]) -> tuple[list[_Write], dict[int, str]]:
    """All constants to be changed, and the groups whose factors would leave what float32 holds."""
    writes = [write for layer in layers(model, found) for write in _layer(layer, found, kept)]
    for node in walk.nodes(model.graph, "Clip", *_SUMS):
        name = str(node.outputs[0].name)
        if name in found.ids:
            writes += _bounds(node, found, kept) if node.op_type == "Clip" else _operands(node, found, kept)
    refused: dict[int, str] = {}
    for write in writes:
        old = constants.array(write.node.inputs[write.index])
        if old is not None and not _fits(old, write.data):
            reason = f"{walk.label(write.node)}: '{_name(write)}' would leave the range of float32"
            refused.update(dict.fromkeys(sorted(write.groups & kept.keys()), reason))
    return writes, refused


def _layer(layer: Layer, found: Spaces, kept: Mapping[int, float]) -> list[_Write]:
    node = layer.node
    before, after = found.factors(layer.source, kept), found.factors(layer.result, kept)
    if (before == 1).all() and (after == 1).all():
        return []
    count, outputs, inputs, _ = layer.weight.shape
    scaled = layer.weight * after.reshape(count, outputs, 1, 1) / before.reshape(count, 1, inputs, 1)
    groups = frozenset(found.ids[layer.source].tolist()) | frozenset(found.ids[layer.result].tolist())
    writes = [_Write(node, 1, _single(_back(node, scaled)), groups)]
    bias = constants.array(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None and (after != 1).any():
        # A Gemm's bias is broadcast: along its last axis lie the outputs, or one value for all.
        writes.append(_Write(node, 2, _single(bias.astype(np.float64) * after), groups))
    return writes


def _bounds(node: ir.Node, found: Spaces, kept: Mapping[int, float]) -> list[_Write]:
    ids = found.ids[str(node.outputs[0].name)]
    bounds = clip_bounds(node)
    if bounds is None or not ids.size:
        return []
    factor = kept.get(int(ids[0]), 1.0)
    writes = []
    for index, bound in enumerate(bounds, 1):
        # Without a finite bound other than 0 the channels may differ, and nothing has to move.
        if factor != 1 and math.isfinite(bound) and bound != 0:
            held = constants.array(node.inputs[index])
            shape = () if held is None else held.shape
            writes.append(_Write(node, index, _single(np.full(shape, bound * factor)), frozenset(ids.tolist())))
    return writes


def _operands(node: ir.Node, found: Spaces, kept: Mapping[int, float]) -> list[_Write]:
    name = str(node.outputs[0].name)
    factors = found.factors(name, kept)
    if (factors == 1).all():
        return []
    rank = len(walk.static_shape(node.outputs[0]) or ())
    writes = []
    for index, value in enumerate(node.inputs):
        held = constants.array(value)
        if held is None:
            continue
        along = factors.reshape([-1 if axis == 1 else 1 for axis in range(rank)]) if rank > 1 else factors
        one = (factors == factors[0]).all()
        data = held.astype(np.float64) * (factors[0] if one else along)
        writes.append(_Write(node, index, _single(data), frozenset(found.ids[name].tolist())))
    return writes


def _across(node: ir.Node) -> Doubles | None:
    """The weight of `node` as (groups, outputs of a group, inputs of a group, taps)."""
    held = constants.array(node.inputs[1])
    if held is None:
        return None
    weight = held.astype(np.float64)
    if node.op_type in ("Gemm", "MatMul"):
        matrix = weight if attributes.integer(node, "transB", 0) else weight.T
        return matrix[np.newaxis, :, :, np.newaxis] if weight.ndim == 2 else None
    count = attributes.integer(node, "group", 1)
    if weight.ndim < 3 or not weight.size or weight.shape[0] % count:
        return None
    taps = math.prod(weight.shape[2:])
    if node.op_type == "Conv":
        return weight.reshape(count, weight.shape[0] // count, weight.shape[1], taps)
    return weight.reshape(count, weight.shape[0] // count, weight.shape[1], taps).swapaxes(1, 2)


def _back(node: ir.Node, weight: Doubles) -> Doubles:
    """What `_across` made, in the layout of the operator."""
    held = constants.array(node.inputs[1])
    shape = () if held is None else held.shape
    if node.op_type in ("Gemm", "MatMul"):
        matrix = weight[0, :, :, 0]
        return matrix if attributes.integer(node, "transB", 0) else matrix.T
    return (weight if node.op_type == "Conv" else weight.swapaxes(1, 2)).reshape(shape)


def _single(data: Doubles) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore", under="ignore"):
        return np.ascontiguousarray(data).astype(np.float32)


def _fits(old: constants.Array, new: npt.NDArray[np.float32]) -> bool:
    """Whether nothing overflowed, and nothing that matters was lost below the smallest float32."""
    if not np.isfinite(new[np.isfinite(np.broadcast_to(old, new.shape))]).all():
        return False
    largest = float(np.abs(new).max(initial=0.0))
    return largest >= 2.0**-100 or float(np.abs(old).max(initial=0.0)) == largest


def _name(write: _Write) -> str:
    value = write.node.inputs[write.index]
    return str(None if value is None else value.name)
