"""The task error is zero for equal answers, counts only what the float network finds, and agrees with slower code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import ToolError
from workbench.parity.metrics import compare_tensors
from workbench.pose.displacement import SMOOTH, _blur, reference, task_error
from workbench.pose.heatmaps import gaussian, peaks


def spots(places, size=(24, 24), height=1.0):
    """Heatmaps (1, joints, H, W) with a hill of sigma 1 at each (x, y); None leaves a map at zero."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    maps = np.zeros((1, len(places), *size), np.float32)
    for index, place in enumerate(places):
        if place is not None:
            maps[0, index] = height * np.exp(-((columns - place[0]) ** 2 + (rows - place[1]) ** 2) / 2)
    return maps


@given(st.integers(1, 3), st.integers(1, 4), st.integers(5, 20), st.integers(5, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_equal_answers_have_no_error(pictures, joints, height, width, seed):
    """Any heatmaps compared with themselves: cosine 1, nothing moved."""
    maps = np.random.default_rng(seed).normal(0, 1, (pictures, joints, height, width)).astype(np.float32)
    error = task_error(reference({"heat": maps}, ["heat"], joints), {"heat": maps.copy()})

    assert error.worst_cosine == pytest.approx(1, abs=1e-12)
    assert (error.relative, error.worst_relative, error.displacement, error.near) == (0, 0, 0, 1)
    assert (error.pictures, error.joints, error.nobody) == (pictures, pictures * joints, ())


@given(st.integers(2, 30), st.integers(2, 30), st.floats(0.3, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_smoothing_by_matrices_is_the_gaussian_of_the_decoder(height, width, sigma, seed):
    """Borders, also of maps smaller than the kernel, are treated as `peaks` treats them."""
    maps = np.random.default_rng(seed).normal(0, 1, (2, height, width)).astype(np.float32)

    assert np.allclose(_blur(height, sigma).T @ maps @ _blur(width, sigma), gaussian(maps, sigma), atol=1e-5)


def test_joints_move_by_shares_of_the_picture():
    """One joint of four moves by (3, 4) cells of 30 x 40: a way of 0.1 in each direction."""
    still = [(8, 8), (20, 10), (30, 20)]
    before = spots([*still, (16, 12)], (30, 40))
    after = spots([*still, (20, 15)], (30, 40))
    error = task_error(reference({"heat": before}, ["heat"], 4), {"heat": after})

    assert error.joints == 4
    assert error.worst_displacement == pytest.approx(math.hypot(4 / 40, 3 / 30))
    assert error.displacement == pytest.approx(error.worst_displacement / 4)
    assert error.near == 0.75


def test_places_are_those_of_the_decoder():
    """With the same smoothing, displacement is the way between what `peaks` finds."""
    dice = np.random.default_rng(3)
    before, after = (dice.random((1, 5, 20, 30)).astype(np.float32) for _ in range(2))
    error = task_error(reference({"heat": before}, ["heat"], 5, smooth=2 / 30), {"heat": after})
    way = (peaks(after[0], smooth=2) - peaks(before[0], smooth=2))[:, :2] / (30, 20)

    assert error.displacement == pytest.approx(np.hypot(*way.T).mean())


def test_cosine_and_relative_error_are_those_of_parity():
    """The numbers of each picture are the ones that the parity gate computes."""
    dice = np.random.default_rng(5)
    before = dice.random((3, 2, 8, 8)).astype(np.float32)
    after = before + dice.normal(0, 0.1, before.shape).astype(np.float32)
    error = task_error(reference({"heat": before}, ["heat"], 2), {"heat": after})
    rows = [compare_tensors("heat", before[index : index + 1], after[index : index + 1]) for index in range(3)]

    assert error.cosines == pytest.approx([row.cosine for row in rows])
    assert error.cosine == pytest.approx(np.mean([row.cosine for row in rows]))
    assert error.worst_cosine == pytest.approx(min(row.cosine for row in rows))
    assert error.worst_relative == pytest.approx(max(row.relative_l2 for row in rows))


def test_what_the_float_network_does_not_find_is_no_joint():
    """The place of a low peak is noise: it is not judged, and a picture of nothing else is flagged."""
    before = np.concatenate([spots([(5, 5), None]), spots([(5, 5), (9, 9)], height=0.05)])
    after = before[:, :, ::-1].copy()  # all peaks move
    error = task_error(reference({"heat": before}, ["heat"], 2), {"heat": after})

    assert (error.joints, error.near, error.nobody) == (1, 0.0, (1,))
    every = task_error(reference({"heat": before}, ["heat"], 2, present=-math.inf), {"heat": after})
    assert (every.joints, every.nobody) == (4, ())


def test_nobody_at_all_is_not_a_perfect_score():
    """Where no joint was judged the numbers about joints are NaN, which meets no limit."""
    nothing = np.zeros((2, 3, 8, 8), np.float32)
    error = task_error(reference({"heat": nothing}, ["heat"], 3), {"heat": nothing})

    assert (error.joints, error.nobody, error.cosine) == (0, (0, 1), 1.0)
    assert math.isnan(error.near)
    assert math.isnan(error.displacement)


def test_a_map_that_vanished_has_cosine_zero():
    """A network that answers nothing any more is as wrong as it can be, and no division by zero."""
    before = spots([(5, 5)])
    error = task_error(reference({"heat": before}, ["heat"], 1), {"heat": np.zeros_like(before)})

    assert (error.cosine, error.relative) == (0.0, 1.0)


def test_only_heatmaps_have_joints_and_background_is_none():
    """Fields count for the cosine; a channel behind the joints is not looked at for a peak."""
    heat = spots([(5, 5), (9, 9), (1, 1)])
    moved = spots([(5, 5), (9, 9), (20, 20)])
    field = np.ones((1, 3, 3, 4), np.float32)
    error = task_error(
        reference({"heat": heat, "field": field}, ["heat"], 2), {"heat": moved, "field": field * (1, 1, 1, -1)}
    )

    assert (error.joints, error.displacement) == (2, 0.0)
    alone = task_error(reference({"heat": heat}, ["heat"], 2), {"heat": moved})
    assert error.cosine == pytest.approx((alone.cosine + 0.5) / 2)
    assert error.relative == alone.relative


def test_without_heatmaps_only_the_cosine_speaks():
    """A network of another kind is still compared; what cannot be said is NaN, and nobody is flagged."""
    field = np.ones((2, 4), np.float32)
    error = task_error(reference({"field": field}, [], 5), {"field": -field})

    assert (error.cosine, error.joints, error.nobody) == (-1.0, 0, ())
    assert math.isnan(error.relative)


def test_smoothing_steadies_a_flat_peak():
    """Noise of a thousandth moves the highest cell of a plateau, and hardly the middle of a smoothed one."""
    before = np.zeros((1, 1, 96, 96), np.float32)
    before[0, 0, 30:50, 40:60] = 0.8
    noise = np.random.default_rng(1).normal(0, 1e-3, before.shape).astype(np.float32)
    ways = {}
    for smooth in (0.0, SMOOTH):
        ways[smooth] = task_error(reference({"h": before}, ["h"], 1, smooth=smooth), {"h": before + noise}).displacement

    assert ways[SMOOTH] <= 1.5 / 96 < ways[0.0]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused_by_picture(broken):
    """The output and the picture are named, on either side."""
    good = np.zeros((3, 1, 4, 4), np.float32)
    bad = good.copy()
    bad[2, 0, 1, 1] = broken
    with pytest.raises(ToolError, match="output 'heat' is NaN or infinite for picture 2"):
        reference({"heat": bad}, ["heat"], 1)
    with pytest.raises(ToolError, match="output 'heat' is NaN or infinite for picture 2"):
        task_error(reference({"heat": good}, ["heat"], 1), {"heat": bad})


def test_other_shapes_and_names_are_refused():
    """Nothing is broadcast, and an output that is missing is no perfect one."""
    maps = np.zeros((2, 3, 4, 4), np.float32)
    float_side = reference({"heat": maps}, ["heat"], 3)
    for got in ({"heat": maps[:1]}, {"other": maps}, {}):
        with pytest.raises(ValueError, match="the float network answers"):
            task_error(float_side, got)
    with pytest.raises(ValueError, match="at least 4 joints"):
        reference({"heat": maps}, ["heat"], 4)
    with pytest.raises(ValueError, match="at least one"):
        reference({"heat": maps[:0]}, ["heat"], 3)
