"""Our PNG files are PNG files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workbench.calib import png


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_pixels_survive(height, width, channels, seed):
    """Another decoder reads back every pixel, of noise and of gradients, in colour and grey."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    ramp = (np.arange(noise.size) * 3 % 256).astype(np.uint8).reshape(noise.shape)
    for pixels in (noise, ramp):
        with Image.open(io.BytesIO(png.encode(pixels))) as picture:
            assert picture.mode == ("RGB" if channels == 3 else "L")
            assert np.array_equal(np.asarray(picture).reshape(pixels.shape), pixels)


def test_bytes_are_the_same_twice_and_hold_nothing_else():
    """Equal pixels are equal bytes: header, data and end, no date and no text."""
    pixels = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    data = png.encode(pixels)
    assert data == png.encode(pixels.copy())
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert picture.info == {}


def test_filters_pay():
    """A gradient is written smaller than its unfiltered rows would be."""
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)[..., np.newaxis]
    assert len(png.encode(ramp)) < 400


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (0, 4, 3)])
def test_other_arrays_are_refused(shape):
    """Only grey and RGB pictures with pixels are pictures here."""
    with pytest.raises(ValueError, match="height, width, 1 or 3"):
        png.encode(np.zeros(shape, np.uint8))
