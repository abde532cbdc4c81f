"""Facts about the numbers of one compared output."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.errors import ParityError
from workbench.parity.metrics import Metric, Row, compare_tensors

finite = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
pairs = st.tuples(st.integers(1, 5), st.integers(1, 7)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float32, shape, elements=finite), hnp.arrays(np.float32, shape, elements=finite)
    )
)


def test_known_numbers():
    """The formulas give the numbers worked out by hand for reference (3, 4) and output (3, 0)."""
    row = compare_tensors("heat", np.array([[3.0, 4.0]]), np.array([[3.0, 0.0]]))
    assert row.cosine == pytest.approx(9 / (5 * 3))
    assert (row.max_abs, row.mean_abs) == (4.0, 2.0)
    assert row.relative_l2 == pytest.approx(4 / 5)
    assert row.snr_db == pytest.approx(10 * math.log10(25 / 16))
    assert (row.samples, row.elements) == (1, 2)


@given(pairs, st.floats(1e-3, 1e3))
def test_cosine_ignores_a_positive_factor(arrays, factor):
    """Multiplying the output by a positive number leaves its cosine as it was."""
    a, b = (side.astype(np.float64) for side in arrays)
    assert compare_tensors("y", a, b * factor).cosine == pytest.approx(compare_tensors("y", a, b).cosine, abs=1e-9)


@given(pairs)
def test_merged_parts_equal_the_whole(arrays):
    """Two accumulators that saw half the samples each merge to what one sees in all of them."""
    a, b = arrays
    half = len(a) // 2
    left, right, whole = Metric("y"), Metric("y"), Metric("y")
    for i in range(len(a)):
        (left if i < half else right).add(a[i], b[i])
        whole.add(a[i], b[i])
    merged, expected = left.merge(right).row(), whole.row()
    assert merged.samples == expected.samples
    for key in ("cosine", "worst_cosine", "max_abs", "mean_abs", "relative_l2", "snr_db"):
        assert getattr(merged, key) == pytest.approx(getattr(expected, key), rel=1e-9, abs=1e-12), key


@given(pairs)
def test_bounds_hold(arrays):
    """The mean difference never exceeds the largest, no single sample's cosine leaves -1..1."""
    row = compare_tensors("y", *arrays)
    assert row.mean_abs <= row.max_abs * (1 + 1e-12)
    assert -1 <= row.worst_cosine <= 1
    assert -1 <= row.cosine <= 1


@given(hnp.arrays(np.float32, (3, 4), elements=finite))
def test_equal_tensors_are_perfect(a):
    """A tensor compared with itself has cosine 1, no difference and an infinite SNR, also when it is all zero."""
    row = compare_tensors("y", a, a.copy())
    assert row.cosine == pytest.approx(1.0)
    assert (row.max_abs, row.mean_abs, row.relative_l2, row.snr_db) == (0.0, 0.0, 0.0, math.inf)


def test_zero_against_something():
    """A zero reference and a non-zero output are not alike: cosine 0, infinite relative error, SNR -inf."""
    row = compare_tensors("y", np.zeros((1, 3)), np.ones((1, 3)))
    assert (row.cosine, row.relative_l2, row.snr_db) == (0.0, math.inf, -math.inf)


def test_the_worst_sample_is_kept():
    """One bad sample of three shows in worst_cosine while the overall cosine stays high."""
    reference = np.array([[100.0, 0.0], [100.0, 0.0], [0.0, 1.0]])
    row = compare_tensors("y", reference, np.array([[100.0, 0.0], [100.0, 0.0], [1.0, 0.0]]))
    assert row.worst_cosine == 0.0
    assert row.cosine > 0.999


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_one_nan_spoils_every_number(bad, side):
    """A single NaN or Inf, on either side and in any sample, makes all numbers NaN and names the side."""
    arrays = [np.ones((4, 3), np.float32), np.ones((4, 3), np.float32)]
    arrays[side][1, 2] = bad
    row = compare_tensors("y", *arrays)
    assert all(math.isnan(getattr(row, key)) for key in ("cosine", "worst_cosine", "max_abs", "snr_db"))
    assert (row.reference_finite, row.got_finite) == (side != 0, side != 1)


def test_sums_are_kept_in_float64():
    """A million equal float32 values differing by a fixed amount keep their mean difference to nine digits."""
    a = np.full((1, 1_000_000), 1.0, np.float32)
    b = np.full((1, 1_000_000), 1.0 + 2**-20, np.float32)
    assert compare_tensors("y", a, b).mean_abs == pytest.approx(2**-20, rel=1e-9)


def test_rows_survive_json():
    """A row with an infinite SNR is strict JSON and comes back equal."""
    row = compare_tensors("y", np.ones((1, 2)), np.ones((1, 2)))
    text = json.dumps(row.to_json(), allow_nan=False)
    assert Row.from_json(json.loads(text)) == row


def test_shapes_must_agree():
    """Tensors of different shape are an error that states both, never broadcast."""
    with pytest.raises(ParityError, match=r"'y' has shape \[2, 1\], the reference \[2, 3\]"):
        compare_tensors("y", np.ones((2, 3)), np.ones((2, 1)))


def test_text_outputs_are_refused():
    """An output of strings cannot be measured and says so."""
    with pytest.raises(ParityError, match="not numbers"):
        compare_tensors("y", np.array(["a"]), np.array(["a"]))


def test_nothing_added_is_nan():
    """An accumulator that saw nothing has no numbers."""
    row = Metric("y").row()
    assert row.elements == 0
    assert math.isnan(row.cosine)
