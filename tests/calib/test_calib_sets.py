"""A recipe's picture source is a folder, a glob, a COCO json or the drawn people."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from workbench.calib.people import COUNT
from workbench.calib.sets import find_pictures
from workbench.errors import RecipeError

AT = ("calibration", "pictures")


@pytest.fixture
def folder(tmp_path):
    """pics/: b.jpg, a.PNG, sub/c.webp, and things that are no pictures."""
    for name in ("pics/b.jpg", "pics/a.PNG", "pics/sub/c.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "pics" / "notes.txt").write_text("no")
    (tmp_path / "pics" / "._b.jpg").write_text("left by another system")
    (tmp_path / "pics" / "d.png").mkdir()
    return tmp_path


def names(found):
    """Its files, relative to its root."""
    return [path.relative_to(found.root).as_posix() for path in found.paths]


def test_a_folder_is_searched_with_those_below(folder):
    """Pictures by suffix, in any case, sorted; hidden files and folders are none."""
    assert names(find_pictures("pics", folder)) == ["a.PNG", "b.jpg", "sub/c.webp"]


def test_links_to_folders_are_not_followed(folder):
    """A link to a parent does not send the search in circles."""
    (folder / "pics" / "loop").symlink_to(folder / "pics")
    assert len(find_pictures("pics", folder).paths) == 3


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("pics/*", ["pics/a.PNG", "pics/b.jpg"]), ("pics/**/*.webp", ["pics/sub/c.webp"]), ("p?cs/b*", ["pics/b.jpg"])],
)
def test_a_glob_matches_pictures(folder, pattern, expected):
    """A glob starts from the recipe's folder; what it matches that is no picture is passed over."""
    assert names(find_pictures(pattern, folder)) == expected


def test_an_absolute_glob_and_a_base_with_brackets(folder):
    """Brackets in the recipe's own path are no pattern, and a pattern may be absolute."""
    base = folder / "odd [1]"
    (folder / "pics").rename(base)
    assert names(find_pictures("*.jpg", base)) == ["b.jpg"]
    found = find_pictures(f"{folder}/odd*/*.jpg", folder / "elsewhere")
    assert [path.name for path in found.paths] == ["b.jpg"]


def test_a_coco_json_names_its_pictures(folder):
    """File names are relative to the json, each once, sorted; whether they exist is seen when they are opened."""
    images = [{"file_name": name} for name in ("sub/c.webp", "b.jpg", "b.jpg", "gone.jpg")]
    (folder / "pics" / "coco.json").write_text(json.dumps({"images": images}))
    assert names(find_pictures("pics/coco.json", folder)) == ["b.jpg", "gone.jpg", "sub/c.webp"]


@pytest.mark.parametrize("name", ["../b.jpg", "/etc/b.jpg", "sub/../../b.jpg", "..\\b.jpg", "C:\\b.jpg", "", 7, "a\0b"])
def test_a_coco_json_cannot_leave_its_folder(folder, name):
    """Absolute names and '..' are refused, as either system would read them."""
    (folder / "coco.json").write_text(json.dumps({"images": [{"file_name": name}]}))
    with pytest.raises(RecipeError, match="names a file outside its folder") as caught:
        find_pictures("coco.json", folder)
    assert caught.value.at == AT


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"images": 3}', '{"images": [{}]}', '{"images": ["a"]}', "[" * 100_000, '{"images": [null]}'],
)
def test_a_json_that_is_not_coco_is_refused(folder, text):
    """Any other json, and no json at all, is a mistake of the recipe."""
    (folder / "coco.json").write_text(text)
    with pytest.raises(RecipeError, match="is not a COCO json") as caught:
        find_pictures("coco.json", folder)
    assert caught.value.at == AT


@pytest.mark.parametrize(
    ("pictures", "problem"),
    [
        ("nowhere", "neither a folder nor a file"),
        ("pics/notes.txt", "not a COCO json"),
        ("pics/d.png", "no picture"),
        ("pics/*.gif", "no picture matches"),
        ("a\0b", "neither a folder nor a file|cannot look for pictures"),
        ("x" * 5000, "cannot look for pictures"),
    ],
)
def test_nothing_there_is_a_mistake_with_a_fix(folder, pictures, problem):
    """Each way to name no picture says which it was and what to write."""
    with pytest.raises(RecipeError, match=problem) as caught:
        find_pictures(pictures, folder)
    assert caught.value.at == AT
    assert caught.value.fix


def test_an_empty_coco_json_is_a_mistake(folder):
    """A json without images is said to list none."""
    (folder / "coco.json").write_text('{"images": []}')
    with pytest.raises(RecipeError, match="no image is listed in"):
        find_pictures("coco.json", folder)


def test_people_are_the_drawn_set(tmp_path):
    """`people` means the repository's drawn pictures, in order, whatever the recipe's folder."""
    found = find_pictures("people", tmp_path)
    assert names(found) == [f"{number:03d}.png" for number in range(COUNT)]
    assert str(found.root) not in found.origin
