"""Decoders of a single person, on maps that a perfect network would answer."""

import numpy as np
import pytest
from _ideal import AI_CHALLENGER14, COCO17, as_skeleton, heatmaps, pictures

from workbench.errors import ToolError
from workbench.pose import movenet, single

STRIDE = 4
ALONE = [(size, people[:1]) for size, people in pictures() if len(people) == 1]


@pytest.mark.parametrize("place", range(len(ALONE)))
@pytest.mark.parametrize("smooth", [0.0, 2.0])
def test_heatmaps_of_one_person(place, smooth):
    """Every joint of a drawn person within one cell, smoothed or not; what is outside the picture is not found."""
    size, people = ALONE[place]
    truth = as_skeleton(people, AI_CHALLENGER14)
    cells = (size[1] // STRIDE, size[0] // STRIDE)
    (person,) = single.decode(heatmaps(truth, cells, STRIDE), (STRIDE, STRIDE), smooth=smooth)

    inside = np.isfinite(truth[0]).all(axis=1) & ((truth[0] >= 0) & (truth[0] < size)).all(axis=1)
    assert person.found[inside].all()
    assert np.nanmax(np.hypot(*(person.joints - truth[0])[inside].T)) <= STRIDE
    assert not person.found[~np.isfinite(truth[0]).all(axis=1)].any()
    assert (person.confidence[~person.found] == 0).all()


def test_nobody():
    """No peak, no person."""
    assert single.decode(np.full((14, 8, 8), 0.05), (4, 4)) == []


def four_maps(joints, cells):
    """MoveNet's maps for people (P, J, 2) in input pixels."""
    count = joints.shape[1]
    maps = heatmaps(joints, cells, STRIDE)
    centers = np.zeros((1, *cells))
    regressions, offsets = np.zeros((2 * count, *cells)), np.zeros((2 * count, *cells))
    for person in joints:
        middle = np.nanmean(person, axis=0)
        centers = np.maximum(centers, heatmaps(middle[None, None], cells, STRIDE))
        column, row = (middle / STRIDE).astype(int)
        for joint, place in enumerate(person / STRIDE):
            if np.isfinite(place).all():
                cell = np.floor(place).astype(int)
                regressions[2 * joint : 2 * joint + 2, row, column] = cell - (column, row)
                if (cell >= 0).all() and cell[0] < cells[1] and cell[1] < cells[0]:
                    offsets[2 * joint : 2 * joint + 2, cell[1], cell[0]] = place - cell
    return maps, centers, regressions, offsets


@pytest.mark.parametrize("place", range(len(ALONE)))
def test_movenet_finds_one_person(place):
    """The offsets bring every joint back to the pixel."""
    size, people = ALONE[place]
    truth = as_skeleton(people, COCO17)
    cells = (size[1] // STRIDE, size[0] // STRIDE)
    (person,) = movenet.decode(*four_maps(truth, cells), (STRIDE, STRIDE))

    inside = np.isfinite(truth[0]).all(axis=1) & ((truth[0] >= 0) & (truth[0] < size)).all(axis=1)
    assert person.found[inside].all()
    assert np.hypot(*(person.joints - truth[0])[inside].T).max() <= 1e-6


def test_movenet_takes_the_person_in_the_middle():
    """Of two people of equal confidence the one nearer to the middle, joints and all."""
    _, people = ALONE[0]
    one = as_skeleton(people, COCO17)[0]
    one = 60 + 60 * (one - np.nanmin(one)) / np.nanmax(one - np.nanmin(one))
    both = np.stack([one, one - 55])
    (person,) = movenet.decode(*four_maps(both, (48, 48)), (STRIDE, STRIDE))
    there = np.isfinite(one).all(axis=1)
    assert np.hypot(*(person.joints - one)[there].T).max() <= STRIDE


def test_movenet_maps_that_do_not_fit():
    """Two numbers a joint in regressions and offsets, one size everywhere."""
    maps = [np.zeros(shape) for shape in ((17, 4, 4), (1, 4, 4), (34, 4, 4), (17, 4, 4))]
    with pytest.raises(ValueError, match="are no four maps"):
        movenet.decode(*maps, (4, 4))


def test_movenet_values_that_are_not_finite():
    """The output is named."""
    maps = [np.zeros(shape) for shape in ((17, 4, 4), (1, 4, 4), (34, 4, 4), (34, 4, 4))]
    maps[2][0, 0, 0] = np.inf
    with pytest.raises(ToolError, match="the regression output holds values that are not finite"):
        movenet.decode(*maps, (4, 4))
