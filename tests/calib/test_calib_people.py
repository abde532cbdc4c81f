"""The drawn people are the same on every run, and their keypoints are where they were painted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.calib import people
from workbench.calib.people import COUNT, SEED, check_set, draw_people, drawn_set, picture_files
from workbench.calib.people_picture import draw_picture
from workbench.errors import RecipeError, ToolError
from workbench.pose.heatmaps import peaks
from workbench.pose.skeletons import AI_CHALLENGER14, COCO17

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = REPOSITORY / "calib_data" / "people"
SHARED = REPOSITORY.parent / "shared"
HEADLESS = slice(5, 17)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two pictures, drawn twice."""
    folder = tmp_path_factory.mktemp("people")
    for name in ("one", "two"):
        draw_people(folder / name, count=2, seed=SEED)
    return folder


def test_drawing_again_gives_the_same_bytes(drawn):
    """Two runs write the same files with the same bytes, and leave nothing beside them."""
    first, second = (sorted((drawn / name).iterdir()) for name in ("one", "two"))
    assert [path.name for path in first] == ["000.png", "001.png", "keypoints.json", "manifest.json"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert sorted(path.name for path in drawn.iterdir()) == ["one", "two"]


def test_shipped_pictures_are_the_drawn_ones(drawn):
    """The first pictures of calib_data/people have, pixel for pixel, what the generator draws today."""
    listed = json.loads((SHIPPED / "manifest.json").read_text())["files"]
    for name in ("000.png", "001.png"):
        with Image.open(drawn / "one" / name) as ours, Image.open(SHIPPED / name) as shipped:
            assert np.array_equal(np.asarray(ours), np.asarray(shipped)), f"{name}: raise GENERATOR and draw again"
            assert hashlib.sha256(np.asarray(shipped).tobytes()).hexdigest() == listed[name]["pixels_sha256"]


def test_shipped_set_is_what_its_manifest_says():
    """Every file has the hash and the size of the manifest, nothing else lies there, and it says whose it is."""
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    assert check_set(SHIPPED) == []
    assert {path.name for path in SHIPPED.iterdir()} == {*manifest["files"], "manifest.json"}
    assert manifest["licence"] == "CC0-1.0"
    assert manifest["origin"] == "drawn by workbench calib synth"
    assert (manifest["seed"], manifest["count"], manifest["generator"]) == (SEED, COUNT, people.GENERATOR)
    assert all((SHIPPED / name).stat().st_size == entry["bytes"] for name, entry in manifest["files"].items())
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 4_000_000


def test_annotations_are_coco():
    """Ids are unique and refer to each other, keypoints are triples inside their picture, counts are right."""
    coco = json.loads((SHIPPED / "keypoints.json").read_text())
    (category,) = coco["categories"]
    assert category["keypoints"][:3] == ["nose", "left_eye", "right_eye"]
    assert [16, 14] in category["skeleton"]
    images = {image["id"]: image for image in coco["images"]}
    assert len(images) == COUNT
    assert len({entry["id"] for entry in coco["annotations"]}) == len(coco["annotations"]) >= 1.5 * COUNT
    assert {entry["image_id"] for entry in coco["annotations"]} == set(images)
    seen = {0: 0, 1: 0, 2: 0}
    for entry in coco["annotations"]:
        size = images[entry["image_id"]]
        points = np.array(entry["keypoints"]).reshape(17, 3)
        inside = points[points[:, 2] > 0]
        assert ((inside[:, :2] >= 0) & (inside[:, :2] < (size["width"], size["height"]))).all()
        assert (points[points[:, 2] == 0] == 0).all()
        assert entry["num_keypoints"] == len(inside)
        x, y, width, height = entry["bbox"]
        assert 0 <= x < x + width <= size["width"]
        assert 0 <= y < y + height <= size["height"]
        assert 0 < entry["area"] <= width * height
        for value in points[:, 2].astype(int):
            seen[int(value)] += 1
    assert seen[2] > 5 * seen[1] > 0  # most joints are seen, some hidden
    assert seen[0] > 0  # and some people are cut by the frame


@pytest.mark.parametrize("number", [0, 2, 5, 7, 11])
def test_seen_keypoints_lie_on_their_person(number):
    """Wherever a keypoint is called seen, the pixel there was painted for that person."""
    picture = draw_picture(SEED, number)
    assert picture.people
    for index, person in enumerate(picture.people, 1):
        rows, columns = np.nonzero(picture.owner == index)
        assert len(rows) == person.area
        assert (columns.min(), rows.min()) == person.box[:2]
        for name, (x, y, seen) in zip(COCO17.joints, person.keypoints, strict=True):
            if seen == 2:
                assert picture.owner[int(y), int(x)] == index, name


def test_left_and_right_are_the_persons_own():
    """Whoever shows both eyes looks at us, and has the left shoulder on our right unless the chest is turned away."""
    facing = agree = 0
    for number in range(0, 16, 2):
        for person in draw_picture(SEED, number).people:
            points = dict(zip(COCO17.joints, person.keypoints, strict=True))
            if points["l_eye"][2] == points["r_eye"][2] == 2:
                assert points["l_eye"][0] > points["r_eye"][0]
                facing += 1
                agree += points["l_shoulder"][0] > points["r_shoulder"][0]
    assert facing >= 5
    assert agree >= 0.8 * facing


def test_other_seeds_are_other_pictures():
    """The seed and the number both matter."""
    one, other = draw_picture(SEED, 3).pixels, draw_picture(SEED + 1, 3).pixels
    assert one.shape == other.shape
    assert (one != other).mean() > 0.1


def test_an_earlier_output_is_replaced_and_nothing_else(tmp_path):
    """A folder with a stranger's file is refused and stays; an earlier output or an empty folder is replaced."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.png").touch()
    with pytest.raises(RecipeError, match=r"will not replace what is there: holiday\.png"):
        draw_people(tmp_path / "mine", count=1)
    assert (tmp_path / "mine" / "holiday.png").exists()
    (tmp_path / "out").mkdir()
    draw_people(tmp_path / "out", count=2)
    draw_people(tmp_path / "out", count=1)
    assert [path.name for path in picture_files(tmp_path / "out")] == ["000.png"]
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(RecipeError, match=r"notes\.txt"):
        draw_people(tmp_path / "out", count=1)


def test_a_file_in_the_way_is_refused(tmp_path):
    """A file where the folder should be is somebody's file."""
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RecipeError, match="will not replace what is there: out"):
        draw_people(tmp_path / "out", count=1)


@pytest.mark.parametrize(("count", "seed"), [(0, 1), (10_001, 1), (1, -1), (1, 2**32)])
def test_numbers_out_of_range_are_refused(tmp_path, count, seed):
    """Nothing is drawn for a count or a seed that means nothing."""
    with pytest.raises(RecipeError, match=f"cannot draw {count} pictures from seed {seed}"):
        draw_people(tmp_path / "out", count=count, seed=seed)


def test_damage_is_seen_and_mended_in_a_cache(tmp_path, monkeypatch):
    """A changed picture is named; a cache that lost its pictures is drawn anew, the repository's is an error."""
    monkeypatch.setattr(people, "COUNT", 1)
    monkeypatch.setattr(people.draw_people, "__defaults__", (1, SEED, None))
    monkeypatch.setattr(people, "_REPOSITORY", tmp_path / "nowhere")
    with pytest.raises(ToolError, match="not beside the package"):
        drawn_set()
    folder = drawn_set(tmp_path / "cache")
    picture = folder / "000.png"
    whole = picture.read_bytes()
    assert drawn_set(tmp_path / "cache") == folder
    picture.write_bytes(b"changed")
    assert check_set(folder) == ["000.png was changed"]
    monkeypatch.setattr(people, "_REPOSITORY", folder)
    with pytest.raises(ToolError, match=r"damaged: 000\.png was changed"):
        drawn_set(tmp_path / "cache")
    monkeypatch.setattr(people, "_REPOSITORY", tmp_path / "nowhere")
    assert drawn_set(tmp_path / "cache") == folder
    assert picture.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"origin": 1, "files": {}}', '{"origin": 1, "files": {"../a": {}}}'])
def test_a_manifest_that_is_none_is_a_problem(tmp_path, text):
    """A hostile manifest names no files outside, and breaks nothing."""
    (tmp_path / "manifest.json").write_text(text)
    assert check_set(tmp_path) in (["no manifest of drawn people"], ["not a manifest of drawn people"])


@pytest.mark.slow
def test_a_published_network_finds_the_drawn_joints():
    """CPM, trained on photographs, puts most joints of single drawn people where they were drawn."""
    model = SHARED / "models" / "cpm" / "published.tflite"
    if not model.is_file():
        pytest.skip("no published CPM network in ../shared/models/cpm")
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(str(model))
    network.allocate_tensors()
    source, result = network.get_input_details()[0]["index"], network.get_output_details()[0]["index"]
    order = [AI_CHALLENGER14.index(name) for name in COCO17.joints[HEADLESS]]
    coco = json.loads((SHIPPED / "keypoints.json").read_text())
    hits = []
    for image in coco["images"]:
        people_there = [entry for entry in coco["annotations"] if entry["image_id"] == image["id"]]
        points = np.array(people_there[0]["keypoints"]).reshape(17, 3)[HEADLESS]
        if len(people_there) > 1 or (points[:, 2] == 0).any():
            continue
        x, y, width, height = people_there[0]["bbox"]
        side, centre = 1.2 * max(width, height), np.array((x + width / 2, y + height / 2))
        with Image.open(SHIPPED / image["file_name"]) as picture:
            corner = np.rint(centre - side / 2).astype(int)
            crop = picture.crop((*corner.tolist(), *(corner + round(side)).tolist())).resize((192, 192))
        network.set_tensor(source, np.asarray(crop, np.float32)[np.newaxis])
        network.invoke()
        heatmaps = network.get_tensor(result)[0].transpose(2, 0, 1)
        found = (peaks(heatmaps, smooth=2)[order, :2] + 0.5) * side / 96 + corner
        hits.append(np.sqrt(((found - points[:, :2]) ** 2).sum(axis=1)) < 0.15 * max(width, height))
    share = float(np.mean(hits))
    print(f"\n{share:.1%} of the joints of {len(hits)} drawn people found")
    assert len(hits) >= 8
    assert share > 0.85
