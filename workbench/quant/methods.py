"""Choose the range of a tensor from what calibration has seen of it: MinMax, Percentile, MSE or KL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.quant import scheme
from workbench.quant.distributions import Distributions
from workbench.quant.histogram import Histogram
from workbench.quant.ranges import Range, Ranges

Method = Literal["MinMax", "Percentile", "MSE", "KL"]
Cost = Callable[[scheme.Grid], float]

_TRIES = 48
# The histogram counts for as much as this share of the other distribution, so that an empty bin costs much, not all.
_SMOOTH = 1e-4


def choose(seen: Distributions, method: Method, *, percentile: float = 99.99) -> Ranges:
    """The ranges of all tensors of `seen` by `method`, each as `choose_range` has it."""
    found = {
        name: choose_range(histogram, seen.ranges[name], method, percentile=percentile)
        for name, histogram in seen.items()
    }
    return Ranges(found, seen.ranges.samples)


def choose_range(histogram: Histogram, span: Range, method: Method, *, percentile: float = 99.99) -> Range:
    """The range that an 8-bit grid of this tensor should hold: within `span` stretched to 0, and with 0 inside.

    Args:
        histogram: of all values.
        span: their exact extremes.
        method: MinMax is `span` itself. Percentile leaves out the same number of values at either end, and never the
            last one, as onnxruntime's calibrator of that name does. MSE has the smallest mean square error after
            quantization (Sung, Shin and Hwang, "Resiliency of deep neural networks under quantization", 2015). KL has
            the smallest relative entropy of the values to what an 8-bit grid keeps of their distribution (Migacz,
            "8-bit inference with TensorRT", GTC 2017). The last two try ranges down to one whose steps are as narrow
            as the bins, first shrinking both ends together and then each alone.
        percentile: for Percentile, the share of the values to hold, in percent.
    """
    full = Range(min(span.low, 0.0), max(span.high, 0.0))
    if method == "MinMax" or full.low == full.high or not histogram.total:
        return full
    if method == "Percentile":
        return _percentile(histogram, full, percentile)
    cost = _square_error(histogram, span) if method == "MSE" else _relative_entropy(histogram)
    return _search(full, cost, narrowest=histogram.width)


def mean_square_error(histogram: Histogram, span: Range, grid: scheme.Grid) -> float:
    """Mean square of what `grid` does to the values, taken as spread evenly over their bins; exact zeros cost nothing.

    Args:
        histogram: of all values; not empty.
        span: their exact extremes.
        grid: any.
    """
    return _square_error(histogram, span)(grid)


def _percentile(histogram: Histogram, full: Range, percentile: float) -> Range:
    total = histogram.total
    # 0.1 % of 100,000 is 49.99999... at either end in floating point.
    left_out = min(int(round(total * (100.0 - percentile) / 200.0, 3)), (total - 1) // 2)
    ranks = np.cumsum(histogram.counts)
    edges = histogram.edges
    low = edges[np.searchsorted(ranks, left_out, side="right")]
    high = edges[np.searchsorted(ranks, total - 1 - left_out, side="right") + 1]
    return Range(max(full.low, min(float(low), 0.0)), min(full.high, max(float(high), 0.0)))


def _search(full: Range, cost: Cost, *, narrowest: float) -> Range:
    """The cheapest range found; of equals the widest."""
    best, least = full, cost(scheme.activation_grid(full))
    two_sided = full.low < 0 < full.high
    for low_moves, high_moves in ((True, True), (True, False), (False, True)) if two_sided else ((True, True),):
        for tried in range(_TRIES, 0, -1):
            share = tried / _TRIES
            low = full.low * share if low_moves else best.low
            high = full.high * share if high_moves else best.high
            grid = scheme.activation_grid(Range(low, high))
            # Steps narrower than the bins would be judged by detail that the histogram does not have.
            if grid.scale >= narrowest and (price := cost(grid)) < least:
                best, least = Range(low, high), price
    return best


def _square_error(histogram: Histogram, span: Range) -> Cost:
    """The cost of a grid by the exact integral of the squared error over every bin."""
    counts, edges = _without_zeros(histogram), histogram.edges
    used = np.flatnonzero(counts)
    # Units of a bin: squares and cubes of 1e-30 and 1e30 stay away from the ends of float64.
    unit = histogram.width
    low = np.maximum(edges[used], span.low) / unit
    high = np.minimum(edges[used + 1], span.high) / unit
    # Where the span has only the edge of a bin, as at the 6 of a Relu6 or in a constant, the values are one point.
    wide = high > low
    share = counts[used] / histogram.total
    density = np.divide(share, high - low, out=np.zeros_like(share), where=wide)
    points, ends, rest = low[~wide], np.stack([low, high])[:, wide], density[wide]
    alone = share[~wide]

    def cost(grid: scheme.Grid) -> float:
        step = grid.scale / unit
        bottom, top = grid.lowest - grid.zero_point, grid.highest - grid.zero_point
        nearest = np.clip(np.rint(ends / step), bottom, top)
        # Integral from 0 to x of the squared distance to the grid: whole steps of step**3 / 12, and a piece.
        offset = ends - nearest * step
        integral = nearest * (step**3 / 12) + offset * offset * offset / 3
        away = points - np.clip(np.rint(points / step), bottom, top) * step
        found = np.dot(rest, integral[1] - integral[0]) + np.dot(alone, away**2)
        return float(found) * unit**2

    return cost


def _relative_entropy(histogram: Histogram) -> Cost:
    """The cost of a grid in nats: what is lost where several bins share a step, and by clipping."""
    counts = _without_zeros(histogram).astype(np.float64)
    edges = histogram.edges
    middles = (edges[:-1] + edges[1:]) / 2
    total = counts.sum()
    held = counts > 0

    def cost(grid: scheme.Grid) -> float:
        if not total:
            return 0.0
        bottom, top = grid.lowest - grid.zero_point, grid.highest - grid.zero_point
        steps = np.rint(middles / grid.scale)
        inside = np.flatnonzero((steps >= bottom) & (steps <= top))
        first, last = int(inside[0]), int(inside[-1]) + 1
        own = counts[first:last]
        clipped = own.copy()
        clipped[0] += counts[:first].sum()
        clipped[-1] += counts[last:].sum()
        level = (steps[first:last] - bottom).astype(np.intp)
        mass = np.bincount(level, own)
        bins = np.maximum(np.bincount(level, held[first:last]), 1)
        kept = np.where(held[first:last], (mass / bins)[level], 0.0)
        kept = kept / max(kept.sum(), 1.0) * (1 - _SMOOTH) + _SMOOTH / kept.size
        there = clipped > 0
        p = clipped[there] / total
        return float(np.dot(p, np.log(p / kept[there])))

    return cost


def _without_zeros(histogram: Histogram) -> npt.NDArray[np.int64]:
    counts = histogram.counts.copy()
    if histogram.zeros:
        counts[-histogram.first] -= histogram.zeros
    return counts
