"""How much noise 8-bit grids add to each operator with weights, predicted from measured channels and from its weights.

For an operator with weights w, input x and output y, relative to the signal E[y^2] of each output channel:

- the grid of x adds ``step^2 / 12 * sum(w^2)``, a step being the range of all tensors that share the grid over 255;
- the grid of w adds ``(max |w| / 127)^2 / 12 * sum(E[x^2])``.

Both are the variance of rounding to the nearest of many steps, errors taken as independent. Factors on the channels of
x (and 1 / factors on the columns of w) change both, in opposite directions; those on y change neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from workbench.graph import walk
from workbench.quant.channel_groups import Ids
from workbench.quant.channel_stats import ChannelStats
from workbench.quant.channels import Doubles, Spaces
from workbench.quant.plan import Plan
from workbench.quant.rescale import Layer, layers

_QUIET = 1e-3  # of the mean signal of an operator: a channel with less counts as having this much
_CARRYING = ("Add", "Sub", "Sum", "Mean", "Max", "Min", "Relu", "Clip", "Resize", "AveragePool", "MaxPool", "Identity")


@dataclass(frozen=True)
class _Grid:
    """The channels that stand on one grid: their groups, and the lowest and highest value of each, 0 included."""

    groups: Ids
    low: Doubles
    high: Doubles

    def step(self, factors: Doubles) -> float:
        scale = factors[self.groups]
        return float((scale * self.high).max(initial=0.0) - (scale * self.low).min(initial=0.0)) / 255


@dataclass(frozen=True)
class _Operator:
    """What the prediction for one operator needs; g groups, o outputs and i inputs of each."""

    groups: Ids  # (g, i)
    grids: tuple[str, ...]
    largest: Doubles  # (g, o, i), of |w| over the taps
    squares: Doubles  # (g, o, i), sum of w^2 over the taps
    energy: Doubles  # (g, i), taps * E[x^2]
    signal: Doubles  # (g, o)


class Prediction:
    """Predicts the noise of one network for any factors.

    Args:
        model: the network.
        found: its groups of channels.
        decided: which tensors share a grid; its ranges are not looked at.
        stats: its measured channels. Operators whose tensors were not measured, or hold nothing, are left out.
    """

    def __init__(self, model: ir.Model, found: Spaces, decided: Plan, stats: ChannelStats) -> None:
        self.count = 1 + max((int(ids.max(initial=0)) for ids in found.ids.values()), default=0)
        self._owner = {name: owner for name, owner in decided.owner.items() if name in found.ids and name in stats}
        self._grids = self._measure_grids(found, stats)
        carried = self._carried(model)
        self.operators = [
            made for layer in layers(model, found) if (made := self._operator(layer, found, stats, carried)) is not None
        ]

    def peaks(self) -> Doubles:
        """The largest magnitude of each group on any grid, shape (count,); 0 for those that stand on none."""
        found = np.zeros(self.count)
        for grid in self._grids.values():
            np.maximum.at(found, grid.groups, np.maximum(grid.high, -grid.low))
        return found

    def components(self) -> list[tuple[Ids, list[int]]]:
        """Sets of groups that share grids, directly or not, each with the operators (by index) that read them."""
        parent = np.arange(self.count)

        def root(group: int) -> int:
            while parent[group] != group:
                parent[group] = group = int(parent[parent[group]])
            return group

        for grid in self._grids.values():
            for group in grid.groups[1:].tolist():
                low, high = sorted((root(int(grid.groups[0])), root(group)))
                parent[high] = low
        members: dict[int, set[int]] = {}
        for grid in self._grids.values():
            members.setdefault(root(int(grid.groups[0])), set()).update(grid.groups.tolist())
        readers: dict[int, list[int]] = {}
        for index, operator in enumerate(self.operators):
            readers.setdefault(root(int(operator.groups.flat[0])), []).append(index)
        return [(np.array(sorted(members[key]), np.int64), readers.get(key, [])) for key in sorted(members)]

    def noise(self, factors: Doubles, indices: list[int] | None = None) -> float:
        """The sum of the relative noise of the operators `indices`, or of all; group k has ``factors[k]``."""
        total = 0.0
        for index in range(len(self.operators)) if indices is None else indices:
            operator = self.operators[index]
            scale = factors[operator.groups]
            steps = sum(self._grids[name].step(factors) ** 2 for name in operator.grids)
            data = steps / 12 * np.einsum("goi,gi->go", operator.squares, 1 / scale**2)
            widest = (operator.largest / scale[:, np.newaxis]).max(axis=2) / 127
            weights = widest**2 / 12 * (operator.energy * scale**2).sum(axis=1, keepdims=True)
            total += float(((data + weights) / operator.signal).mean())
        return total

    def _measure_grids(self, found: Spaces, stats: ChannelStats) -> dict[str, _Grid]:
        parts: dict[str, list[str]] = {}
        for name, owner in self._owner.items():
            if found.ids[name].size == len(stats[name].low):
                parts.setdefault(owner, []).append(name)
        grids = {}
        for owner, names in parts.items():
            every = np.concatenate([found.ids[name] for name in names])
            groups, place = np.unique(every, return_inverse=True)
            low, high = np.zeros(groups.size), np.zeros(groups.size)
            np.minimum.at(low, place, np.concatenate([stats[name].low for name in names]))
            np.maximum.at(high, place, np.concatenate([stats[name].high for name in names]))
            if groups.size:
                grids[owner] = _Grid(groups, low, high)
        return grids

    def _carried(self, model: ir.Model) -> dict[str, frozenset[str]]:
        """By tensor, the grids whose rounding it holds: its own, and those before it that no weights lie between."""
        held: dict[str, frozenset[str]] = {}
        for value in model.graph.inputs:
            held[str(value.name)] = self._own(str(value.name))
        for node in model.graph:
            before = [held.get(str(value.name), frozenset()) for value in node.inputs if value is not None]
            passed = frozenset().union(*before) if walk.is_op(node, *_CARRYING) else frozenset()
            for value in node.outputs:
                held[str(value.name)] = self._own(str(value.name)) | passed
        return held

    def _own(self, name: str) -> frozenset[str]:
        owner = self._owner.get(name)
        return frozenset() if owner is None or owner not in self._grids else frozenset((owner,))

    def _operator(
        self, layer: Layer, found: Spaces, stats: ChannelStats, carried: Mapping[str, frozenset[str]]
    ) -> _Operator | None:
        count, outputs, inputs, taps = layer.weight.shape
        grids = carried.get(layer.source, frozenset())
        if layer.source not in stats or layer.result not in stats or not self._own(layer.source):
            return None
        signal = stats[layer.result].mean_square.reshape(count, outputs)
        if not signal.mean() > 0:
            return None
        squares = (layer.weight**2).sum(axis=3)
        energy = taps * stats[layer.source].mean_square.reshape(count, inputs)
        return _Operator(
            found.ids[layer.source].reshape(count, inputs),
            tuple(sorted(grids)),
            np.abs(layer.weight).max(axis=3),
            squares,
            energy,
            np.maximum(signal, _QUIET * signal.mean()),
        )
