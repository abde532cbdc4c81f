"""How pixels become the inputs of files that declare them in different ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.calib.feeding import Camera, feeds_of, looks_like_camera
from workbench.calib.nv12 import from_nv12, to_nv12
from workbench.errors import ParityError, RecipeError
from workbench.recipe.schema import InputSpec
from workbench.runtimes._runner import Port

SPEC = InputSpec(name="image", shape=(1, 3, 4, 6), mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
BGR = SPEC.model_copy(update={"color": "BGR"})
PIXELS = np.random.default_rng(1).integers(0, 256, (4, 6, 3)).astype(np.uint8)
SMOOTH = PIXELS[::2, ::2].repeat(2, 0).repeat(2, 1)


def feed(shape, dtype, spec=SPEC, layout="NCHW", **options):
    """The feed of a file with one input."""
    (one,) = feeds_of([spec], [Port("image", shape, dtype)], layout, **options)
    return one


def test_floats_are_normalized():
    """NCHW in the network's colour order, in the type of the file; nothing needs to be said."""
    for spec, order in ((SPEC, slice(None)), (BGR, slice(None, None, -1))):
        one = feed((1, 3, 4, 6), "float16", spec)
        wanted = (PIXELS[:, :, order].astype(np.float64) - spec.mean) / spec.std
        got = one.of_pixels(PIXELS)
        assert got.dtype == np.float16
        np.testing.assert_allclose(got[0].transpose(1, 2, 0), wanted, rtol=1e-3)
        assert one.note == ""


@pytest.mark.parametrize(("shape", "layout"), [((1, 4, 6, 3), "NHWC"), ((1, 3, 4, 6), "NCHW")])
def test_bytes_are_pixels(shape, layout):
    """A file of uint8 gets what the camera saw, in its layout and the network's colour order; that is told."""
    one = feed(shape, "uint8", BGR)
    got = one.of_pixels(PIXELS)
    wanted = PIXELS[:, :, ::-1]
    np.testing.assert_array_equal(got[0] if layout == "NHWC" else got[0].transpose(1, 2, 0), wanted)
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert one.note == f"image: fed BGR pixels 0..255 as uint8 {layout}; it normalizes them itself"


@pytest.mark.parametrize("shape", [(1, 6, 6, 1), (1, 1, 6, 6)])
@pytest.mark.parametrize("camera", [None, Camera("limited", "vu")])
def test_a_yuv_shape_is_a_camera(shape, camera):
    """One and a half times the height in one plane: NV12 in full range, or what is known of it."""
    spec = SPEC.model_copy(update={"color": "BGR"})
    one = feed(shape, "uint8", spec, cameras={"image": camera} if camera else None)
    levels, order = (camera.levels, camera.order) if camera else ("full", "uv")
    np.testing.assert_array_equal(one.of_pixels(PIXELS).reshape(6, 6), to_nv12(PIXELS, levels, order))
    assert one.of_pixels(PIXELS).shape == shape
    assert ("NV21, limited range" if camera else "NV12, full range") in one.note


def test_the_other_side_sees_what_yuv_leaves():
    """Two files are compared on the same picture, so the float one gets it with halved chroma, too."""
    for dtype in ("float32", "uint8"):
        plain = feed((1, 3, 4, 6), dtype)
        beside = replace(plain, beside=Camera("limited", "vu"))
        left = from_nv12(to_nv12(PIXELS, "limited", "vu"), "limited", "vu")
        np.testing.assert_array_equal(beside.of_pixels(PIXELS), plain.of_pixels(left))
        assert "what is left of the pixels after NV21, limited range" in beside.note


@pytest.mark.parametrize("spec", [SPEC, BGR])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 3, 4, 6), "float32"), ((1, 4, 6, 3), "float32"), ((1, 4, 6, 3), "uint8")]
)
def test_pixels_are_found_again(spec, shape, dtype):
    """What pixels became can be turned back exactly."""
    one = feed(shape, dtype, spec)
    np.testing.assert_array_equal(one.to_pixels(one.of_pixels(PIXELS)), PIXELS)


def test_yuv_is_turned_back_as_a_converter_does():
    """Chroma was halved, so the pixels are those that the chip sees."""
    one = feed((1, 6, 6, 1), "uint8")
    planes = to_nv12(SMOOTH)
    np.testing.assert_array_equal(one.to_pixels(planes.reshape(1, 6, 6, 1)), from_nv12(planes))
    assert np.abs(one.to_pixels(one.of_pixels(SMOOTH)).astype(int) - SMOOTH).max() <= 3


@pytest.mark.parametrize("value", [-10.0, 200.0, 0.1, np.nan, np.inf])
def test_what_is_no_pixel_is_refused(value):
    """Between two pixels, below 0, above 255, NaN: no bytes stand for it."""
    one = feed((1, 3, 4, 6), "float32")
    array = one.of_pixels(PIXELS)
    array[0, 1, 2, 3] = value
    with pytest.raises(RecipeError, match="holds what no pixel becomes"):
        one.to_pixels(array)


def test_a_batch_is_filled():
    """A file that takes two pictures at a time gets the same one twice."""
    spec = SPEC.model_copy(update={"shape": (2, 3, 4, 6)})
    for shape, dtype in (((2, 3, 4, 6), "float32"), ((2, 6, 6, 1), "uint8")):
        got = feed(shape, dtype, spec).of_pixels(PIXELS)
        assert got.shape == shape
        np.testing.assert_array_equal(got[0], got[1])


def test_what_cannot_be_fed_is_told():
    """Other sizes, other names, other types."""
    with pytest.raises(ParityError, match="1x3x4x6"):
        feed((1, 3, 4, 8), "float32")
    with pytest.raises(ParityError, match="'picture'"):
        feeds_of([SPEC], [Port("picture", (1, 3, 4, 6), "float32")], "NCHW")
    with pytest.raises(ParityError, match="'more'"):
        feeds_of([SPEC], [Port("image", (1, 3, 4, 6), "uint8"), Port("more", (1,), "uint8")], "NCHW")
    with pytest.raises(RecipeError, match="'image' is int8"):
        feed((1, 3, 4, 6), "int8")


def test_what_could_be_a_camera():
    """Bytes in one plane whose height is a multiple of three."""
    assert looks_like_camera(Port("x", (1, 288, 192, 1), "uint8"))
    for shape, dtype in (((1, 288, 192, 3), "uint8"), ((1, 288, 192, 1), "float32"), ((288, 192), "uint8")):
        assert not looks_like_camera(Port("x", shape, dtype))
