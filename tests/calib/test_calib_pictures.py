"""Hostile pictures are counted, not crashed on; fitted pictures are deterministic."""

from __future__ import annotations

import os
import random
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workbench.calib import png
from workbench.calib.pictures import (
    Unreadable,
    check_apart,
    choose,
    fingerprint,
    hold_out,
    open_picture,
    read_fitted,
    same_content,
    write_fitted,
)
from workbench.errors import RecipeError, ToolError
from workbench.recipe.schema import InputSpec

SPEC = InputSpec(name="image", shape=(1, 3, 12, 16))


def draw(path, size=(20, 10), shade=100, **more):
    """A small picture file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 20, 30)).save(path, **more)
    return path


def claims_to_be(path, width, height):
    """A PNG of a few bytes that says it is width x height."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    tail = (
        struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + tail)
    return path


@given(st.integers(0, 60), st.integers(1, 40))
def test_choice_is_spread_and_ordered(found, count):
    """As many as asked for, or all; in order, each once, never further apart than an even spread asks."""
    paths = [Path(f"{number:03d}.png") for number in range(found)]
    chosen = choose(paths, count)
    assert len(chosen) == min(found, count)
    assert list(chosen) == sorted(set(chosen))
    places = [int(path.stem) for path in chosen]
    gaps = [after - before for before, after in pairwise(places)]
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
def test_the_four_formats_are_read(tmp_path, suffix):
    """JPEG, PNG, BMP and WebP open as upright RGB pictures."""
    picture = open_picture(draw(tmp_path / f"a.{suffix}"))
    assert isinstance(picture, Image.Image)
    assert (picture.mode, picture.size) == ("RGB", (20, 10))


def test_orientation_is_applied_on_opening(tmp_path):
    """What is handed out stands upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = open_picture(draw(tmp_path / "a.jpg", exif=exif))
    assert not isinstance(picture, Unreadable)
    assert picture.size == (10, 20)


def test_what_is_not_a_picture_has_a_reason(tmp_path):
    """Text, nothing, an empty file, a folder, a format that is not read and a truncated file are told apart."""
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "gif.png", format="GIF")
    whole = draw(tmp_path / "cut.jpg", (200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    reasons = {}
    for name in ("text.png", "empty.png", "folder.png", "gif.png", "cut.jpg", "gone.png"):
        found = open_picture(tmp_path / name)
        assert isinstance(found, Unreadable), name
        reasons[name] = found.reason
    assert reasons["text.png"].startswith("not a picture")
    assert reasons["empty.png"].startswith("not a picture")
    assert reasons["gif.png"].startswith("not a picture")
    assert reasons["folder.png"] == "not a file"
    assert reasons["gone.png"] == "no such file"
    assert "truncated" in reasons["cut.jpg"]


@pytest.mark.parametrize("side", [11_000, 30_000, 2**31 - 1])
def test_bombs_are_not_decoded(tmp_path, side, recwarn):
    """A file of sixty bytes that claims gigapixels is refused by its header, without a warning from the decoder."""
    found = open_picture(claims_to_be(tmp_path / "bomb.png", side, side))
    assert isinstance(found, Unreadable)
    assert "megapixels" in found.reason
    assert not recwarn.list


def test_a_pipe_does_not_block(tmp_path):
    """A named pipe called picture.png is not waited for."""
    os.mkfifo(tmp_path / "pipe.png")
    assert open_picture(tmp_path / "pipe.png") == Unreadable(tmp_path / "pipe.png", "not a file")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
def test_damaged_bytes_never_raise(tmp_path, suffix):
    """Two hundred files with flipped bytes are pictures or reasons, never exceptions."""
    dice = random.Random(5)  # noqa: S311  repeatable damage, no secret
    whole = draw(tmp_path / f"a.{suffix}", (33, 21)).read_bytes()
    outcomes = set()
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        (tmp_path / f"b.{suffix}").write_bytes(data)
        outcomes.add(type(open_picture(tmp_path / f"b.{suffix}")))
    assert outcomes <= {Image.Image, Unreadable}
    assert Unreadable in outcomes or suffix in ("jpg", "bmp")


def test_palette_with_too_much_transparency_is_no_crash(tmp_path):
    """A palette PNG whose transparency table is longer than any palette is a reason or a picture."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 3, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", header),
        (b"PLTE", bytes(3)),
        (b"tRNS", bytes(400)),
        (b"IDAT", zlib.compress(b"\0\0")),
    ):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "a.png").write_bytes(data)
    assert isinstance(open_picture(tmp_path / "a.png"), Unreadable | Image.Image)


def test_fitted_pictures_are_numbered_and_reported(tmp_path):
    """Unreadable pictures are left out and reported, the others are numbered without a gap and read back as fitted."""
    paths = [draw(tmp_path / "a.png", shade=10), tmp_path / "b.png", draw(tmp_path / "c.png", shade=30)]
    paths[1].write_text("no picture")
    report = write_fitted(paths, SPEC, tmp_path / "out", count=3, minimum=2)
    assert report.used == (paths[0], paths[2])
    assert [entry.path for entry in report.skipped] == [paths[1]]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000.png", "00001.png"]
    back = list(read_fitted(tmp_path / "out"))
    assert [pixels.shape for pixels in back] == [(12, 16, 3)] * 2
    assert [int(pixels[0, 0, 0]) for pixels in back] == [10, 30]


def test_grey_inputs_read_back_with_one_channel(tmp_path):
    """The channel axis is there for grey pictures too."""
    spec = InputSpec(name="image", shape=(1, 1, 12, 16), color="GRAY")
    write_fitted([draw(tmp_path / "a.png")], spec, tmp_path / "out", count=1)
    assert next(read_fitted(tmp_path / "out")).shape == (12, 16, 1)


def test_fitted_bytes_are_the_same_twice(tmp_path):
    """Fitting the same pictures again writes the same bytes."""
    paths = [draw(tmp_path / f"{shade}.jpg", (50, 40), shade) for shade in (10, 20)]
    for name in ("one", "two"):
        write_fitted(paths, SPEC, tmp_path / name, count=2)
    first, second = ([path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in ("one", "two"))
    assert first == second


def test_too_few_says_how_many_and_why(tmp_path):
    """The mistake is the recipe's calibration.pictures: found, unreadable, and the first reasons."""
    paths = [draw(tmp_path / "good.png")]
    for number in range(5):
        paths.append(tmp_path / f"bad{number}.png")
        paths[-1].write_text("no picture")
    with pytest.raises(RecipeError) as caught:
        write_fitted(paths, SPEC, tmp_path / "out", count=6, minimum=4)
    assert caught.value.at == ("calibration", "pictures")
    assert caught.value.what.startswith("6 pictures found, 5 unreadable (bad0.png: not a picture")
    assert "and 2 more" in caught.value.what
    assert "1 are too few, 4 are needed" in caught.value.what


def test_a_folder_that_cannot_be_written_is_a_tool_error(tmp_path):
    """A file where the folder should be ends in three parts, not in a traceback."""
    (tmp_path / "out").touch()
    with pytest.raises(ToolError, match="cannot write the fitted pictures") as caught:
        write_fitted([draw(tmp_path / "a.png")], SPEC, tmp_path / "out", count=1)
    assert caught.value.fix


def test_a_damaged_fitted_picture_is_named(tmp_path):
    """Reading back does not pass over what an earlier step wrote and something broke."""
    (tmp_path / "00000.png").write_bytes(png.encode(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3))[:90])
    with pytest.raises(ToolError) as caught:
        list(read_fitted(tmp_path))
    assert caught.value.where.endswith("00000.png")


def test_fingerprint_sees_names_contents_and_order(tmp_path):
    """It moves with a name, a byte or the order, and not with the place the set lies in."""
    one = [draw(tmp_path / "x" / name, shade=shade) for name, shade in (("a.png", 1), ("b.png", 2))]
    two = [draw(tmp_path / "y" / name, shade=shade) for name, shade in (("a.png", 1), ("b.png", 2))]
    first = fingerprint(one, tmp_path / "x")
    assert first == fingerprint(two, tmp_path / "y")
    assert first != fingerprint(one[::-1], tmp_path / "x")
    draw(two[0], shade=9)
    assert first != fingerprint(two, tmp_path / "y")
    two[0].unlink()
    assert len(fingerprint(two, tmp_path / "y")) == 64


def test_no_picture_both_judges_and_calibrates():
    """The held-out pictures are spread over the set, and the rest is everything else in order."""
    paths = [Path(f"{index}.png") for index in range(10)]
    golden, rest = hold_out(paths, 3)

    assert [path.stem for path in golden] == ["0", "3", "6"]
    assert [path.stem for path in rest] == ["1", "2", "4", "5", "7", "8", "9"]


def test_a_copy_of_what_judges_is_in_neither_part(tmp_path):
    """Content tells: the same bytes under another name are left out, bytes of equal length are not."""
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png", "gone.png")]
    for path, text in zip(paths[:3], ("judge", "other", "judge"), strict=True):
        path.write_text(text)

    assert same_content(paths[1:], paths[:1]) == (paths[2],)
    assert hold_out(paths, 1) == ((paths[0],), (paths[1], paths[3]))


def test_a_score_on_calibration_pictures_is_refused(tmp_path):
    """Four pictures of both sets, one of them renamed: three are named, the fourth is counted."""
    paths = [tmp_path / f"{index}.png" for index in range(6)]
    for index, path in enumerate(paths):
        path.write_text(str(index))
    (tmp_path / "renamed.png").write_text("0")
    check_apart(paths[:3], paths[3:])
    with pytest.raises(RecipeError, match=r"cannot score: renamed.png, 1.png, 2.png and 1 more") as caught:
        check_apart(paths[:4], [tmp_path / "renamed.png", *paths[1:]])
    assert caught.value.fix
