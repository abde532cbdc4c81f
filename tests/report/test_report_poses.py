import numpy as np
import pytest
from _dossier import HEAT, maps, pictures

from workbench.pose.person import Person
from workbench.pose.skeletons import skeleton
from workbench.recipe.schema import OutputSpec
from workbench.report.overlay import difference, drawing, row
from workbench.report.poses import Candidates, gallery

BONES = skeleton("ai_challenger14")
SIZE = (100, 100)


def person(shift=0.0, without=()):
    """Somebody whose joints lie on a diagonal, a picture of 100 pixels across."""
    joints = np.stack([np.arange(14) * 5.0 + 10 + shift, np.arange(14) * 5.0 + 10], axis=1)
    joints[list(without)] = np.nan
    return Person(joints, np.where(np.isnan(joints[:, 0]), 0.0, 0.9))


def test_a_limb_is_drawn_where_both_of_its_joints_were_found():
    """Without the neck, which four limbs meet in, these are missing."""
    whole, headless = drawing([person()], BONES), drawing([person(without=(1,))], BONES)

    assert (len(whole.limbs), len(whole.spots)) == (13, 14)
    assert (len(headless.limbs), len(headless.spots)) == (8, 13)
    assert whole.spots[0].said == "confidence 0.90"


def test_what_moved_is_marked_from_five_percent_on():
    """A way for every joint, a ring for those that moved far, the worst by name."""
    near, far = (difference([person()], [person(shift)], BONES, SIZE) for shift in (4.0, 6.0))

    assert (len(near.ways), len(near.moved), len(far.moved)) == (14, 0, 14)
    assert far.moved[0].said == "moved by 6.0 px"
    assert near.line == f"14 of 14 joints within 5 %; moved 4.0 px on average, 4.0 px at most ({near.worst})"


def test_lost_and_gained_joints_are_marked_where_somebody_has_them():
    """One the reference alone has, and one the other alone has."""
    found = difference([person(without=(2,))], [person(without=(0,))], BONES, SIZE)

    assert [(spot.joint, spot.said) for spot in found.lost] == [("head_top", "lost")]
    assert [(spot.joint, spot.said) for spot in found.gained] == [("r_shoulder", "gained")]
    assert "1 joint lost; 1 joint gained" in found.line


def test_people_missed_and_invented_are_marked_whole():
    """All joints of somebody whom only one of the two sees."""
    missed = difference([person()], [], BONES, SIZE)
    invented = difference([], [person()], BONES, SIZE)

    assert len(missed.lost) == len(invented.gained) == 14
    assert missed.line == "1 person missed"
    assert invented.line == "the source network finds nobody here"
    assert row(missed.numbers)["mean_pixels"] is None


def test_each_artifact_is_seen_beside_the_source():
    """Two cells of four pixels to the right is more than 5 % of 48; the fourth joint is lost in both pictures."""
    shown = pictures()
    view = shown.shots[0].views["<x>.int8.onnx"]

    assert shown.size == (48, 64)
    assert shown.cells == (12, 16)
    assert shown.joints[-2:] == ("l_ankle", "background")
    assert len(shown.shots[0].source.drawing.spots) == 14
    assert [spot.joint for spot in view.difference.lost] == ["r_elbow"]
    assert shown.rows["<x>.int8.onnx"]["lost"] == 2
    assert shown.rows["<x>.int8.onnx"]["mean_pixels"] == pytest.approx(8, abs=0.5)
    assert shown.to_json()["artifacts"].keys() == {"<x>.int8.onnx"}


def test_a_network_that_answers_nan_is_told_and_not_drawn():
    """The others still are."""
    broken = maps()
    broken[1, 0, 0, 0] = np.nan
    shown = pictures({"bad": {"heat": broken}, "good": {"heat": maps()}})

    assert shown.artifacts == ("good",)
    assert "not finite" in shown.rows["bad"]["failed"]


def test_outputs_that_nobody_reads_leave_the_pictures():
    """A field without heatmaps is no people; the page shows the pictures and says why."""
    spec = OutputSpec(name="paf", shape=(1, 38, 16, 12), meaning="paf")
    pixels = [np.zeros((64, 48, 3), np.uint8)]
    shown = gallery(Candidates(pixels, {"paf": np.zeros((1, 38, 16, 12), np.float32)}, {}), [spec], "coco18", ["a"])

    assert "cannot be read as people" in shown.why_not
    assert [shot.name for shot in shown.shots] == ["a"]


def test_random_weights_see_nobody():
    """Noise has peaks in plenty; hundreds of people are not drawn, the pictures are shown."""
    found = Candidates([np.zeros((64, 48, 3), np.uint8)], {"heat": maps()[:1]}, {})
    shown = gallery(found, [HEAT], "ai_challenger14", ["a"], random=True)

    assert shown.why_not == "random weights see noise, not people"
    assert (len(shown.shots), shown.rows) == (1, {})


def test_a_crowd_is_counted_whole_and_drawn_in_part():
    """Thirty people of a hundred are drawn."""
    crowd = [person(shift) for shift in range(0, 1000, 10)]

    assert len(drawing(crowd, BONES).spots) == 30 * 14
    found = difference(crowd, [], BONES, SIZE)
    assert (found.numbers.missed, len(found.lost)) == (100, 200)


def test_an_output_that_surgery_renamed_is_not_guessed():
    """Nothing is drawn by position."""
    found = Candidates([np.zeros((64, 48, 3), np.uint8)], {"other": maps()[:1]}, {})

    assert gallery(found, [HEAT], "ai_challenger14", ["a"]).why_not == "surgery left no output heat"


def test_heatmaps_beyond_the_budget_are_left_out(monkeypatch):
    """Of one picture all or none, so that two networks can be compared wherever there is one."""
    full = pictures()
    size = len(full.shots[0].source.heat) + len(full.shots[0].views["<x>.int8.onnx"].heat)
    monkeypatch.setattr("workbench.report.poses._BUDGET", size + 10)
    cut = pictures()

    assert cut.shots[0].source.heat == full.shots[0].source.heat
    assert (cut.shots[1].source.heat, cut.shots[1].views["<x>.int8.onnx"].heat) == ("", "")
