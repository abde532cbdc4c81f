"""The canvas fills what it should, to the pixel, in integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.calib.people_body import FOREARM, SHIN, STANCES, THIGH, UPPER_ARM, pose
from workbench.calib.people_dice import Dice, smooth_noise
from workbench.calib.people_raster import Canvas, Owner, ellipse, tube

RED = (255.0, 0.0, 0.0)


def test_a_rectangle_covers_its_pixels_exactly():
    """Whole pixels are full, half pixels are half, and the owner is whoever has at least half."""
    canvas = Canvas(10, 8)
    canvas.polygon([(2, 3), (5.5, 3), (5.5, 6), (2, 6)], RED, Owner(1, 2))
    red = canvas.pixels[:, :, 0]
    assert (red[3:6, 2:5] == 255).all()
    assert (red[3:6, 5] == 128).all()
    assert red.sum() == 3 * (3 * 255 + 128)
    assert (canvas.person[3:6, 2:6] == 1).all()
    assert canvas.person.sum() == 12


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(-30, 60), st.floats(-30, 60)), min_size=3, max_size=8))
def test_any_outline_stays_on_the_canvas(points):
    """Outlines that cross themselves or the edge of the canvas paint no more than the canvas, in either direction."""
    one, other = Canvas(32, 24), Canvas(32, 24)
    one.polygon(points, RED)
    other.polygon(points[::-1], RED)
    assert np.array_equal(one.pixels, other.pixels)
    assert one.pixels.min() >= 0
    assert one.pixels.max() <= 255


def test_neighbours_leave_no_gap():
    """Two polygons that share a slanted edge cover each of its samples once."""
    canvas = Canvas(20, 20)
    for outline in ([(0, 0), (20, 0), (3, 20), (0, 20)], [(20, 0), (20, 20), (3, 20)]):
        found = canvas._coverage(outline)
        top, left, covered = found
        canvas.part[top : top + covered.shape[0], left : left + covered.shape[1]] += covered
    assert (canvas.part == 16).all()


def test_an_ellipse_has_its_area():
    """The coverage of an ellipse adds up to pi a b."""
    canvas = Canvas(60, 60)
    canvas.polygon(ellipse((30, 29), (20, 11), corners=200), RED)
    assert canvas.pixels[:, :, 0].sum() / 255 == pytest.approx(np.pi * 20 * 11, rel=0.005)


def test_an_ellipsoid_shows_its_near_or_its_far_side():
    """Seen from the front, the surface points have positive z; seen through, negative; the outline is the same."""
    seen = {}

    def texture(surface, facing):
        seen["z"] = surface[..., 2]
        return np.ones(facing.shape, bool), np.full((*facing.shape, 3), 255.0)

    canvases = []
    for far in (False, True):
        canvases.append(Canvas(40, 40))
        canvases[-1].ellipsoid((20, 20), np.diag((12.0, 9.0, 5.0)), texture, Owner(1, 1), far=far)
        assert seen["z"][4 * 9, 4 * 12] * (-1 if far else 1) > 0.9
    assert np.array_equal(canvases[0].person, canvases[1].person)
    assert canvases[0].person.sum() == pytest.approx(np.pi * 12 * 9, rel=0.03)


def test_a_tube_without_length_is_a_dot():
    """A limb that points at the viewer is drawn as a disc."""
    canvas = Canvas(20, 20)
    tube(canvas, ((10, 10), (10, 10)), ((0, 4), (1, 4)), RED, Owner(1, 1))
    assert canvas.person.sum() == pytest.approx(np.pi * 16, rel=0.12)


def test_dice_never_change():
    """These numbers are what every shipped picture hangs on."""
    dice = Dice(1, 2)
    assert [dice.whole(0, 999) for _ in range(5)] == [448, 430, 419, 277, 821]
    assert 0 <= smooth_noise(dice, 9, 7, 4).min() <= smooth_noise(dice, 9, 7, 4).max() < 1


@pytest.mark.parametrize("name", sorted(STANCES))
def test_bones_keep_their_length_and_joints_their_limits(name):
    """In every pose each bone has its length in three dimensions, and knees bend backward only."""
    for seed in range(12):
        body = pose(Dice(seed), STANCES[name])
        points = body.points
        for side in ("l", "r"):
            for start, end, length in (
                ("shoulder", "elbow", UPPER_ARM),
                ("elbow", "wrist", FOREARM),
                ("hip", "knee", THIGH),
                ("knee", "ankle", SHIN),
            ):
                bone = points[f"{side}_{end}"] - points[f"{side}_{start}"]
                assert np.sqrt((bone**2).sum()) == pytest.approx(length)
            thigh, shin = (
                body.pelvis.T @ (points[f"{side}_{end}"] - points[f"{side}_{start}"])
                for start, end in (("hip", "knee"), ("knee", "ankle"))
            )
            ahead = np.array((0, -thigh[2], thigh[1]))  # the front of the thigh
            assert shin @ ahead <= 1e-9
