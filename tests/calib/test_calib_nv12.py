"""A camera's YUV against known values and against itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.calib.nv12 import from_nv12, to_nv12

# BT.601 of the primaries: Y, U, V as published for 8 bits.
KNOWN = {
    ("limited", (255, 255, 255)): (235, 128, 128),
    ("limited", (0, 0, 0)): (16, 128, 128),
    ("limited", (255, 0, 0)): (81, 90, 240),
    ("limited", (0, 255, 0)): (145, 54, 34),
    ("limited", (0, 0, 255)): (41, 240, 110),
    ("full", (255, 255, 255)): (255, 128, 128),
    ("full", (0, 0, 0)): (0, 128, 128),
    ("full", (255, 0, 0)): (76, 85, 255),
    ("full", (0, 255, 0)): (150, 44, 21),
    ("full", (0, 0, 255)): (29, 255, 107),
}


@pytest.mark.parametrize(("levels", "colour"), KNOWN)
def test_primaries_have_their_published_values(levels, colour):
    """White, black, red, green and blue become the triples of the standard."""
    planes = to_nv12(np.full((2, 4, 3), colour, np.uint8), levels)

    y, u, v = KNOWN[levels, colour]
    np.testing.assert_array_equal(planes, [[y] * 4, [y] * 4, [u, v, u, v]])


def test_the_planes_are_laid_out_as_the_format_says():
    """Luma comes first, line by line; then one line of pairs for two lines of pixels; NV21 has the pairs turned."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[2:, 4:] = (255, 0, 0)
    planes = to_nv12(pixels)

    assert planes.shape == (6, 6)
    assert planes[2:4, 4:].tolist() == [[76, 76], [76, 76]]
    assert planes[5].tolist() == [128, 128, 128, 128, 85, 255]
    assert to_nv12(pixels, order="vu")[5].tolist() == [128, 128, 128, 128, 255, 85]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["full", "limited"]), st.sampled_from(["uv", "vu"]))
def test_there_and_back(seed, levels, order):
    """Where four pixels have one colour nothing but rounding is lost: at most 3 of 255, and black, white exactly."""
    blocks = np.random.default_rng(seed).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    blocks[0, 0], blocks[0, 1] = 0, 255
    pixels = blocks.repeat(2, axis=0).repeat(2, axis=1)
    back = from_nv12(to_nv12(pixels, levels, order), levels, order)

    assert np.abs(back.astype(int) - pixels).max() <= 3
    np.testing.assert_array_equal(back[:2, :4], pixels[:2, :4])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((3, 4, 3), np.uint8), "4 x 3 must be even"),
        (np.zeros((4, 4), np.uint8), "RGB"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
    ],
)
def test_other_pictures_are_refused(wrong, message):
    """Odd sizes, grey and floats are errors of the caller."""
    with pytest.raises(ValueError, match=message):
        to_nv12(wrong)


def test_other_planes_are_refused():
    """So are planes that no picture has."""
    with pytest.raises(ValueError, match="height"):
        from_nv12(np.zeros((4, 4), np.uint8))
