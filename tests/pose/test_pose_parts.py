"""Grouping on maps that a perfect network would answer: everybody is found, nobody is invented."""

import numpy as np
import pytest
from _ideal import COCO17, COCO18, as_skeleton, crowd, heatmaps, pafs, pictures

from workbench.errors import ToolError
from workbench.pose import parts

STRIDE = 8


def decoded(joints, size):
    """What the decoder makes of ideal maps; `size` is (width, height) in pixels."""
    cells = (-(-size[1] // STRIDE), -(-size[0] // STRIDE))
    maps = heatmaps(joints, cells, STRIDE), pafs(joints, COCO18, cells, STRIDE)
    return parts.decode(*maps, COCO18, (STRIDE, STRIDE))


def joinable(person):
    """Which joints have a neighbour on a limb: one alone cannot be known to be anybody's."""
    there = np.isfinite(person).all(axis=1)
    near = np.zeros_like(there)
    for a, b in COCO18.limbs:
        near[[a, b]] |= there[a] & there[b]
    return near


def assert_found(people, truth):
    """Everybody once, every joint within one cell, and no joint that is not there."""
    assert len(people) == len(truth)
    nearest = [int(np.argmin([np.nanmean(np.hypot(*(one.joints - person).T)) for one in people])) for person in truth]
    assert sorted(nearest) == list(range(len(truth)))
    for person, place in zip(truth, nearest, strict=True):
        found = people[place]
        np.testing.assert_array_equal(found.found, joinable(person))
        assert np.nanmax(np.hypot(*(found.joints - person).T)) <= STRIDE


@pytest.mark.parametrize("place", range(len(pictures())))
def test_drawn_people_are_found(place):
    """Every picture of the drawn calibration set, one to four people in it."""
    size, people = pictures()[place]
    truth = as_skeleton(people, COCO18)
    assert_found(decoded(truth, size), truth)


@pytest.mark.parametrize("number", range(1, 11))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_crowd_is_found(number, seed):
    """Up to ten people in a picture of 656 x 368."""
    truth = as_skeleton(crowd(number, seed=seed), COCO18)
    assert_found(decoded(truth, (656, 368)), truth)


def test_the_most_certain_person_is_first():
    """People are ranked by confidence, as a user who wants one of them needs."""
    truth = as_skeleton(crowd(2), COCO18)
    cells = (46, 82)
    fields = pafs(truth, COCO18, cells, STRIDE)
    maps = np.maximum(0.5 * heatmaps(truth[:1], cells, STRIDE), heatmaps(truth[1:], cells, STRIDE))
    first, second = parts.decode(maps, fields, COCO18, (STRIDE, STRIDE))
    assert np.nanmean(np.hypot(*(first.joints - truth[1]).T)) < STRIDE
    assert first.score > 0.9 > 0.55 > second.score


def test_noise_is_nobody():
    """Neither an empty picture nor low or unordered values make a person."""
    random = np.random.default_rng(0)
    nothing = np.zeros((18, 32, 57)), np.zeros((38, 32, 57))
    noise = 0.09 * random.random((18, 32, 57)), random.normal(size=(38, 32, 57))
    peaks_without_fields = random.random((18, 32, 57)), 0.02 * random.normal(size=(38, 32, 57))
    for maps in (nothing, noise, peaks_without_fields):
        assert parts.decode(*maps, COCO18, (STRIDE, STRIDE)) == []


def test_a_broken_heatmap_does_not_fill_the_memory():
    """Thousands of peaks: the highest are kept, and the answer comes."""
    maps = np.indices((18, 400, 400)).sum(axis=0) % 2.0
    assert isinstance(parts.decode(maps, np.ones((38, 400, 400)), COCO18, (1, 1)), list)


def test_two_joints_in_one_cell():
    """A person so small that joints coincide gives no NaN, no warning and no crash."""
    truth = as_skeleton(crowd(1, size=(20, 20)), COCO18)
    cells = (8, 8)
    found = parts.decode(heatmaps(truth, cells, STRIDE), pafs(truth, COCO18, cells, STRIDE), COCO18, (STRIDE, STRIDE))
    assert all(np.isfinite(one.confidence).all() for one in found)


def test_maps_that_do_not_fit():
    """A skeleton without fields, a wrong channel count and different sizes are refused."""
    maps, fields = np.zeros((18, 4, 4)), np.zeros((38, 4, 4))
    for heat, field, skeleton in ((maps, fields, COCO17), (maps[:17], fields, COCO18), (maps, fields[:, :3], COCO18)):
        with pytest.raises(ValueError, match="are not those of"):
            parts.decode(heat, field, skeleton, (8, 8))


@pytest.mark.parametrize(("place", "name"), [(0, "heatmap"), (1, "paf")])
def test_values_that_are_not_finite(place, name):
    """A NaN is an error of the network, with a way to find it."""
    maps = [np.zeros((18, 4, 4)), np.zeros((38, 4, 4))]
    maps[place][0, 0, 0] = np.nan
    with pytest.raises(ToolError, match=f"the {name} output holds values that are not finite") as error:
        parts.decode(*maps, COCO18, (8, 8))
    assert "workbench parity" in error.value.fix
