"""Facts about histograms that grow by doubling: they merge exactly, and lose nothing."""

from __future__ import annotations

from functools import reduce
from itertools import permutations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workbench.quant.histogram import BINS, Histogram, Tally

FLOATS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(-8, 8, width=32),
    st.sampled_from([0.0, -0.0, 1e-30, -1e-30, 1e-45, -1e-45, 1e30, -1e30, 3.4e38, -3.4e38, 6.0, -2.0]),
)
BATCHES = arrays.arrays(np.float32, st.integers(0, 40), elements=FLOATS)


@given(st.lists(BATCHES, min_size=1, max_size=4))
@example([np.zeros(1, np.float32), np.full(1, 1e-30, np.float32)])
@settings(deadline=None, max_examples=300)
def test_merging_in_any_order_is_one_histogram_of_everything(batches):
    """Every order and every grouping of shards gives the parts of the histogram of all values, to the bit."""
    whole = Histogram.of(np.concatenate(batches))
    parts = [Histogram.of(batch) for batch in batches]
    for order in permutations(parts):
        assert reduce(Histogram.merge, order) == whole
        assert reduce(lambda right, left: left.merge(right), order) == whole


@given(BATCHES, BATCHES, BATCHES)
@settings(deadline=None)
def test_merging_is_associative(a, b, c):
    """(a + b) + c is a + (b + c), to the bit."""
    a, b, c = Histogram.of(a), Histogram.of(b), Histogram.of(c)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))


@given(st.lists(BATCHES, min_size=1, max_size=5))
@example([np.zeros(1, np.float32), np.full(1, 1e-30, np.float32)])
@settings(deadline=None, max_examples=300)
def test_a_tally_is_always_the_histogram_of_all_so_far(batches):
    """Counting batch after batch in place gives, after each, the parts and extremes of the whole, and stays so."""
    tally, before = Tally(), []
    for number, batch in enumerate(batches, 1):
        tally.add(batch)
        values = np.concatenate(batches[:number])
        before.append((tally.histogram(), Histogram.of(values)))
        assert (tally.low, tally.high) == (values.min(initial=np.inf), values.max(initial=-np.inf))
    assert all(counted == whole for counted, whole in before)


@given(BATCHES)
@settings(deadline=None)
def test_nothing_is_the_identity(values):
    """Merging with the histogram of no values changes nothing, from either side."""
    histogram = Histogram.of(values)
    assert histogram.merge(Histogram.empty()) == histogram == Histogram.empty().merge(histogram)


@given(BATCHES)
@settings(deadline=None)
def test_every_value_is_in_its_bin(values):
    """The counts are numpy's own on the same edges, of which 0 is one, and sum to the number of values."""
    histogram = Histogram.of(values)
    assert histogram.total == values.size
    assert histogram.counts.size <= BINS
    assert 0.0 in histogram.edges
    assert histogram.zeros == np.count_nonzero(values == 0)
    if values.size:
        bins = np.searchsorted(histogram.edges, values.astype(np.float64), side="right") - 1
        assert np.array_equal(histogram.counts, np.bincount(bins, minlength=histogram.counts.size))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0])
def test_bins_are_as_narrow_as_there_is_room_for(scale, shift):
    """Values spread over one side or both use more than half of the bins, at any magnitude."""
    values = (scale * (np.linspace(0, 1, 5001) - shift)).astype(np.float32)
    assert BINS / 2 < Histogram.of(values).counts.size <= BINS


def test_many_values_are_counted_in_pieces():
    """More values than one piece, not a multiple of it, are all counted, and zeros among them."""
    values = np.tile(np.array([0, 1, 2], np.float32), 70_001).reshape(3, -1)
    histogram = Histogram.of(values)
    assert (histogram.total, histogram.zeros) == (210_003, 70_001)
    assert histogram.counts[histogram.counts > 0].tolist() == [70_001] * 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    """NaN and infinity have no bin."""
    with pytest.raises(ValueError, match="a value is NaN or infinite"):
        Histogram.of(np.array([1, bad, 2], np.float32))


@pytest.mark.parametrize(
    ("exponent", "first", "counts", "zeros"),
    [
        (0, 1, [1], 0),
        (0, -2, [1], 0),
        (0, 0, [1, -1], 0),
        (0, 0, [1], 2),
        (400, 0, [1], 0),
        (0, 0, [1] * (BINS + 1), 0),
    ],
)
def test_parts_that_do_not_fit_are_refused(exponent, first, counts, zeros):
    """Bins away from 0, negative counts, more zeros than values there, or too many bins are no histogram."""
    with pytest.raises(ValueError, match="not a histogram"):
        Histogram(exponent, first, np.array(counts, np.int64), zeros)
