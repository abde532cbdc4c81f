"""PCK, PCKh and average precision on cases counted by hand, and beside pycocotools itself."""

import contextlib
import io
import json

import numpy as np
import pytest
from _ideal import PEOPLE, pictures

from workbench.pose.labels import Label, read
from workbench.pose.person import Person
from workbench.pose.scores import average_precision, scores
from workbench.pose.skeletons import AI_CHALLENGER14, COCO17


def standing(x=100.0):
    """A person of AI Challenger whose joints are 10 pixels apart; from head top to neck it is 10."""
    joints = np.stack([np.full(14, x), 10.0 * np.arange(14)], axis=1)
    return Person(joints, np.ones(14))


def label(person, *, crowd=False):
    """`person` as a label, in a box of 50 x 130."""
    return Label(person, (75, 0, 50, 130), 6500, crowd)


def moved(person, way, joints=slice(None)):
    """`person` with `joints` moved to the right."""
    places = person.joints.copy()
    places[joints, 0] += way
    return Person(places, person.confidence)


def without(person, joint):
    """`person` with a joint nobody found."""
    places, confidence = person.joints.copy(), person.confidence.copy()
    places[joint], confidence[joint] = np.nan, 0
    return Person(places, confidence)


def test_found_exactly():
    """Everything is 1."""
    judged = scores([[standing()]], [[label(standing())]], AI_CHALLENGER14)

    assert (judged.people, judged.joints, judged.pckh, judged.pckh_half) == (1, 14, 1, 1)
    assert judged.pck == {0.05: 1, 0.1: 1, 0.2: 1}
    assert (judged.ap, judged.ap50, judged.ap75, judged.ar) == pytest.approx((1, 1, 1, 1))


def test_joints_count_by_their_way():
    """The box is 130 high: 6.5, 13 and 26 pixels. The head is 10: exactly that far is found, and 5 for the half."""
    seen = standing()
    for joint, way in enumerate([5, 6.5, 7, 10, 10.5, 13, 14, 26, 27]):
        seen = moved(seen, way, joint)
    seen = without(seen, 9)
    judged = scores([[seen]], [[label(standing())]], AI_CHALLENGER14)

    assert judged.pck == pytest.approx({0.05: (2 + 4) / 14, 0.1: (6 + 4) / 14, 0.2: (8 + 4) / 14})
    assert judged.pckh == pytest.approx((4 + 4) / 14)
    assert judged.pckh_half == pytest.approx((1 + 4) / 14)


def test_pckh_is_a_mean_over_people():
    """Of 14 joints of one all are found, of the other's two none: half, where joints alone would say 14 of 16."""
    two = standing(400)
    for joint in range(2, 14):
        two = without(two, joint)
    judged = scores([[standing()], []], [[label(standing())], [label(two)]], AI_CHALLENGER14)

    assert judged.pckh == pytest.approx(0.5)
    assert judged.pck[0.1] == pytest.approx(14 / 16)


def test_pckh_needs_both_ends_of_the_head():
    """People without one of them count for PCK alone; a skeleton without them has no PCKh."""
    headless = label(without(standing(), 0))
    judged = scores([[standing()]], [[headless]], AI_CHALLENGER14)

    assert judged.pckh is None
    assert judged.pck[0.05] == 1
    assert judged.joints == 13
    (_, people), *_ = pictures()
    one = Person(people[0, :, :2], np.ones(17))
    assert scores([[one]], [[Label(one, (0, 0, 50, 50), 2500)]], COCO17).pckh is None


def test_people_are_told_apart():
    """Each label is judged by the person most like it, nobody stands for two, and crowds are not asked for."""
    truth = [label(standing(100)), label(standing(300)), label(standing(600), crowd=True)]
    judged = scores([[standing(301), standing(100)]], [truth], AI_CHALLENGER14)
    missed = scores([[standing(100)]], [truth[:2]], AI_CHALLENGER14)

    assert judged.people == 2
    assert judged.pck[0.05] == 1
    assert missed.pck[0.2] == 0.5
    assert missed.ap == pytest.approx(51 / 101)  # recall 0.5: COCO samples precision at 101 recalls


def test_nobody_labelled_is_no_score():
    """There is nothing to count, which is not 0."""
    nobody = label(without(standing(), slice(None)))

    assert scores([[standing()]], [[]], AI_CHALLENGER14) is None
    assert scores([[standing()]], [[nobody]], AI_CHALLENGER14) is None
    assert average_precision([[standing()]], [[nobody]], AI_CHALLENGER14) == (None,) * 4


def test_nobody_found_is_zero():
    """And nothing fails on it."""
    judged = scores([[]], [[label(standing())]], AI_CHALLENGER14)

    assert set(judged.pck.values()) == {0}
    assert (judged.pckh, judged.ap, judged.ar) == (0, 0, 0)


def test_one_similarity_by_hand():
    """All joints of one person 20 pixels off: the similarity is the mean of exp(-d^2 / (2 area k^2)), k twice sigma."""
    sigmas = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
    (_, people), *_ = pictures()
    one = Person(people[0, :, :2], np.ones(17))
    area = 40000
    similarity = np.exp(-(20**2) / (2 * area * (2 * sigmas) ** 2)).mean()
    steps = np.arange(0.5, 1, 0.05)
    ap, ap50, ap75, _ = average_precision([[moved(one, 20)]], [[Label(one, (0, 0, 200, 200), area)]], COCO17)

    assert 0.5 < similarity < 0.75
    assert ap == pytest.approx((steps <= similarity).mean())
    assert (ap50, ap75) == pytest.approx((1, 0))


def test_equal_to_pycocotools_on_the_drawn_people(tmp_path, capsys):
    """Noisy answers to 32 pictures of 60 people, some missed and some invented: its own files give the same figures."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    random = np.random.default_rng(3)
    told = json.loads(PEOPLE.read_text("utf-8"))
    truth = read(PEOPLE, COCO17)
    found, results = [], []
    for image in told["images"]:
        people = []
        for one in truth.people[image["file_name"]]:
            if random.random() < 0.1:
                continue
            for _ in range(1 + (random.random() < 0.1)):
                places = np.nan_to_num(one.person.joints) + random.normal(0, random.choice([1, 6, 20]), (17, 2))
                people.append(Person(places, np.full(17, random.uniform(0.2, 1))))
        found.append(people)
        for person in people:
            keypoints = np.concatenate([person.joints, np.ones((17, 1))], axis=1).ravel().tolist()
            results.append({"image_id": image["id"], "category_id": 1, "keypoints": keypoints, "score": person.score})
    path = tmp_path / "found.json"
    path.write_text(json.dumps(results), "utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        labels = COCO(str(PEOPLE))
        judge = COCOeval(labels, labels.loadRes(str(path)), "keypoints")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    capsys.readouterr()
    ours = average_precision(found, [truth.people[image["file_name"]] for image in told["images"]], COCO17)

    assert capsys.readouterr().out == ""  # it announces its steps, and stdout is for results
    assert ours == pytest.approx([judge.stats[place] for place in (0, 1, 2, 5)], abs=1e-12)
    assert 0.1 < ours[0] < 0.9
