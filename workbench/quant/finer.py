"""Choose what is worth more multiplications: which ranges to split into parts, and which sums never to form.

A range of k parts has steps k times finer, and so 1 / k^2 of the error's power; an unrolled sum has no grid and no
error. The next best use of a multiplication is taken, again and again, until what is left is small enough or the
budget is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from workbench.graph import walk
from workbench.quant.sensitivity import Sensitivity
from workbench.quant.split_range import macs, splittable, unfit_reader
from workbench.quant.unroll_sum import unrollable

PARTS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Finer:
    """A choice of splits and unrolled sums.

    Attributes:
        split: parts by tensor, in graph order.
        unroll: sums, in graph order.
        macs: the multiplications they add to a picture.
        rest: the loss that is predicted to be left, all grids together.
    """

    split: Mapping[str, int] = field(default_factory=dict)
    unroll: tuple[str, ...] = ()
    macs: int = 0
    rest: float = 0.0


@dataclass(frozen=True)
class Sum:
    """A sum that no grid needs to hold, once the sums that read it are unrolled too: its addends and these sums."""

    addends: tuple[str, ...]
    into: tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """A convolution: its multiplications, the tensor it reads, and the one it makes with its Relu or Clip."""

    macs: int
    reads: str
    makes: str


@dataclass(frozen=True)
class Candidates:
    """What can be made finer in a network: tensors to split, sums to unroll, and the layers that become larger."""

    split: tuple[str, ...]
    sums: Mapping[str, Sum]
    layers: tuple[Layer, ...]

    def macs(self, parts: Mapping[str, int], unrolled: Collection[str]) -> int:
        """Multiplications of all layers with these parts and sums; a layer with both around it has their product."""

        def width(name: str) -> int:
            if name in unrolled:
                return sum(width(addend) for addend in self.sums[name].addends)
            return parts.get(name, 1)

        return sum(layer.macs * width(layer.reads) * parts.get(layer.makes, 1) for layer in self.layers)


def candidates(model: ir.Model) -> Candidates:
    """What can be made finer in `model`, a float graph that is unchanged but for inferred shapes."""
    splits = tuple(splittable(model))
    able = unrollable(model)
    made = walk.tensors(model.graph)
    sums: dict[str, Sum] = {}
    for name in able:
        value = made[name]
        node = value.producer()
        readers = walk.consumers(value)
        into = tuple(str(reader.outputs[0].name) for reader in readers if walk.is_op(reader, "Add", "Sum"))
        stays = value.is_graph_output() or any(
            not walk.is_op(reader, "Add", "Sum") and unfit_reader(reader, value) is not None for reader in readers
        )
        if not stays and node is not None and all(other in able for other in into):
            sums[name] = Sum(tuple(str(addend.name) for addend in node.inputs if addend is not None), into)
    # A sum stays for a sum that stays.
    while lost := [name for name, one in sums.items() if any(other not in sums for other in one.into)]:
        for name in lost:
            del sums[name]
    ends = {str(before.name): name for name in splits if (before := _before(made[name])) is not None}
    layers = []
    for node in walk.nodes(model.graph, "Conv"):
        reads, makes = str(node.inputs[0].name if node.inputs[0] else ""), str(node.outputs[0].name)
        if reads in splits or reads in sums or makes in ends:
            layers.append(Layer(macs(node), reads, ends.get(makes, makes)))
    return Candidates(splits, sums, tuple(layers))


def _before(value: ir.Value) -> ir.Value | None:
    """What the Relu or Clip behind `value` reads."""
    node = value.producer()
    return None if node is None else node.inputs[0]


def choose(
    found: Candidates, measured: Sequence[Sensitivity], *, goal: float, budget: int, before: Finer | None = None
) -> Finer:
    """The moves with the largest gain for each multiplication, one after the other.

    Args:
        found: of the graph without splits and unrolled sums.
        measured: the sensitivities of the grids, on that graph, or on the graph with those of `before`.
        goal: the predicted loss of all grids together that is small enough.
        budget: the multiplications that may be added, those of `before` included.
        before: what the graph that was measured has already.
    """
    started = before or Finer()
    parts = {name: started.split.get(name, 1) for name in found.split}
    unrolled = set(started.unroll)
    losses = {one.members[0]: one.loss for one in measured}
    named = {name: one.tensor for one in measured for name in one.members}
    owner = {name: named.get(f"{name}/split", named.get(name, "")) for name in (*parts, *found.sums)}
    plain = found.macs({}, ())
    spent = found.macs(parts, unrolled)
    while sum(losses.values()) > goal:
        best: tuple[float, _Move, int] | None = None
        for move in (*_splits(parts, losses, owner), *_unrolls(found, unrolled, losses, owner)):
            changed = {**parts, **({move.tensor: move.parts} if move.parts else {})}
            macs = found.macs(changed, unrolled if move.parts else {*unrolled, move.tensor})
            worth = move.gain / max(macs - spent, 1)
            if macs - plain <= budget and (best is None or worth > best[0]):
                best = (worth, move, macs)
        if best is None:
            break
        _, move, spent = best
        losses[move.owner] -= move.gain
        if move.parts:
            parts[move.tensor] = move.parts
        else:
            unrolled.add(move.tensor)
    return Finer(
        {name: count for name, count in parts.items() if count > 1},
        tuple(name for name in found.sums if name in unrolled),
        spent - plain,
        max(sum(losses.values()), 0.0),
    )


@dataclass(frozen=True)
class _Move:
    tensor: str
    owner: str
    gain: float
    parts: int = 0  # 0 for a sum


# What a grid loses less than this is not worth a rewrite: the judging pictures cannot tell it from nothing.
_LEAST = 1e-5


def _splits(parts: Mapping[str, int], losses: Mapping[str, float], owner: Mapping[str, str]) -> Iterator[_Move]:
    for name, count in parts.items():
        loss = losses.get(owner[name], 0.0)
        for more in PARTS[PARTS.index(count) + 1 :] if count in PARTS else ():
            gain = loss * (1 - (count / more) ** 2)
            if gain > _LEAST:
                yield _Move(name, owner[name], gain, more)


def _unrolls(
    found: Candidates, unrolled: set[str], losses: Mapping[str, float], owner: Mapping[str, str]
) -> Iterator[_Move]:
    for name, one in found.sums.items():
        loss = losses.get(owner[name], 0.0)
        if name not in unrolled and loss > _LEAST and unrolled.issuperset(one.into):
            yield _Move(name, owner[name], loss)
