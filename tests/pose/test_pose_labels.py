"""Labels read from COCO-style files, whole and broken."""

import json
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import RecipeError
from workbench.pose import labels
from workbench.pose.skeletons import AI_CHALLENGER14, COCO17, COCO18

DRAWN = Path(__file__).resolve().parents[2] / "calib_data" / "people" / "keypoints.json"


def file(tmp_path, **changes):
    """A json with one picture, one person and three joints; `changes` replace its parts."""
    data = {
        "images": [{"id": 7, "file_name": "a.png", "width": 64, "height": 48}],
        "categories": [{"id": 1, "keypoints": ["Head Top", "neck", "left_wrist"]}],
        "annotations": [{"image_id": 7, "category_id": 1, "keypoints": [10, 4, 2, 12.5, 16, 1, 0, 0, 0]}],
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({**data, **changes}), "utf-8")
    return path


def test_joints_are_those_of_the_skeleton(tmp_path):
    """Names are brought to this house's, whatever their order; visibility 0 is no label, 1 is one."""
    told = labels.read(file(tmp_path), AI_CHALLENGER14)
    (label,) = told.people["a.png"]

    assert told.joints == ("head_top", "neck", "l_wrist")
    assert told.sizes == {"a.png": (64, 48)}
    assert np.flatnonzero(label.person.found).tolist() == [0, 1]
    assert label.person.joints[:2].tolist() == [[10, 4], [12.5, 16]]
    assert label.box == (10, 4, 2.5, 12)
    assert label.area == 30
    assert not label.crowd


def test_the_drawn_people_are_such_a_file():
    """All joints of COCO-17, and of COCO-18 all but the neck, which COCO does not label."""
    whole = labels.read(DRAWN, COCO17)

    assert whole.joints == COCO17.joints
    assert sum(map(len, whole.people.values())) == 60
    assert set(COCO18.joints) - set(labels.read(DRAWN, COCO18).joints) == {"neck"}


def test_annotations_without_keypoints_are_no_people(tmp_path):
    """A file may also hold boxes of cars; a crowd is told apart."""
    other = [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 4, 4]}]
    crowd = [{"image_id": 7, "category_id": 1, "keypoints": [0] * 9, "iscrowd": 1, "bbox": [1, 2, 3, 4], "area": 5}]
    (label,) = labels.read(file(tmp_path, annotations=other + crowd), AI_CHALLENGER14).people["a.png"]

    assert label.crowd
    assert (label.box, label.area) == ((1, 2, 3, 4), 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {}}, "images is no list of objects"),
        ({"annotations": [3]}, "annotations is no list of objects"),
        ({"images": [{"id": 7}]}, r"images\[0\] has no file_name"),
        ({"images": [{"id": "7", "file_name": "a"}]}, r"images\[0\].id is no whole number"),
        ({"images": [{"id": 7, "file_name": "a"}, {"id": 8, "file_name": "a"}]}, "'a' or its id 8 is there twice"),
        ({"annotations": [{"image_id": 9}]}, r"annotations\[0\] is about image 9, which is not among its images"),
        ({"annotations": [{"image_id": 7, "category_id": 2, "keypoints": []}]}, "no category of that id"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "keypoints": [1, 2]}]}, "2 numbers, not 3 for each of 3"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "keypoints": [True] * 9}]}, "not numbers of pixels"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "keypoints": [10**400] * 9}]}, "not numbers of pixels"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "keypoints": [0] * 9, "bbox": [1]}]}, "bbox is not left"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "keypoints": [0] * 9, "area": "x"}]}, "area are not num"),
        ({"categories": [{"id": 1, "keypoints": ["tail"]}]}, "labels none of the joints of ai_challenger14"),
        ({"categories": [{"id": 1, "keypoints": ["neck", "Neck"]}]}, "name a joint twice"),
        ({"categories": [{"id": 1, "keypoints": "neck"}]}, "are no names of joints"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    """Every contradiction is an error with the file and the place in it."""
    path = file(tmp_path, **changes)

    with pytest.raises(RecipeError, match=message) as caught:
        labels.read(path, AI_CHALLENGER14)
    assert caught.value.where == str(path)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is no json"),
        ("[1]", "no COCO-style json"),
        ("[" * 100_000, "it is no json"),
        ('{"images": NaN}', "NaN is no number"),
        ('{"images": ' + "1" * 5000 + "}", "it is no json"),
        ("\xff", "no COCO-style json|it is no json"),
    ],
)
def test_files_that_are_no_labels(tmp_path, text, message):
    """Hostile bytes end in a sentence."""
    path = tmp_path / "labels.json"
    path.write_text(text, "latin-1")

    with pytest.raises(RecipeError, match=message):
        labels.read(path, COCO17)


def test_a_file_that_is_not_there_or_too_large(tmp_path, monkeypatch):
    """Neither is opened."""
    with pytest.raises(RecipeError, match="no such file"):
        labels.read(tmp_path / "none.json", COCO17)
    with pytest.raises(RecipeError, match="no such file"):
        labels.read(tmp_path, COCO17)
    monkeypatch.setattr(labels, "LARGEST", 10)
    with pytest.raises(RecipeError, match="larger than labels can be"):
        labels.read(file(tmp_path), COCO17)


def test_pictures_are_found_by_name(tmp_path):
    """By the path below the folder or the last part of it; pictures without labels are not in the answer."""
    images = [{"id": 1, "file_name": "train/a.png"}, {"id": 2, "file_name": "sub\\b.png"}]
    told = labels.read(file(tmp_path, images=images, annotations=[]), AI_CHALLENGER14)

    assert set(labels.of_pictures(told, ["a.png", "c.png", "sub/b.png"], "labels.json")) == {"a.png", "sub/b.png"}


def test_labels_of_other_pictures(tmp_path):
    """A file about pictures that are not there belongs to another folder."""
    told = labels.read(file(tmp_path), AI_CHALLENGER14)

    with pytest.raises(RecipeError, match=r"labels.json: it is about other pictures: 'a.png' are not in the folder"):
        labels.of_pictures(told, ["b.png"], "labels.json")
    with pytest.raises(RecipeError, match=r"'a.png' could be any of x/a.png, y/a.png"):
        labels.of_pictures(told, ["x/a.png", "y/a.png"], "labels.json")
    empty = labels.read(file(tmp_path, images=[], annotations=[]), AI_CHALLENGER14)
    with pytest.raises(RecipeError, match="it lists no pictures"):
        labels.of_pictures(empty, ["a.png"], "labels.json")
