"""What two sets of people have in common, on cases counted by hand."""

import numpy as np
import pytest
from _ideal import COCO18, as_skeleton, crowd

from workbench.pose.agreement import agreement, likeness, likenesses, matched, torso, total
from workbench.pose.person import Person

SIZE = (656, 368)


def people(number=3):
    """Drawn people in pixels of the picture."""
    return [Person(joints, np.full(18, 0.9)) for joints in as_skeleton(crowd(number), COCO18)]


def changed(person, **joints):
    """`person` with joints moved by (x, y), or removed by None."""
    places = person.joints.copy()
    for name, way in joints.items():
        places[COCO18.index(name)] = np.nan if way is None else places[COCO18.index(name)] + way
    found = np.isfinite(places).all(axis=1)
    return Person(places, np.where(found, person.confidence, 0))


def compare(before, after):
    """Their agreement in the picture."""
    return agreement(before, after, COCO18, SIZE)


def test_equal_people_agree():
    """Nothing moved, nobody is missed; the order does not matter."""
    same = people()
    found = compare(same, same[::-1])
    assert (found.people, found.missed, found.invented, found.lost, found.gained, found.reattached) == (3,) + (0,) * 5
    assert found.joints == found.near == 3 * 18
    assert set(found.pixels) == {0.0}


def test_a_joint_that_moved():
    """3 and 4 pixels are 5; as a share of the picture each axis has its own length."""
    (one,) = people(1)
    found = compare([one], [changed(one, nose=(30, 40))])
    assert max(found.pixels) == pytest.approx(50)
    assert max(found.shares) == pytest.approx(np.hypot(30 / 656, 40 / 368))
    assert max(found.torsos) == pytest.approx(50 / torso(one, COCO18))
    assert found.near == 17


def test_joints_lost_and_gained():
    """Counted for people that both have."""
    (one,) = people(1)
    found = compare([changed(one, nose=None)], [changed(one, l_wrist=None, r_wrist=None)])
    assert (found.lost, found.gained, found.joints) == (2, 1, 15)


def test_somebody_missed_and_somebody_invented():
    """A person that is nowhere near anybody is not the same person."""
    a, b, c = people(3)
    found = compare([a, b], [a, c])
    assert (found.people, found.missed, found.invented) == (2, 1, 1)
    assert compare([], [a]).invented == 1
    assert compare([a], []).missed == 1


def test_a_limb_that_joins_two_people():
    """A forearm that ends at the neighbour's hand is re-attached."""
    a, b, _ = people(3)
    wrist = COCO18.index("r_wrist")
    swapped = changed(a, r_wrist=b.joints[wrist] - a.joints[wrist])
    assert compare([a, b], [swapped, b]).reattached == 1
    assert compare([a, b], [a, b]).reattached == 0


def test_likeness_falls_with_distance():
    """Half a torso away is 0.6, a whole one 0.14; of half the joints half of it."""
    (one,) = people(1)
    unit = torso(one, COCO18)
    for way, alike in ((0, 1.0), (0.5, 0.6065), (1, 0.1353)):
        moved = Person(one.joints + np.array([way * unit, 0]), one.confidence)
        assert likeness(one, moved, COCO18) == pytest.approx(alike, abs=1e-3)
    half = changed(one, **dict.fromkeys(COCO18.joints[:9]))
    assert likeness(one, half, COCO18) == pytest.approx(0.5)


def test_nobody_is_matched_twice():
    """Two equal answers for one person: one is hers, the other invented."""
    (one,) = people(1)
    assert matched([one], [one, one], COCO18) == [(0, 0)]
    assert compare([one], [one, one]).invented == 1


def test_the_size_of_a_person_without_hips():
    """Something above zero, whatever was found."""
    (one,) = people(1)
    legless = changed(one, l_hip=None, r_hip=None)
    assert torso(legless, COCO18) > 1
    nobody = Person(np.full((18, 2), np.nan), np.zeros(18))
    assert torso(nobody, COCO18) == 1.0
    assert likeness(one, nobody, COCO18) == 0.0


def test_pictures_are_added():
    """Counts are summed, ways are joined."""
    (one,) = people(1)
    part = compare([one], [changed(one, nose=(3, 4))])
    both = total([part, part, compare([one], [])])
    assert (both.people, both.missed, both.joints) == (3, 1, 36)
    assert both.pixels.count(max(part.pixels)) == 2
    assert total([]).people == 0


def test_hundreds_of_people_are_compared_at_once():
    """A network that answers noise sees hundreds: each pair is as alike as the two alone."""
    random = np.random.default_rng(0)
    crowds = []
    for _ in range(2):
        places = random.uniform(0, 300, (200, 18, 2))
        places[random.random((200, 18)) < 0.5] = np.nan
        places[0] = np.nan
        crowds.append([Person(one, np.isfinite(one[:, 0]).astype(float)) for one in places])
    alike = likenesses(*crowds, COCO18)

    assert alike.shape == (200, 200)
    assert set(alike[0]) == {0.0}
    for one, two in random.integers(0, 200, (20, 2)):
        assert alike[one, two] == pytest.approx(likeness(crowds[0][one], crowds[1][two], COCO18))
    found = compare(*crowds)
    assert found.reattached > 200
    assert found.people == found.missed + len(matched(*crowds, COCO18)) == 200


def test_nobody_beside_somebody():
    """Everybody is missed, or invented; nothing is divided by nobody."""
    some = people()

    assert (compare(some, []).missed, compare(some, []).reattached) == (3, 0)
    assert (compare([], some).invented, compare([], some).reattached) == (3, 0)
    assert likenesses([], some, COCO18).shape == (0, 3)
