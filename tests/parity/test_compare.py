"""Facts about comparing two streams of runs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from workbench.errors import ParityError
from workbench.parity.compare import compare_runs
from workbench.parity.pairing import Pair
from workbench.parity.verdict import judge


def runs(count, seed=0, shape=(1, 4, 6, 5), name="heat"):
    """`count` runs of one seeded random output."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {name: rng.standard_normal(shape).astype(np.float32)}


def test_equal_streams_are_perfect():
    """The same runs on both sides give one row a pair with cosine 1."""
    (row,) = compare_runs(runs(3), runs(3), [Pair("heat", "heat")])
    assert (row.name, row.samples, row.max_abs) == ("heat", 3, 0.0)


def test_layouts_are_applied():
    """A pair with a permutation compares the other side in the reference's layout."""
    turned = ({"y": np.transpose(run["heat"], (0, 2, 3, 1))} for run in runs(2))
    (row,) = compare_runs(runs(2), turned, [Pair("heat", "y", (0, 3, 1, 2))])
    assert (row.name, row.max_abs) == ("heat", 0.0)


@pytest.mark.parametrize(("ours", "theirs", "short"), [(2, 3, "reference"), (3, 2, "compared side")])
def test_streams_must_be_equally_long(ours, theirs, short):
    """A stream that ends early is an error, not a shorter comparison."""
    with pytest.raises(ParityError, match=f"the {short} has fewer runs"):
        compare_runs(runs(ours), runs(theirs), [Pair("heat", "heat")])


def test_a_missing_output_is_named():
    """An output that a run did not produce is named together with what it did produce."""
    with pytest.raises(ParityError, match="compared side did not produce 'heat', only other"):
        compare_runs(runs(1), runs(1, name="other"), [Pair("heat", "heat")])


def test_empty_streams_do_not_pass():
    """Streams without a run end in a row without elements, which the verdict refuses."""
    assert not judge(compare_runs([], [], [Pair("heat", "heat")]), None).passed


def test_memory_does_not_grow():
    """A hundred runs of 1 MB need no more than a few of them at a time."""
    shape = (1, 1, 512, 512)
    tracemalloc.start()
    try:
        compare_runs(runs(100, shape=shape), runs(100, seed=1, shape=shape), [Pair("heat", "heat")])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30e6
