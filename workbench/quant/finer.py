"""Choose what is worth more multiplications: which ranges to split into parts, and which sums never to form.

A range of k parts has steps k times finer, and so 1 / k^2 of the error's power; an unrolled sum has no grid and no
error. The next best use of a multiplication is taken, again and again, until what is left is small enough or the
budget is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from workbench.graph import walk
from workbench.quant.sensitivity import Sensitivity
from workbench.quant.split_range import splittable, unfit_reader
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
    """A sum that no grid needs to hold, once the sums that read it are unrolled too.

    Attributes:
        macs: of the convolutions that read it, for one addend.
        addends: how many it has.
        into: the sums it is an addend of.
    """

    macs: int
    addends: int
    into: tuple[str, ...]


@dataclass(frozen=True)
class Candidates:
    """What can be made finer: by tensor to split the multiplications of each part beyond the first, and the sums."""

    split: Mapping[str, int]
    sums: Mapping[str, Sum]


def candidates(model: ir.Model) -> Candidates:
    """What can be made finer in `model`, a float graph that is unchanged but for inferred shapes."""
    extra = unrollable(model)
    made = walk.tensors(model.graph)
    sums: dict[str, Sum] = {}
    for name, macs in extra.items():
        value = made[name]
        node = value.producer()
        readers = walk.consumers(value)
        into = tuple(str(reader.outputs[0].name) for reader in readers if walk.is_op(reader, "Add", "Sum"))
        stays = value.is_graph_output() or any(
            not walk.is_op(reader, "Add", "Sum") and unfit_reader(reader, value) is not None for reader in readers
        )
        if not stays and node is not None and all(other in extra for other in into):
            addends = len(node.inputs)
            sums[name] = Sum(macs // (addends - 1), addends, into)
    # A sum stays for a sum that stays.
    while lost := [name for name, one in sums.items() if any(other not in sums for other in one.into)]:
        for name in lost:
            del sums[name]
    return Candidates(splittable(model), sums)


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
    losses = {name: one.loss for one in measured for name in one.members[:1]}
    named = {name: one.tensor for one in measured for name in one.members}
    owner = {name: named.get(f"{name}/split", named.get(name, "")) for name in (*parts, *found.sums)}
    spent = started.macs
    while sum(losses.values()) > goal:
        moves = [
            move
            for move in (*_splits(found, parts, losses, owner), *_unrolls(found, unrolled, losses, owner))
            if spent + move.macs <= budget
        ]
        if not moves:
            break
        best = max(moves, key=lambda move: move.gain / max(move.macs, 1))
        spent += best.macs
        losses[best.owner] -= best.gain
        if best.parts:
            parts[best.tensor] = best.parts
        else:
            unrolled.add(best.tensor)
    return Finer(
        {name: count for name, count in parts.items() if count > 1},
        tuple(name for name in found.sums if name in unrolled),
        spent,
        max(sum(losses.values()), 0.0),
    )


@dataclass(frozen=True)
class _Move:
    tensor: str
    owner: str
    gain: float
    macs: int
    parts: int = 0


# What a grid loses less than this is not worth a rewrite: the judging pictures cannot tell it from nothing.
_LEAST = 1e-5


def _splits(
    found: Candidates, parts: Mapping[str, int], losses: Mapping[str, float], owner: Mapping[str, str]
) -> Iterator[_Move]:
    for name, count in parts.items():
        loss = losses.get(owner[name], 0.0)
        for more in PARTS[PARTS.index(count) + 1 :] if count in PARTS else ():
            gain = loss * (1 - (count / more) ** 2)
            if gain > _LEAST:
                yield _Move(name, owner[name], gain, (more - count) * found.split[name], more)


def _unrolls(
    found: Candidates, unrolled: set[str], losses: Mapping[str, float], owner: Mapping[str, str]
) -> Iterator[_Move]:
    for name, one in found.sums.items():
        loss = losses.get(owner[name], 0.0)
        if name not in unrolled and loss > _LEAST and unrolled.issuperset(one.into):
            macs = sum(found.sums[other].macs for other in _through(found, name))
            yield _Move(name, owner[name], loss, (one.addends - 1) * macs)


def _through(found: Candidates, name: str) -> tuple[str, ...]:
    """`name`, and the sums that it reaches: their convolutions read its addends in its place."""
    reached = {name: None}
    for other in (one for each in tuple(reached) for one in found.sums[each].into):
        reached.update(dict.fromkeys(_through(found, other)))
    return tuple(reached)
