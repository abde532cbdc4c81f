"""Which decoder reads a network's outputs, and where the people are then."""

import numpy as np
import pytest
from _ideal import AI_CHALLENGER14, COCO17, COCO18, as_skeleton, crowd, heatmaps, pafs

from workbench.errors import RecipeError, ToolError
from workbench.pose.decode import decoder
from workbench.recipe.schema import OutputSpec


def spec(name, meaning, *shape):
    """An output of one picture."""
    return OutputSpec(name=name, shape=(1, *shape), meaning=meaning)


def inside(size):
    """A drawn person well inside a picture of `size` (H, W): smoothing draws what is near an edge onto it."""
    return 0.5 * as_skeleton(crowd(1, size), AI_CHALLENGER14) + 0.3 * np.array(size[::-1])


def answers(**maps):
    """Maps as a network answers them."""
    return {name: values[np.newaxis].astype(np.float32) for name, values in maps.items()}


def test_heatmaps_alone_are_one_person():
    """Joints come back in pixels of the input, each axis with its own stride; the background is no joint."""
    joints = inside((96, 192))
    maps = heatmaps(joints / (2, 1), (48, 48), 2)  # cells are 4 pixels wide and 2 high
    maps = np.concatenate([maps, 5 * np.ones((1, 48, 48))])
    read = decoder([spec("heat", "heatmap", 15, 48, 48)], AI_CHALLENGER14, (192, 96))

    (person,) = read(answers(heat=maps))
    away = np.abs(person.joints - joints[0])
    assert away[:, 0].max() <= 4
    assert away[:, 1].max() <= 2
    assert person.joints.shape == (14, 2)


def test_a_person_is_smoothed_as_its_authors_do():
    """A single hot cell far away does not outvote a joint: sigma is 5 cells of 96, in proportion."""
    joints = inside((96, 96))
    maps = heatmaps(joints, (48, 48), 2, sigma=2)
    maps[0, 47, 47] = 1.5
    read = decoder([spec("heat", "heatmap", 14, 48, 48)], AI_CHALLENGER14, (96, 96))

    (person,) = read(answers(heat=maps))
    assert np.abs(person.joints[0] - joints[0, 0]).max() <= 2


@pytest.mark.parametrize("number", [1, 3, 10])
def test_fields_tell_people_apart(number):
    """Everybody is found, nobody invented; of several stages the last is read."""
    joints = as_skeleton(crowd(number), COCO18)
    size = (46, 82)
    outputs = [
        spec("first_heat", "heatmap", 19, *size),
        spec("first_paf", "paf", 38, *size),
        spec("heat", "heatmap", 19, *size),
        spec("paf", "paf", 38, *size),
    ]
    heat = np.concatenate([heatmaps(joints, size, 8), np.zeros((1, *size))])
    read = decoder(outputs, COCO18, (656, 368))

    found = read(answers(first_heat=0 * heat, heat=heat, paf=pafs(joints, COCO18, size, 8)))
    assert len(found) == number
    for person in found:
        away = np.nanmax(np.abs(joints - person.joints), axis=(1, 2))
        assert away.min() <= 8


def test_centres_regressions_and_offsets():
    """The four maps are read together, and an offset places a joint inside its cell."""
    size = (48, 48)
    joints = as_skeleton(crowd(1, (192, 192)), COCO17)
    heat = heatmaps(joints, size, 4)
    centre, places = np.array([24, 24]), np.floor(joints[0] / 4).astype(int)
    regs, offsets, centers = np.zeros((34, *size)), np.zeros((34, *size)), np.zeros((1, *size))
    centers[0, 24, 24] = 1
    for joint, (x, y) in enumerate(places):
        regs[2 * joint : 2 * joint + 2, 24, 24] = (x, y) - centre
        offsets[2 * joint : 2 * joint + 2, y, x] = joints[0, joint] / 4 - (x, y)
    outputs = [
        spec("heat", "heatmap", 17, *size),
        spec("centers", "center", 1, *size),
        spec("regs", "regression", 34, *size),
        spec("offsets", "offset", 34, *size),
    ]
    read = decoder(outputs, COCO17, (192, 192))

    (person,) = read(answers(heat=heat, centers=centers, regs=regs, offsets=offsets))
    assert np.abs(person.joints - joints[0]).max() < 1e-4


def test_outputs_that_are_no_people():
    """Meanings that belong to no decoder are a mistake of the recipe, told before anything runs."""
    with pytest.raises(RecipeError, match="mean center, heatmap cannot be read as people") as caught:
        decoder([spec("h", "heatmap", 17, 8, 8), spec("c", "center", 1, 8, 8)], COCO17, (32, 32))

    assert "heatmap, paf" in caught.value.fix
    assert caught.value.at == ("outputs",)


@pytest.mark.parametrize(
    ("outputs", "skeleton", "message"),
    [
        ([("h", "heatmap", 16, 8, 8)], COCO17, "no heatmap of coco17's 17 joints"),
        ([("h", "heatmap", 19, 8, 8), ("p", "paf", 30, 8, 8)], COCO18, "no paf of coco18's 18 joints"),
        ([("h", "heatmap", 19, 8, 8), ("p", "paf", 38, 8, 4)], COCO18, r"p is \[1, 38, 8, 4\] \(NCHW\), no paf"),
        ([("h", "heatmap", 17, 8, 8), ("p", "paf", 38, 8, 8)], COCO17, "which channels of p are which limb of coco17"),
    ],
)
def test_channels_have_to_be_those_of_the_skeleton(outputs, skeleton, message):
    """A recipe whose joints and outputs contradict each other is named with the output."""
    with pytest.raises(RecipeError, match=message):
        decoder([spec(*one) for one in outputs], skeleton, (64, 64))


def test_nan_is_no_place():
    """A network that answers NaN is broken, whatever else it says."""
    read = decoder([spec("heat", "heatmap", 17, 8, 8)], COCO17, (32, 32))
    maps = np.zeros((17, 8, 8))
    maps[3, 0, 0] = np.nan

    with pytest.raises(ToolError, match=r"channels \[3\] hold values that are not finite"):
        read(answers(heat=maps))
