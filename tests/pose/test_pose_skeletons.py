"""Skeletons say what the published networks' channels mean."""

from __future__ import annotations

import pytest

from workbench.errors import RecipeError
from workbench.pose.skeletons import AI_CHALLENGER14, COCO17, COCO18, SKELETONS, skeleton


@pytest.mark.parametrize("entry", SKELETONS.values(), ids=SKELETONS)
def test_limbs_connect_every_joint_once_named(entry):
    """Joint names are unique, limbs join existing joints, and no joint is left alone."""
    assert len(set(entry.joints)) == len(entry.joints)
    ends = {joint for limb in entry.limbs for joint in limb}
    assert ends == set(range(len(entry.joints)))
    assert all(start != end for start, end in entry.limbs)


def test_sizes_are_those_of_the_names():
    """COCO has 17 joints, OpenPose's order adds the neck, AI Challenger has 14."""
    assert (len(COCO17.joints), len(COCO18.joints), len(AI_CHALLENGER14.joints)) == (17, 18, 14)
    assert set(COCO18.joints) - set(COCO17.joints) == {"neck"}


def test_every_paf_channel_belongs_to_one_limb():
    """The 19 limbs of COCO-18 use the 38 channels once each, in pairs of x and y."""
    channels = [channel for pair in COCO18.paf for channel in pair]
    assert sorted(channels) == list(range(38))
    assert all(y == x + 1 for x, y in COCO18.paf)
    assert len(COCO18.paf) == len(COCO18.limbs) == 19


def test_paf_of_the_right_thigh():
    """The first two channels run from the neck to the right hip, the next two on to the right knee."""
    named = {(COCO18.joints[a], COCO18.joints[b]): paf for (a, b), paf in zip(COCO18.limbs, COCO18.paf, strict=True)}
    assert named["neck", "r_hip"] == (0, 1)
    assert named["r_hip", "r_knee"] == (2, 3)
    assert named["l_shoulder", "l_ear"] == (26, 27)


def test_limbs_do_not_change_sides():
    """A limb joins left to left and right to right; only shoulders and hips are joined across."""
    across = {
        frozenset((entry.joints[a], entry.joints[b]))
        for entry in SKELETONS.values()
        for a, b in entry.limbs
        if {entry.joints[a][:2], entry.joints[b][:2]} == {"l_", "r_"}
    }
    assert across == {
        frozenset(("l_hip", "r_hip")),
        frozenset(("l_shoulder", "r_shoulder")),
        frozenset(("l_eye", "r_eye")),
    }


def test_unknown_skeleton_names_the_near_miss():
    """A misspelt skeleton is a mistake of the recipe's `joints`, and the likely one is named."""
    with pytest.raises(RecipeError, match="no skeleton called 'coco_17'") as caught:
        skeleton("coco_17")
    assert caught.value.at == ("joints",)
    assert "did you mean 'coco17'?" in caught.value.fix


def test_hopeless_name_lists_all():
    """A name that is near nothing is answered with the whole list."""
    with pytest.raises(RecipeError) as caught:
        skeleton("hand")
    assert all(name in caught.value.fix for name in SKELETONS)
