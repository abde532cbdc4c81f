"""Split the range of one activation between copies of its channels, so that its grid has finer steps.

What lies between 0 and b is the sum of what lies in each of k slices: ``Clip(p, 0, b) = sum over j < k of
Clip(p - j * b/k, 0, b/k)``. The layer before makes p - j * b/k with its rows repeated and its biases shifted; the
layers behind take the sum with their columns repeated. A tensor of slices reaches from 0 to b/k, so its steps are k
times finer; and of the slices of one value all but one are 0 or b/k, which both lie on the grid. 0 is 0 in every slice,
so that padding stays what it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from workbench.catalog import did_you_mean
from workbench.errors import UnsupportedError
from workbench.graph import attributes, constants, naming, shapes, walk

FEWEST, MOST = 2, 16
"""How many parts a range may be split into."""

# A Clip that is filled up to here is split evenly, into one Conv; below, the slices above what was seen would be idle.
_FILLED = 0.75
_TINY, _HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def split_range(model: ir.Model, tensor: str, parts: int, top: float | None = None) -> None:
    """Replace `tensor` by a tensor with `parts` times the channels whose steps are that much finer; equal in float.

    A Clip from 0 to b stays one Conv and one Clip, to b / parts. A Relu, and a Clip whose `top` is far below b, become
    two of each and a Concat: the last slice takes all that lies above, so that nothing is cut off that was not before.
    Behind a Conv with groups there are `parts` of each. The tensor of slices is called ``<tensor>/split``; what is not
    repeated keeps its name.

    Args:
        model: a float graph; changed in place, its shapes inferred anew. Unchanged after an error.
        tensor: the output of a Relu, or of a Clip from 0, right behind a Conv; only Convs with group 1 may read it.
        parts: 2 to 16; with powers of two the slices of a Relu6 are exact numbers.
        top: the largest value observed; a Relu needs it.

    Raises:
        UnsupportedError: `tensor` does not exist or is no such activation, `parts` is out of range, or `top` is
            missing or not a positive number.
    """
    place = _named(model, tensor)
    where = walk.label(place.bend)
    if not FEWEST <= parts <= MOST:
        what = f"tensor {tensor!r} cannot be split into {parts} parts"
        raise UnsupportedError(what, where=where, fix=f"choose {FEWEST} to {MOST}, best a power of two")
    if top is None and math.isinf(place.bound):
        raise UnsupportedError(
            f"the range of tensor {tensor!r} has no end", where=where, fix="give the largest value observed as its top"
        )
    reach = place.bound if top is None else min(top, place.bound)
    if not parts * _TINY <= reach <= _HUGE:  # nor is NaN between them
        what = f"tensor {tensor!r} reaches {reach:g}, which is no range to split"
        raise UnsupportedError(what, where=where, fix="split another tensor, or observe it on other pictures")
    filled = reach >= _FILLED * place.bound
    step = float(np.float32((place.bound if filled else reach) / parts))
    if filled and _groups(place.conv) == 1:
        _evenly(model.graph, place, parts, step)
    else:
        _with_rest(model.graph, place, parts, step)
    shapes.refresh(model)


def splittable(model: ir.Model) -> dict[str, int]:
    """The tensors that `split_range` takes, in graph order, with what each part beyond the first costs.

    Args:
        model: a float graph; unchanged but for inferred shapes.

    Returns:
        by tensor, the multiplications a picture: once more those of the layer before and of the layers behind.

    Raises:
        UnsupportedError: the shapes of such a layer are not static.
    """
    shapes.refresh(model)
    found: dict[str, int] = {}
    for node in walk.nodes(model.graph, "Relu", "Clip"):
        value = node.outputs[0]
        place = _place(value)
        if value.name and isinstance(place, _Place):
            found[value.name] = sum(macs(conv) for conv in (place.conv, *place.readers))
    return found


def macs(conv: ir.Node) -> int:
    """The multiplications of `conv` for one picture.

    Raises:
        UnsupportedError: its shapes are not static.
    """
    made, weight = conv.outputs[0].shape, walk.static_shape(conv.inputs[1])
    pixels = () if made is None else tuple(dim for dim in made[1:] if isinstance(dim, int))
    if made is None or weight is None or len(pixels) != len(made) - 1:
        raise UnsupportedError(
            f"tensor {conv.outputs[0].name!r} has a dynamic shape: {made}",
            where=walk.label(conv),
            fix="give every input a static shape (surgery pass static_batch) and simplify",
        )
    return math.prod(pixels) * math.prod(weight[1:])


def unfit_reader(node: ir.Node, value: ir.Value) -> str | None:
    """Why the weights of `node` cannot take repeated channels of `value`, or None when they can."""
    if not walk.is_op(node, "Conv") or node.graph is not value.graph or any(v is value for v in node.inputs[1:]):
        return f"{walk.label(node)} reads it"
    if _groups(node) != 1:
        return f"{walk.label(node)} reads it in groups"
    return _unfit_weight(node)


def fresh_node_name(graph: ir.Graph, wanted: str) -> str:
    """`wanted`, or `wanted` with the first number that no node of the graph uses."""
    return naming.unique(wanted, {node.name for node in graph if node.name})


@dataclass(frozen=True)
class _Place:
    """An activation that can be split: its Conv, its Relu or Clip, where that ends (or inf), and who reads it."""

    conv: ir.Node
    bend: ir.Node
    bound: float
    readers: tuple[ir.Node, ...]


def _named(model: ir.Model, tensor: str) -> _Place:
    """Where `tensor` can be split."""
    value = walk.tensors(model.graph).get(tensor)
    if value is None:
        bends = walk.nodes(model.graph, "Relu", "Clip")
        known = [str(node.outputs[0].name) for node in bends if isinstance(_place(node.outputs[0]), _Place)]
        near = did_you_mean(tensor, known)
        fix = near if near.startswith("did") or not known else f"{len(known)} can be split; {near[:300]}"
        raise UnsupportedError(f"no tensor called {tensor!r}", fix=fix)
    place = _place(value)
    if isinstance(place, str):
        fix = "leave it whole, or give it 16 bits"
        raise UnsupportedError(f"tensor {tensor!r} cannot be split: {place}", where=walk.origin(value), fix=fix)
    return place


def _place(value: ir.Value) -> _Place | str:
    """Where `value` can be split, or why not."""
    bend = walk.producer(value, "Relu", "Clip")
    if bend is None:
        return "it is not the output of a Relu or Clip"
    bound = _bound(bend)
    if bound is None:
        return "its Clip does not go from 0 to a constant"
    before = bend.inputs[0]
    conv = walk.producer(before, "Conv")
    if before is None or conv is None:
        return "no Conv comes right before"
    if walk.only_consumer(before) is not bend:
        return f"{walk.readers(before)} read what its Conv makes"
    unfit = _unfit_weight(conv)
    if unfit is not None:
        return unfit
    if value.is_graph_output():
        return "it is a graph output"
    readers = walk.consumers(value)
    if not readers:
        return "nothing reads it"
    for node in readers:
        unfit = unfit_reader(node, value)
        if unfit is not None:
            return unfit
    return _Place(conv, bend, bound, readers)


def _bound(bend: ir.Node) -> float | None:
    """Up to where `bend` lets values from 0 through; None when it does something else."""
    if bend.op_type == "Relu":
        return math.inf
    low, high = [*bend.inputs[1:], None, None][:2]
    if constants.scalar(low) != 0:
        return None
    end = math.inf if high is None else constants.scalar(high)
    return end if end is not None and end > 0 else None


def _unfit_weight(conv: ir.Node) -> str | None:
    """Why the weight or bias of `conv` cannot be rewritten, or None when they can."""
    weight = conv.inputs[1]
    data = constants.array(weight)
    if weight is None or data is None or data.dtype != np.float32:
        return f"{walk.label(conv)} has weights that are not constant float32"
    if constants.is_shared(weight):
        return f"{walk.label(conv)} shares its weights '{weight.name}'"
    if len(conv.inputs) > 2 and conv.inputs[2] is not None:
        bias = constants.array(conv.inputs[2])
        if bias is None or bias.dtype != np.float32 or bias.shape != data.shape[:1]:
            return f"{walk.label(conv)} has a bias that is not constant float32, one a channel"
    return None


def _evenly(graph: ir.Graph, place: _Place, parts: int, step: float) -> None:
    """Slices of one height: the Conv makes them all, slices of a channel side by side, and one Clip cuts them."""
    weight, bias = _held(place.conv)
    constants.put(graph, place.conv, 1, np.repeat(weight, parts, axis=0), _weight_name(place.conv))
    constants.put(graph, place.conv, 2, _shifted(bias, step, 0, parts), f"{_weight_name(place.conv)}/bias")
    before, value = place.conv.outputs[0], place.bend.outputs[0]
    constants.put(graph, place.bend, 2, np.asarray(step, np.float32), f"{value.name}/step")
    for node in place.readers:
        constants.put(graph, node, 1, np.repeat(_held(node)[0], parts, axis=1), _weight_name(node))
    for made in (before, value):
        made.name = walk.fresh_name(graph, f"{made.name}/split")


def _with_rest(graph: ir.Graph, place: _Place, parts: int, step: float) -> None:
    """Slices from below by Convs and Clips of their own; the old Conv makes the last, up to where it went before."""
    weight, bias = _held(place.conv)
    name = _weight_name(place.conv)
    before, value = place.conv.outputs[0], place.bend.outputs[0]
    last = parts - 1
    ends = {"min": 0.0, "max": step}
    bounds = [constants.add(graph, f"{value.name}/low/{end}", np.asarray(at, np.float32)) for end, at in ends.items()]
    # One depthwise Conv could make several channels of each, but few kernels are made for that: on CPM the network with
    # three tensors in 4 parts (18 % more MACs) took 61 % longer in onnxruntime, with copies of the layer 18 to 28 %.
    runs = [(0, last)] if _groups(place.conv) == 1 else [(at, at + 1) for at in range(last)]
    slices = []
    for first, end in runs:
        rows = constants.add(graph, f"{name}/low", np.repeat(weight, end - first, axis=0))
        shifts = constants.add(graph, f"{name}/low/bias", _shifted(bias, step, first, end))
        conv = _like(graph, place.conv, f"{before.name}/low", place.conv.inputs[0], rows, shifts)
        graph.insert_before(place.conv, conv)
        low = ir.node("Clip", [conv.outputs[0], *bounds], name=fresh_node_name(graph, f"{value.name}/low"))
        low.outputs[0].name = walk.fresh_name(graph, f"{value.name}/low")
        graph.insert_before(place.conv, low)
        slices.append(low.outputs[0])
    constants.put(graph, place.conv, 2, _shifted(bias, step, last, parts), f"{name}/bias")
    if not math.isinf(place.bound):
        rest = np.asarray(place.bound - last * step, np.float32)
        constants.put(graph, place.bend, 2, rest, f"{value.name}/high/max")
    split = ir.node("Concat", [*slices, value], attributes={"axis": 1})
    split.name = fresh_node_name(graph, f"{value.name}/split")
    split.outputs[0].name = walk.fresh_name(graph, f"{value.name}/split")
    graph.insert_after(place.bend, split)
    for node in place.readers:
        columns = _held(node)[0]
        repeated = [np.repeat(columns, end - first, axis=1) for first, end in (*runs, (last, parts))]
        constants.put(graph, node, 1, np.concatenate(repeated, axis=1), _weight_name(node))
        node.replace_input_with(0, split.outputs[0])
    for made in (before, value):
        made.name = walk.fresh_name(graph, f"{made.name}/high")


def _like(graph: ir.Graph, conv: ir.Node, name: str, *inputs: ir.Value | None) -> ir.Node:
    """A node with the attributes of `conv` and other inputs, not yet in the graph."""
    copy = ir.Node("", "Conv", inputs, list(conv.attributes.values()), name=fresh_node_name(graph, name))
    copy.outputs[0].name = walk.fresh_name(graph, name)
    return copy


def _held(conv: ir.Node) -> tuple[constants.Array, constants.Array]:
    """The weight of `conv` and its bias, zeros where it has none."""
    weight = np.asarray(constants.array(conv.inputs[1]))
    bias = constants.array(conv.inputs[2]) if len(conv.inputs) > 2 else None
    return weight, np.zeros(weight.shape[0], np.float32) if bias is None else bias


def _shifted(bias: constants.Array, step: float, first: int, last: int) -> constants.Array:
    """The biases of slices `first` to `last` - 1 of each channel, side by side."""
    shifts = step * np.arange(first, last, dtype=np.float64)
    return (bias.astype(np.float64)[:, np.newaxis] - shifts).reshape(-1).astype(np.float32)


def _groups(conv: ir.Node) -> int:
    return attributes.integer(conv, "group", 1)


def _weight_name(conv: ir.Node) -> str:
    value = conv.inputs[1]
    return (value.name if value is not None else None) or "weight"
