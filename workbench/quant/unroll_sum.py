"""Let convolutions take the addends of a sum side by side, so that the sum itself never stands on a grid.

A convolution is linear: ``Conv(x + y) = Conv(Concat(x, y))`` with its columns repeated. The addends then share one
grid, as all inputs of a Concat do, and the sum, wider than each of them and rounded once more, is gone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from workbench.catalog import did_you_mean
from workbench.errors import UnsupportedError
from workbench.graph import attributes, constants, shapes, splice, walk
from workbench.quant.split_range import fresh_node_name, macs, unfit_reader


def unroll_sum(model: ir.Model, tensor: str) -> None:
    """Let every Conv that reads the sum `tensor` read its addends instead; equal in float.

    The Concat is called ``<tensor>/addends``. The sum stays for other readers, and disappears when there are none.
    Where an addend is a sum that was unrolled before, its own addends are read; so unroll sums of sums in graph order,
    the order of `unrollable`, or the inner sum stays on its grid for the outer Concat.

    Args:
        model: a float graph; changed in place, its shapes inferred anew. Otherwise unchanged after an error.
        tensor: the output of an Add or Sum of activations of one static shape. At least one Conv with group 1 and
            float32 weights of its own reads it; Convs without these stay with the sum.

    Raises:
        UnsupportedError: there is no such tensor, or it is no such sum.
    """
    shapes.refresh(model)
    graph = model.graph
    place = _named(graph, tensor)
    value = place.total.outputs[0]
    joined = _concat(graph, place.addends)
    if joined is None:
        joined = ir.node("Concat", place.addends, attributes={"axis": 1})
        joined.name = fresh_node_name(graph, f"{tensor}/addends")
        joined.outputs[0].name = walk.fresh_name(graph, f"{tensor}/addends")
        graph.insert_after(place.total, joined)
    elif joined in itertools.dropwhile(lambda node: node is not place.total, graph):
        # A Concat of the network's own may stand behind the Convs that are to read it.
        graph.remove(joined)
        graph.insert_after(place.total, joined)
    for node in place.readers:
        weight = np.asarray(constants.array(node.inputs[1]))
        repeated = np.concatenate([weight] * len(place.addends), axis=1)
        constants.put(graph, node, 1, repeated, str(node.inputs[1].name if node.inputs[1] else "weight"))
        node.replace_input_with(0, joined.outputs[0])
    _drop_unread(value)
    shapes.refresh(model)


def unrollable(model: ir.Model) -> dict[str, int]:
    """The sums that `unroll_sum` takes, in graph order, with what each costs.

    Args:
        model: a float graph; unchanged but for inferred shapes.

    Returns:
        by tensor, the multiplications a picture that are added: once more those of the Convs behind for each addend
        beyond the first. A sum of sums costs more once those are unrolled.

    Raises:
        UnsupportedError: the shapes of such a layer are not static.
    """
    shapes.refresh(model)
    unrolled = _unrolled(model.graph)
    found: dict[str, int] = {}
    for node in walk.nodes(model.graph, "Add", "Sum"):
        value = node.outputs[0]
        place = _place(value, unrolled)
        if value.name and isinstance(place, _Place):
            found[value.name] = (len(place.addends) - 1) * sum(macs(conv) for conv in place.readers)
    return found


@dataclass(frozen=True)
class _Place:
    """A sum that can be unrolled: its node, what is added in the end, and the Convs that can take that."""

    total: ir.Node
    addends: tuple[ir.Value, ...]
    readers: tuple[ir.Node, ...]


def _named(graph: ir.Graph, tensor: str) -> _Place:
    """Where `tensor` can be unrolled."""
    value = walk.tensors(graph).get(tensor)
    if value is None:
        sums = walk.nodes(graph, "Add", "Sum")
        known = [str(node.outputs[0].name) for node in sums if isinstance(_place(node.outputs[0], {}), _Place)]
        near = did_you_mean(tensor, known)
        fix = near if near.startswith("did") or not known else f"{len(known)} can be unrolled; {near[:300]}"
        raise UnsupportedError(f"no tensor called {tensor!r}", fix=fix)
    place = _place(value, _unrolled(graph))
    if isinstance(place, str):
        fix = "leave it as it is, or give it 16 bits"
        raise UnsupportedError(f"tensor {tensor!r} cannot be unrolled: {place}", where=walk.origin(value), fix=fix)
    return place


def _place(value: ir.Value, unrolled: Mapping[ir.Value, tuple[ir.Value, ...]]) -> _Place | str:
    """Where `value` can be unrolled, or why not."""
    total = walk.producer(value, "Add", "Sum")
    if total is None or len(total.inputs) < 2:
        return "it is no sum"
    given = [addend for addend in total.inputs if addend is not None]
    for addend in given:
        if constants.array(addend) is not None or addend.is_initializer():
            return f"it adds the constant '{addend.name}', which belongs into a bias"
    dims = [walk.static_shape(addend) for addend in given]
    if None in dims:
        return "the shapes of its addends are not static"
    if len(set(dims)) > 1:
        return f"its addends have different shapes: {', '.join(map(str, dims))}"
    readers = walk.consumers(value)
    reasons = {node: unfit_reader(node, value) for node in readers}
    fit = tuple(node for node in readers if reasons[node] is None)
    if not fit:
        first = next((reason for reason in reasons.values() if reason), "nothing reads it")
        return f"no Conv reads it that could take its addends ({first})"
    return _Place(total, _flat(total, unrolled), fit)


def _unrolled(graph: ir.Graph) -> dict[ir.Value, tuple[ir.Value, ...]]:
    """By sum that was unrolled before, its addends; sums that were unrolled are not among them."""
    found: dict[ir.Value, tuple[ir.Value, ...]] = {}
    for total in walk.nodes(graph, "Add", "Sum"):
        addends = _flat(total, found)
        if _concat(graph, addends) is not None:
            found[total.outputs[0]] = addends
    return found


def _flat(total: ir.Node, unrolled: Mapping[ir.Value, tuple[ir.Value, ...]]) -> tuple[ir.Value, ...]:
    """What `total` adds; in place of a sum of `unrolled`, what that adds."""
    return tuple(part for value in total.inputs if value is not None for part in unrolled.get(value, (value,)))


def _concat(graph: ir.Graph, addends: tuple[ir.Value, ...]) -> ir.Node | None:
    """The node that has these side by side already: the mark of a sum that was unrolled."""
    for node in walk.consumers(addends[0]) if len(addends) > 1 else ():
        same = walk.is_op(node, "Concat") and node.graph is graph and tuple(node.inputs) == addends
        if same and attributes.integer(node, "axis", 0) == 1:
            return node
    return None


def _drop_unread(value: ir.Value) -> None:
    """Remove the sum behind `value` when nothing reads it, and then the sums that only it read."""
    left = [value]
    while left:
        value = left.pop()
        total = walk.producer(value, "Add", "Sum")
        if total is not None and total.graph is not None and constants.is_unread(value):
            left += [addend for addend in total.inputs if addend is not None]
            splice.remove(total)
