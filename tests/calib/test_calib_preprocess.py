"""Pictures are fitted, undone and normalised the same way everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workbench.calib.preprocess import fit_geometry, fit_picture, to_tensor, upright
from workbench.recipe.schema import InputSpec

SIDE = st.integers(1, 3000)
FITS = st.sampled_from(["stretch", "letterbox", "pad"])


def spec_of(height=40, width=60, **more):
    """An input of 3 channels unless said otherwise."""
    return InputSpec(name="image", shape=more.pop("shape", (1, 3, height, width)), **more)


def flat(size, colour, mode="RGB"):
    """A picture of one colour."""
    return Image.new(mode, size, colour)


@given(SIDE, SIDE, FITS)
def test_undoing_maps_the_corners_back(width, height, fit):
    """Every corner of a picture lands inside the input and comes back to itself."""
    placed = fit_geometry((width, height), spec_of(fit=fit))
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)], np.float64)
    inside = placed.to_input(corners)
    assert (inside >= -1e-9).all()
    assert (inside <= np.array((60, 40)) + 1e-9).all()
    assert np.allclose(placed.to_picture(inside), corners, atol=1e-6 * max(width, height))


@given(st.integers(50, 3000), st.integers(50, 3000), st.sampled_from(["letterbox", "pad"]))
def test_letterbox_and_pad_keep_the_aspect(width, height, fit):
    """Content keeps its aspect to the rounding of one pixel, and touches the input on one axis from end to end."""
    placed = fit_geometry((width, height), spec_of(fit=fit))
    across, down = placed.scale_x * width, placed.scale_y * height
    assert abs(across / width * height - down) <= 0.5 + 0.5 * height / width
    assert across == pytest.approx(60) or down == pytest.approx(40)


def test_letterbox_centres_and_pad_does_not():
    """A square in a 60 x 40 input leaves bars of ten columns on both sides, or twenty on the right."""
    assert fit_geometry((80, 80), spec_of(fit="letterbox")).offset_x == 10
    assert fit_geometry((80, 80), spec_of(fit="pad")).offset_x == 0
    letterbox = fit_picture(flat((80, 80), (200, 100, 50)), spec_of(fit="letterbox", fill=7))
    assert letterbox.shape == (40, 60, 3)
    assert (letterbox[:, :10] == 7).all()
    assert (letterbox[:, 50:] == 7).all()
    assert (letterbox[:, 10:50] == (200, 100, 50)).all()
    pad = fit_picture(flat((80, 80), (200, 100, 50)), spec_of(fit="pad", fill=7))
    assert (pad[:, :40] == (200, 100, 50)).all()
    assert (pad[:, 40:] == 7).all()


def test_a_point_of_the_picture_is_where_the_geometry_says():
    """A bright block drawn into a picture is found, after fitting, where `to_input` puts it."""
    picture = flat((300, 100), (0, 0, 0))
    picture.paste((255, 255, 255), (150, 40, 180, 60))
    spec = spec_of(fit="letterbox")
    fitted = fit_picture(picture, spec)[:, :, 0] > 127
    rows, columns = np.nonzero(fitted)
    (left, top), (right, bottom) = fit_geometry((300, 100), spec).to_input(np.array([(150, 40), (180, 60)]))
    assert abs(columns.min() - left) <= 1
    assert abs(columns.max() + 1 - right) <= 1
    assert abs(rows.min() - top) <= 1
    assert abs(rows.max() + 1 - bottom) <= 1


def test_one_pixel_wide_pictures_survive():
    """The most extreme aspect still has content of one pixel."""
    assert fit_picture(flat((1, 3000), (9, 9, 9)), spec_of(fit="letterbox")).max() == 9


def test_exif_orientation_is_applied():
    """A picture that says it lies on its side is turned upright before it is fitted."""
    picture = flat((60, 40), (0, 0, 0))
    picture.paste((255, 0, 0), (0, 0, 30, 40))
    picture.getexif()[0x0112] = 6  # turn by 90 degrees to the right: the left half becomes the top
    fitted = fit_picture(picture, spec_of(60, 40))
    assert (fitted[:29] == (255, 0, 0)).all()
    assert (fitted[31:] == 0).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_over_the_fill(mode):
    """Where a picture is see-through, the grey of the bars is seen."""
    clear = flat((20, 20), (255, 255, 255, 0), "RGBA").convert("LA" if mode == "LA" else "RGBA")
    clear = clear.convert("PA") if mode == "PA" else clear
    assert (fit_picture(clear, spec_of(fill=114)) == 114).all()


def test_a_transparent_colour_is_transparent():
    """A PNG may name one colour as see-through instead of an alpha channel."""
    picture = flat((20, 20), (1, 2, 3))
    picture.info["transparency"] = (1, 2, 3)
    assert (fit_picture(picture, spec_of(fill=114)) == 114).all()


def test_sixteen_bit_grey_keeps_its_tones():
    """16-bit grey is scaled to 8 bits, not cut off at 255."""
    wide = Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16))
    assert np.asarray(upright(wide)).tolist() == [[0, 100], [200, 255]]


def test_grey_input_has_one_channel():
    """A GRAY input takes the luminance, as one channel."""
    spec = InputSpec(name="image", shape=(1, 1, 8, 8), color="GRAY")
    fitted = fit_picture(flat((8, 8), (255, 0, 0)), spec)
    assert fitted.shape == (8, 8, 1)
    assert (fitted == 76).all()
    assert to_tensor(fitted, spec).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(("color", "order"), [("RGB", (10, 20, 30)), ("BGR", (30, 20, 10))])
def test_tensor_has_the_colour_order_and_normalisation(color, order):
    """Channels come in the network's order, each with its own mean and std, as NCHW whatever the source's layout."""
    spec = InputSpec(name="image", shape=(1, 4, 6, 3), layout="NHWC", color=color, mean=(1, 2, 3), std=(2, 4, 8))
    tensor = to_tensor(np.full((4, 6, 3), (10, 20, 30), np.uint8), spec)
    assert tensor.shape == (1, 3, 4, 6)
    assert tensor.dtype == np.float32
    assert tensor.flags["C_CONTIGUOUS"]
    expected = [(value - mean) / std for value, mean, std in zip(order, (1, 2, 3), (2, 4, 8), strict=True)]
    assert tensor[0, :, 0, 0].tolist() == expected


@given(st.floats(0, 255), st.floats(0.5, 300))
def test_tensor_stays_in_the_range_the_recipe_promises(mean, std):
    """No pixel leaves `InputSpec.value_range`."""
    spec = spec_of(1, 256, mean=(mean,), std=(std,))
    tensor = to_tensor(np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 256, 1), 3, axis=2), spec)
    low, high = spec.value_range
    assert tensor.min() == pytest.approx(low, abs=1e-4 * max(1, abs(low)))
    assert tensor.max() == pytest.approx(high, abs=1e-4 * max(1, abs(high)))


def test_pixels_of_another_size_are_refused():
    """A tensor is only made of pixels that were fitted to this input."""
    with pytest.raises(ValueError, match=r"takes uint8 \(40, 60, 3\)"):
        to_tensor(np.zeros((40, 61, 3), np.uint8), spec_of())
