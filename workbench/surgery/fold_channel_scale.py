"""Fold a convolution that only scales each channel into the convolutions beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, splice, walk
from workbench.surgery._affine import Doubles
from workbench.surgery._pass import Edits, Pass, control_flow

_Span = tuple[float, float]  # the smallest and the largest value that a tensor can hold
_ANY = (-math.inf, math.inf)
_FIXED = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0), "Abs": (0.0, math.inf)}
_WITHIN = ("Identity", "MaxPool", "GlobalMaxPool", "GlobalAveragePool", "AveragePool", "Resize", "Concat", "Add")


@dataclass(frozen=True, kw_only=True)
class FoldChannelScale(Pass):
    """Fold a 1x1 depthwise Conv, stride 1 and unpadded, into the convolutions that read it or the one before.

    1. A Relu or Clip behind goes with it when, by the values that can come in, it does nothing to a channel or leaves
       one value of it: on a tensor that is never negative, Relu(s * x) is max(s, 0) * x, so negative scales become 0.
    2. All readers are Conv: the weights for each of their input channels are scaled, in groups too. A shift goes into
       their bias, unless they pad: the border would lose it.
    3. Otherwise, when a Conv that nothing else reads comes right before, its output channels are scaled and shifted,
       and what is behind stays.
    4. Left alone: a graph output, an activation with work to do, other readers, and weights that are shared, not
       constant or not float32.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """A positive and a negative scale behind a Relu and in front of a padded convolution."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        scaled (float[1,2,2,2] x) => (float[1,1,2,2] y)
        <float[2,1,1,1] scale = {0.5, -2}, float[1,2,3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1}> {
            positive = Relu(x)
            scaled = Conv<group = 2>(positive, scale)
            cut = Relu(scaled)
            y = Conv<pads = [1, 1, 1, 1]>(cut, w)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every such convolution in order, so that a chain of them collapses in one run."""
        changed: list[str] = []
        left = list(control_flow(model))
        spans = _spans(model.graph)
        for conv in walk.nodes(model.graph, "Conv"):
            found = _affine(conv)
            if found is None:
                continue
            if isinstance(found, str):
                left.append(f"{walk.label(conv)}: {found}")
                continue
            name = walk.label(conv)
            done = _into_readers(model.graph, conv, *found, spans)
            into = _into_producer(model.graph, conv, *found) if isinstance(done, str) else done
            if into is None:
                left.append(f"{name}: {done}")
                continue
            changed.append(f"{name}: folded into {', '.join(walk.label(node) for node in into)}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _affine(conv: ir.Node) -> tuple[Doubles, Doubles] | str | None:
    """`conv` as scale and shift, each (channels,); a reason when it is not quite that; None when it is another kind."""
    weight = constants.array(conv.inputs[1])
    if weight is None or not weight.size or weight.ndim < 3 or weight.shape[1:] != (1,) * (weight.ndim - 1):
        return None
    channels = weight.shape[0]
    if attributes.integer(conv, "group", 1) != channels:
        return None
    if any(step != 1 for step in attributes.integers(conv, "strides", ())):
        return "it skips pixels"
    # At stride 1 a single pixel needs no padding by rule, whatever auto_pad says.
    if _pads(conv) and attributes.text(conv, "auto_pad", "NOTSET") == "NOTSET":
        return "it pads"
    shift: constants.Array | None = np.zeros(channels, np.float32)
    if len(conv.inputs) > 2 and conv.inputs[2] is not None:
        shift = constants.array(conv.inputs[2])
    if shift is None:
        return "its bias is computed at run time"
    if weight.dtype != np.float32 or shift.dtype != np.float32 or shift.shape != (channels,):
        return "its weights are not float32, one a channel"
    if not (np.isfinite(weight).all() and np.isfinite(shift).all()):
        return "its weights are not finite"
    return weight.reshape(-1).astype(np.float64), shift.astype(np.float64)


def _into_readers(
    graph: ir.Graph, conv: ir.Node, scale: Doubles, shift: Doubles, spans: Mapping[ir.Value, _Span]
) -> Sequence[ir.Node] | str:
    """Fold into the readers and return them, or why that cannot be done; then nothing was changed."""
    source, last = conv.inputs[0], conv
    if source is None:
        return "it reads nothing"
    bend = walk.only_consumer(conv.outputs[0])
    if bend is not None and walk.is_op(bend, "Relu", "Clip") and bend.inputs[0] is conv.outputs[0]:
        span = spans.get(source, _ANY)
        straight = _straighten(scale, shift, span, _limits(bend))
        if straight is None:
            return f"{walk.label(bend)} cuts it, and {walk.origin(source)} gives values from {span[0]:g} to {span[1]:g}"
        (scale, shift), last = straight, bend
    result = last.outputs[0]
    if result.is_graph_output():
        return f"'{result.name}' is a graph output"
    readers = walk.consumers(result)
    if not readers:
        return "nothing reads it"
    ready = []
    for node in readers:
        if not walk.is_op(node, "Conv") or node.graph is not graph or any(v is result for v in node.inputs[1:]):
            return f"{walk.label(node)} reads it"
        if shift.any() and (_pads(node) or attributes.text(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")):
            return f"{walk.label(node)} pads with zeros, which its shift would change"
        given = _parameters(node)
        if isinstance(given, str):
            return f"{walk.label(node)} {given}"
        weight, bias = given
        groups = attributes.integer(node, "group", 1)
        if groups < 1 or weight.shape[0] % groups or weight.shape[1] * groups != scale.size:
            return f"{walk.label(node)} takes another number of channels"
        across = (groups, weight.shape[0] // groups, weight.shape[1], math.prod(weight.shape[2:]))
        taken = shift.reshape(groups, 1, -1, 1) * weight.reshape(across)
        scaled = scale.reshape(groups, 1, -1, 1) * weight.reshape(across)
        new = scaled.reshape(weight.shape), bias + taken.sum(axis=(2, 3)).reshape(-1)
        if not _fits(*new):
            return f"{walk.label(node)} would have weights too large for float32"
        ready.append(new)
    for node, (weight, bias) in zip(readers, ready, strict=True):
        _write(graph, node, weight, bias)
        node.replace_input_with(0, source)
    if last is not conv:
        splice.remove(last)
    splice.remove(conv)
    return readers


def _into_producer(graph: ir.Graph, conv: ir.Node, scale: Doubles, shift: Doubles) -> Sequence[ir.Node] | None:
    """Fold into the convolution right before and return it; None when there is none that can take it."""
    source = conv.inputs[0]
    layer = walk.producer(source, "Conv")
    if source is None or layer is None or walk.only_consumer(source) is not conv:
        return None
    given = _parameters(layer)
    if isinstance(given, str):
        return None
    weight, bias = given
    if bias.shape != scale.shape:
        return None
    new = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), bias * scale + shift
    if not _fits(*new):
        return None
    _write(graph, layer, *new)
    splice.inherit(source, conv.outputs[0])
    splice.remove(conv)
    return (layer,)


def _parameters(conv: ir.Node) -> tuple[Doubles, Doubles] | str:
    """Weight and bias of `conv`, zeros where it has none, or why they must stay as they are."""
    value = conv.inputs[1]
    weight = constants.array(value)
    if value is None or weight is None or weight.dtype != np.float32:
        return "has weights that are not constant float32"
    if constants.is_shared(value):
        return f"shares its weights '{value.name}'"
    bias: constants.Array | None = np.zeros(weight.shape[0], np.float32)
    if len(conv.inputs) > 2 and conv.inputs[2] is not None:
        bias = constants.array(conv.inputs[2])
    if bias is None or bias.dtype != np.float32 or bias.shape != weight.shape[:1]:
        return "has a bias that is not constant float32, one a channel"
    return weight.astype(np.float64), bias.astype(np.float64)


def _write(graph: ir.Graph, conv: ir.Node, weight: Doubles, bias: Doubles) -> None:
    """Give `conv` these parameters; no bias where there was none and it would be 0."""
    value = conv.inputs[1]
    name = (value.name if value is not None else None) or "weight"
    constants.put(graph, conv, 1, weight.astype(np.float32), name)
    if bias.any() or (len(conv.inputs) > 2 and conv.inputs[2] is not None):
        constants.put(graph, conv, 2, bias.astype(np.float32), f"{name.removesuffix('.weight')}.bias")


def _fits(*arrays: Doubles) -> bool:
    return all(bool((np.abs(array) <= np.finfo(np.float32).max).all()) for array in arrays)


def _pads(conv: ir.Node) -> bool:
    return any(attributes.integers(conv, "pads", ()))


def _straighten(scale: Doubles, shift: Doubles, span: _Span, limits: _Span | None) -> tuple[Doubles, Doubles] | None:
    """Scale and shift of a channel's ``scale * x + shift`` cut to `limits`, for x in `span`; None when that bends."""
    if limits is None:
        return None
    bottom, top = limits
    with np.errstate(invalid="ignore"):
        ends = np.where(scale == 0, 0.0, scale * np.array(span)[:, np.newaxis]) + shift
    low, high = ends.min(axis=0), ends.max(axis=0)
    inside, below, above = (low >= bottom) & (high <= top), high <= bottom, low >= top
    if not (inside | below | above).all():
        return None
    flat = np.where(below, bottom, top)
    return np.where(inside, scale, 0.0), np.where(inside, shift, flat)


def _limits(node: ir.Node) -> _Span | None:
    """Between which numbers a Relu or Clip cuts; None when they are not constant, or crossed."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    given = [*node.inputs[1:], None, None][:2]
    low, high = (free if value is None else constants.scalar(value) for value, free in zip(given, _ANY, strict=True))
    return (low, high) if low is not None and high is not None and low <= high else None


def _spans(graph: ir.Graph) -> dict[ir.Value, _Span]:
    """What the tensors of `graph` can hold, those about which something is known, whatever its inputs are."""
    found: dict[ir.Value, _Span] = {}
    for node in graph:
        if walk.is_op(node, "Relu", "Clip", *_FIXED, *_WITHIN):
            inputs = [found.get(value) or _held(value) for value in node.inputs if value is not None]
            found[node.outputs[0]] = _span(node, inputs)
    return found


def _held(value: ir.Value) -> _Span:
    """The span of a constant."""
    data = constants.array(value)
    if data is None or not data.size or data.dtype.kind not in "fiu":
        return _ANY
    return float(data.min()), float(data.max())


def _span(node: ir.Node, inputs: Sequence[_Span]) -> _Span:
    """What `node` can give when its inputs stay within theirs."""
    if node.op_type in _FIXED:
        return _FIXED[node.op_type]
    low, high = inputs[0]
    if node.op_type in ("Relu", "Clip"):
        limits = _limits(node)
        return _ANY if limits is None else (min(max(low, limits[0]), limits[1]), max(min(high, limits[1]), limits[0]))
    if node.op_type == "AveragePool":
        return min(low, 0.0), max(high, 0.0)  # it may count padding
    if node.op_type == "Resize":
        # Cubic weights may be negative, and this mode fills in a value of its own outside of the picture.
        crops = attributes.text(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
        return _ANY if crops or attributes.text(node, "mode", "nearest") not in ("nearest", "linear") else (low, high)
    if node.op_type == "Concat":
        return min(span[0] for span in inputs), max(span[1] for span in inputs)
    if node.op_type == "Add":
        return sum(span[0] for span in inputs), sum(span[1] for span in inputs)
    return low, high


PASS = FoldChannelScale
