"""Scale the channels of a network against each other, so that 8-bit grids hold all of them: the float graph is equal.

A tensor has one grid for all its channels, and so have tensors that meet in a Concat; a weight has one scale for all
inputs of an output channel. Where wide features (0..18) meet narrow ones (0..0.8), the narrow ones get few steps of
the common grid and weights that are many times larger, which leaves few steps to the others. Multiplying the narrow
channels by a factor, and dividing the weights that read them, cures both, and costs nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.errors import ParityError
from workbench.graph import io
from workbench.quant.channel_groups import Ids
from workbench.quant.channel_stats import ChannelStats
from workbench.quant.channels import Doubles, Spaces, spaces
from workbench.quant.plan import Plan, plan
from workbench.quant.predict import Prediction
from workbench.quant.ranges import Range
from workbench.quant.rescale import rescale
from workbench.runtimes.onnxruntime import OnnxRunner

Array = npt.NDArray[np.generic]

LIMIT = 1e-4
"""How far a float output may move, relative to its largest value."""

_LARGEST = 2.0**10  # of a factor; the smallest is 1 / as much
_DEAD = 2.0**-20  # of the largest peak beside it: within the limits no factor gives such a channel steps of its own
_POWERS = (0.25, 0.5, 0.75, 1.0)
_STEPS = (0.25, 0.5, 2.0**-0.5, 2.0**0.5, 2.0, 4.0)
_SWEEPS = 2
_GAIN = 1e-3  # what a step has to win, relative, to be taken: less is within the error of the prediction


@dataclass(frozen=True)
class Change:
    """What was done to one tensor.

    Args:
        tensor: its name.
        before: what it held.
        after: what it holds now.
        smallest: of the factors of its channels.
        largest: of them.
        left: why some of its channels keep their scale; empty when none does.
    """

    tensor: str
    before: Range
    after: Range
    smallest: float
    largest: float
    left: str = ""


@dataclass(frozen=True)
class Report:
    """What equalization did; it is true when the graph changed.

    Args:
        changed: the tensors with a grid that were rescaled, in graph order.
        declined: tensors with a grid that were not, and why, in graph order.
        noise: predicted noise relative to the signal, the mean over all operators with weights, before and after.
        moved: how far a float output moved, relative to its largest value; 0 when no samples were given.
    """

    changed: tuple[Change, ...] = ()
    declined: tuple[tuple[str, str], ...] = ()
    noise: tuple[float, float] = (0.0, 0.0)
    moved: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.changed)


def equalize(model: ir.Model, stats: ChannelStats, feeds: Iterable[Mapping[str, Array]] = ()) -> Report:
    """Rescale the tensors of `model`, in place, where 8 bits are predicted to hold them better.

    First every set of tensors that share grids is brought towards the range of its widest channel, by the power that
    gives the least noise (see `predict`); then each tensor of such a set, as a whole, against the others. Channels that
    hold nothing keep their scale, unless the weights that read them stand out for it.

    Args:
        model: a float graph with static shapes; inferred shapes are written into it too.
        stats: of this very model, see `observe_channels`.
        feeds: samples on which the float outputs are compared. When one moves by more than `LIMIT`, nothing is done,
            and the report says so.

    Raises:
        UnsupportedError: as `activations`.
    """
    found = spaces(model)
    decided = plan(model, dict.fromkeys(found.ids, Range(0.0, 0.0)))
    prediction = Prediction(model, found, decided, stats)
    factors, left = _choose(prediction, found, decided, stats)
    chosen = {group: float(factor) for group, factor in enumerate(factors) if factor != 1}
    samples = list(feeds)
    equal = io.from_bytes(io.to_bytes(model))
    left.update(rescale(equal, found, chosen))
    moved = largest_difference(model, equal, samples) if samples else 0.0
    if not moved <= LIMIT:
        reason = f"the float outputs would move by {moved:.1e} of their largest value"
        left.update(dict.fromkeys(chosen, reason))
        moved = 0.0
    chosen = {group: factor for group, factor in chosen.items() if group not in left}
    rescale(model, found, chosen)
    done = np.ones(prediction.count)
    done[list(chosen)] = list(chosen.values())
    share = max(len(prediction.operators), 1)
    noise = prediction.noise(np.ones(prediction.count)) / share, prediction.noise(done) / share
    changed, declined = _account(found, decided, stats, chosen, left)
    return Report(tuple(changed), tuple(declined), noise, moved)


def largest_difference(before: ir.Model, after: ir.Model, feeds: Iterable[Mapping[str, Array]]) -> float:
    """How far any output of `after` is from that of `before`, relative to the largest value that output has.

    Returns:
        the largest over all outputs and samples; NaN where one of them has NaN.

    Raises:
        ToolError: there is a sample that does not fit.
        ParityError: there are no samples, or the outputs have other names or shapes.
    """
    widest: dict[str, float] = {}
    apart: dict[str, float] = {}
    with OnnxRunner(io.to_bytes(before)) as old, OnnxRunner(io.to_bytes(after)) as new:
        for feed in feeds:
            expected, got = old.run(feed), new.run(feed)
            if {k: v.shape for k, v in expected.items()} != {k: v.shape for k, v in got.items()}:
                raise ParityError("the outputs have other names or shapes", fix="compare a graph with its own rewrite")
            for name, array in expected.items():
                one, two = array.astype(np.float64), got[name].astype(np.float64)
                # np.maximum keeps a NaN, max() may lose it.
                widest[name] = float(np.maximum(widest.get(name, 0.0), np.abs(one).max(initial=0.0)))
                apart[name] = float(np.maximum(apart.get(name, 0.0), np.abs(one - two).max(initial=0.0)))
    if not apart:
        raise ParityError("no samples to compare the float outputs on", fix="give it some pictures")
    return float(np.max([apart[name] and apart[name] / max(widest[name], 1e-30) for name in apart]))


def _choose(
    prediction: Prediction, found: Spaces, decided: Plan, stats: ChannelStats
) -> tuple[Doubles, dict[int, str]]:
    """A factor for each group, shape (count,), and the groups that are left alone for a reason of their own."""
    factors = np.ones(prediction.count)
    left: dict[int, str] = dict(found.pinned)
    peaks = prediction.peaks()
    tensors = _tensors(found, decided, stats)
    for groups, operators in prediction.components():
        top = float(peaks[groups].max(initial=0.0))
        free = np.array([group for group in groups.tolist() if group not in found.pinned], np.int64)
        live = peaks[free] > top * _DEAD
        dead = free[~live]
        reasons = {
            group: "it is always 0" if peaks[group] == 0 else f"its peak of {peaks[group]:.0e} is next to nothing"
            for group in dead.tolist()
        }
        if not operators:
            reasons.update(dict.fromkeys(free[live].tolist(), "no operator with weights reads it"))
        elif live.any():
            # Weights that read a dead channel count for the scale of all others, so it follows the narrowest live one,
            # unless nothing is lost when it stays.
            peaks[dead] = peaks[free[live]].min()
            factors = _towards(prediction, factors, peaks, groups, free, operators)
            inside, every = set(free.tolist()), set(groups.tolist())
            blocks = {tuple(group for group in part if group in inside) for part in tensors if part[0] in every}
            factors = _against(prediction, factors, sorted(block for block in blocks if block), operators)
            stayed = factors.copy()
            stayed[dead] = 1.0
            if prediction.noise(stayed, operators) <= prediction.noise(factors, operators) * (1 + _GAIN):
                factors = stayed
            else:
                reasons = {}
        left.update(reasons)
    return factors, left


def _tensors(found: Spaces, decided: Plan, stats: ChannelStats) -> list[tuple[int, ...]]:
    """The groups of every tensor on a grid."""
    names = [name for name in decided.owner if name in found.ids and name in stats]
    return [tuple(dict.fromkeys(found.ids[name].tolist())) for name in names if found.ids[name].size]


def _towards(
    prediction: Prediction, factors: Doubles, peaks: Doubles, groups: Ids, free: Ids, operators: list[int]
) -> Doubles:
    """The `free` groups brought to a common peak, by the power with the least noise."""
    pinned = np.setdiff1d(groups, free)
    least, best = prediction.noise(factors, operators), factors
    targets = {float(peaks[some].max()) for some in (groups, pinned) if some.size and peaks[some].max() > 0}
    for target in sorted(targets, reverse=True):
        for power in _POWERS:
            tried = factors.copy()
            tried[free] = np.clip((target / peaks[free]) ** power, 1 / _LARGEST, _LARGEST)
            noise = prediction.noise(tried, operators)
            if noise < least * (1 - _GAIN):
                least, best = noise, tried
    return best


def _against(
    prediction: Prediction, factors: Doubles, blocks: Sequence[tuple[int, ...]], operators: list[int]
) -> Doubles:
    """Each of several `blocks` of groups moved by a factor against the others, while the noise falls."""
    best = factors.copy()
    least = prediction.noise(best, operators)
    for _ in range(_SWEEPS if len(blocks) > 1 else 0):
        start = least
        for block in blocks:
            place = list(block)
            origin = best[place].copy()
            kept = origin
            for step in _STEPS:
                best[place] = np.clip(origin * step, 1 / _LARGEST, _LARGEST)
                noise = prediction.noise(best, operators)
                if noise < least * (1 - _GAIN):
                    least, kept = noise, best[place].copy()
            best[place] = kept
        if least > start * (1 - _GAIN):
            break
    return best


def _account(
    found: Spaces, decided: Plan, stats: ChannelStats, chosen: Mapping[int, float], left: Mapping[int, str]
) -> tuple[list[Change], list[tuple[str, str]]]:
    """What happened to every tensor on a grid, in graph order."""
    changed: list[Change] = []
    declined: list[tuple[str, str]] = []
    for name in decided.owner:
        if name not in found.ids:
            continue  # a constant
        if name not in stats or not found.ids[name].size:
            declined.append((name, "its channels were not measured"))
            continue
        factors = found.factors(name, chosen)
        kept = Counter(left.get(group, "to leave it gives the least noise") for group in _kept(found.ids[name], chosen))
        if (factors == 1).all():
            declined.append((name, "; ".join(sorted(kept))))
            continue
        low, high = np.array(stats[name].low) * factors, np.array(stats[name].high) * factors
        after = Range(float(low.min()), float(high.max()))
        some = "; ".join(f"{count} of {factors.size} channels: {reason}" for reason, count in sorted(kept.items()))
        changed.append(Change(name, stats[name].range, after, float(factors.min()), float(factors.max()), some))
    return changed, declined


def _kept(ids: Ids, chosen: Mapping[int, float]) -> Iterator[int]:
    return (group for group in ids.tolist() if group not in chosen)
