"""The single-person decoder finds the highest cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ToolError
from workbench.pose.heatmaps import gaussian, peaks


@given(st.integers(0, 8), st.integers(0, 12), st.floats(0.125, 1.0, width=32))
def test_peak_is_found_where_it_is(row, column, value):
    """X is the column, y the row, and the confidence is the value there."""
    maps = np.zeros((2, 9, 13), np.float32)
    maps[1, row, column] = value
    found = peaks(maps)
    assert found.dtype == np.float32
    assert found[1].tolist() == [column, row, np.float32(value)]


def test_equal_values_give_the_first():
    """A flat heatmap has its peak at the top left, on every run."""
    assert peaks(np.full((1, 4, 5), 0.25, np.float32)).tolist() == [[0.0, 0.0, 0.25]]


def test_smoothing_prefers_a_blob_to_a_spark():
    """A single hot cell loses to a broad hill once the map is smoothed, and the confidence stays unsmoothed."""
    maps = np.zeros((1, 20, 20), np.float32)
    maps[0, 2, 3] = 0.9
    maps[0, 11:16, 11:16] = 0.6
    assert peaks(maps)[0, :2].tolist() == [3, 2]
    assert peaks(maps, smooth=1.5)[0].tolist() == [13, 13, np.float32(0.6)]


@given(st.floats(0.4, 4.0))
def test_gaussian_keeps_a_constant_and_the_sum_of_a_spot(sigma):
    """Smoothing changes no flat map, spreads a spot without losing any of it, and keeps it symmetric."""
    flat = np.full((1, 6, 7), 0.5, np.float32)
    assert np.allclose(gaussian(flat, sigma), 0.5, atol=1e-6)
    spot = np.zeros((1, 41, 41), np.float32)
    spot[0, 20, 20] = 1
    spread = gaussian(spot, sigma)
    assert abs(spread.sum() - 1) < 1e-5
    assert np.allclose(spread, spread[:, ::-1, :], atol=1e-7)
    assert np.allclose(spread, spread.transpose(0, 2, 1), atol=1e-7)


def test_values_that_are_not_finite_are_refused_by_channel():
    """A NaN is not a joint: the channel that holds it is named."""
    maps = np.zeros((3, 4, 4), np.float32)
    maps[1, 2, 2] = np.nan
    with pytest.raises(ToolError, match=r"channels \[1\] hold values that are not finite"):
        peaks(maps)
