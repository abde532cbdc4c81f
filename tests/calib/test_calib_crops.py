"""Crops are inside, of the size asked for, and the same ones on every machine and in every set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workbench.calib.crops import LEAST, boxes, crops
from workbench.calib.pictures import read_fitted, write_fitted
from workbench.recipe.schema import InputSpec

SPEC = InputSpec(name="image", shape=(1, 3, 12, 16))


def noise(path, seed, size=(60, 40)):
    """A picture file of random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@given(
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    st.binary(max_size=8),
    st.integers(0, 5),
    st.floats(0.01, 1),
    st.floats(0, 1),
)
def test_boxes_are_inside_and_keep_the_share(size, key, count, low, more):
    """Every side is the same share of the picture's, within a pixel, and not below the least that fits."""
    high = low + more * (1 - low)
    found = boxes(size, key, count, share=(low, high))

    assert len(found) == count
    for left, top, right, bottom in found:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        for kept, side in ((right - left, size[0]), (bottom - top, size[1])):
            least = min(side, LEAST)
            assert max(least, low * side - 1) <= kept <= max(least, high * side + 1)


def test_boxes_are_pinned():
    """These numbers do not depend on a library, so that a set can be named in a report: they never change."""
    assert boxes((640, 480), b"key", 3, share=(0.3, 0.6)) == (
        (102, 117, 417, 354),
        (44, 298, 282, 476),
        (131, 9, 501, 286),
    )


def test_more_crops_begin_with_the_fewer_ones_and_seeds_differ():
    """Asking for more adds to what was there; another seed or another picture gives others."""
    few, many = (boxes((640, 480), b"a", count) for count in (2, 5))
    assert many[:2] == few
    assert len(set(many)) == 5
    assert not set(many) & {*boxes((640, 480), b"a", 5, seed=1), *boxes((640, 480), b"b", 5)}


def test_places_cover_the_picture():
    """Over many crops every corner is reached, and the middle is no favourite."""
    found = np.array(boxes((1000, 1000), b"x", 400, share=(0.3, 0.6)))
    assert found[:, :2].min() < 10
    assert found[:, 2:].max() > 990
    assert abs(((found[:, 0] + found[:, 2]) / 2).mean() - 500) < 25
    kept = (found[:, 2] - found[:, 0]) / 1000
    assert abs(kept.mean() - 0.45) < 0.02


@pytest.mark.parametrize("share", [(0, 0.5), (0.6, 0.3), (0.5, 1.5)])
def test_shares_that_are_none_are_refused(share):
    """A share is above 0, at most 1 and goes up."""
    with pytest.raises(ValueError, match="a share of a side is above 0 and at most 1"):
        boxes((10, 10), b"", 1, share=share)


def test_crops_are_cut_from_the_upright_picture(tmp_path):
    """A camera's sideways picture is turned before it is cut."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (300, 100)).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as picture:
        (part,) = crops(picture, b"", 1, share=(0.5, 0.5))
    assert part.size == (50, 150)


def test_crops_stand_behind_their_picture(tmp_path):
    """Files are numbered on; count and minimum mean pictures; what is in each file is told."""
    paths = [noise(tmp_path / f"{name}.png", seed) for seed, name in enumerate("abc")]
    report = write_fitted(paths, SPEC, tmp_path / "out", count=2, minimum=2, crops=2)
    plain = write_fitted(paths, SPEC, tmp_path / "plain", count=2)

    assert report.used == plain.used == (paths[0], paths[1])
    assert report.written == ("a.png", "a.png, crop 1", "a.png, crop 2", "b.png", "b.png, crop 1", "b.png, crop 2")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{index:05d}.png" for index in range(6)]
    back = list(read_fitted(tmp_path / "out"))
    assert all(np.array_equal(*pair) for pair in zip(back[::3], read_fitted(tmp_path / "plain"), strict=True))
    assert len({pixels.tobytes() for pixels in back}) == 6


def test_crops_depend_on_the_picture_alone(tmp_path):
    """Another name, other neighbours: the same crops, byte for byte."""
    noise(tmp_path / "one" / "a.png", 1)
    noise(tmp_path / "two" / "0.png", 2)
    noise(tmp_path / "two" / "z.png", 1)
    for name, place in (("one", 0), ("two", 3)):
        write_fitted(sorted((tmp_path / name).iterdir()), SPEC, tmp_path / f"{name} out", count=9, crops=2)
        files = sorted((tmp_path / f"{name} out").iterdir())[place : place + 3]
        (tmp_path / name / "joined").write_bytes(b"".join(file.read_bytes() for file in files))

    assert (tmp_path / "one" / "joined").read_bytes() == (tmp_path / "two" / "joined").read_bytes()
