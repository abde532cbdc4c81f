import base64
import io

import numpy as np
import pytest
from PIL import Image

from workbench.calib.preprocess import fit_picture, to_tensor
from workbench.recipe.schema import InputSpec
from workbench.report import charts, imagery
from workbench.report.calibration import summary
from workbench.report.snippets import snippets


def unpacked(address):
    """The picture in a data address."""
    return Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))


def test_a_photo_is_shrunk_and_keeps_its_shape():
    """No side longer than asked, grey as grey, the same bytes for the same pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (100, 50, 3), np.uint8)

    assert unpacked(imagery.photo(pixels, 20)).size == (10, 20)
    assert unpacked(imagery.photo(pixels[:, :, :1], 200)).size == (50, 100)
    assert imagery.photo(pixels, 20) == imagery.photo(pixels.copy(), 20)


def test_heatmaps_stand_below_each_other_after_their_maximum():
    """Transparent where there is nothing or less, dense at the highest value, which may be another network's."""
    found = np.zeros((2, 4, 6), np.float32)
    found[0, 1, 2], found[1, 3, 5], found[1, 0, 0] = 1.0, 0.5, -7
    strip = np.asarray(unpacked(imagery.heat(found, 1.0)).convert("RGBA"))

    assert strip.shape == (12, 6, 4)
    alpha = strip[:, :, 3]
    assert alpha[4 + 1, 2] == alpha[1, 2] == 225
    assert alpha[8 + 3, 5] == alpha[3, 5]
    assert 0 < alpha[8 + 3, 5] < 225
    assert np.count_nonzero(alpha) == 4


def test_large_heatmaps_are_thinned():
    """Every other cell of 200."""
    assert imagery.step((200, 100)) == 2
    assert unpacked(imagery.heat(np.zeros((1, 200, 100), np.float32), 1.0)).size == (50, 200)


def test_a_chart_has_a_point_for_every_known_value():
    """Logarithmic from left to right; a gap where there is none; the highest is named."""
    drawn = charts.along(["a", "b", "c"], [("alone", "layer alone", [0.1, None, 0.001])])

    first, last = drawn.lines[0].points
    assert first.x < last.x
    assert first.y < last.y
    assert drawn.worst.said == "a: layer alone 0.1"
    assert [tick.text for tick in drawn.ticks] == ["0.001", "0.01", "0.1"]


@pytest.mark.parametrize("values", [[], [0.1], [None, float("nan")]])
def test_a_chart_of_nothing_is_none(values):
    """It takes two places and a value."""
    assert charts.along(["t"] * len(values), [("alone", "x", values)]) is None


def test_zero_is_drawn_at_the_floor():
    """A perfect layer has no logarithm."""
    drawn = charts.along(["a", "b"], [("alone", "x", [0.0, 1.0])])

    assert drawn.lines[0].points[0].y == drawn.bottom


def test_the_calibration_set_at_a_glance(tmp_path):
    """Means over all pixels, thumbnails of some pictures, shares that are clipped."""
    for index, value in enumerate((0, 255, 100)):
        Image.new("RGB", (4, 2), (value, 100, 100)).save(tmp_path / f"{index}.png")
    found = summary(tmp_path, "a folder", {"used": ["a", "b", "c"], "skipped": [["d", "damaged"]]})

    assert (found.count, [name for name, _ in found.thumbnails]) == (3, ["a", "b", "c"])
    assert found.mean == (118.3, 100.0, 100.0)
    assert found.std[1] == 0
    assert found.dark == found.bright == pytest.approx(1 / 9)
    assert max(found.histogram) == 1
    assert found.skipped == (("d", "damaged"),)


def test_no_pictures_have_no_summary(tmp_path):
    """As where a folder was emptied."""
    assert summary(tmp_path, "a folder", {"used": [], "skipped": []}) is None


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "pad"])
@pytest.mark.parametrize("color", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_preprocessing_to_copy_is_the_one_that_was_measured(tmp_path, monkeypatch, fit, color, layout):
    """Its lines, run as they are, make the very tensor that parity fed."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(3)
    picture = Image.fromarray(random.integers(0, 256, (61, 83, 3), np.uint8))
    picture.save("picture.jpg")
    channels = 1 if color == "GRAY" else 3
    mean = (123.4567891, 116.28, 103.53)[:channels]
    spec = InputSpec(name="image", shape=(1, channels, 32, 48), color=color, mean=mean, std=(58.25,), fit=fit, fill=9)
    (made,) = snippets(["x.onnx" if layout == "NCHW" else "x.tflite"], [spec], {})
    before = made.code.split("options = " if layout == "NCHW" else "network = ")[0]
    names = {}
    exec("\n".join(line for line in before.splitlines() if "interpreter" not in line), names)  # noqa: S102
    expected = to_tensor(fit_picture(Image.open("picture.jpg"), spec), spec)

    got = names["feeds"]["image"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got if layout == "NCHW" else got.transpose(0, 3, 1, 2), expected, rtol=1e-6)


def test_means_and_names_are_written_exactly():
    """All digits of a mean; a path with quotes stays a string."""
    spec = InputSpec(name="image", shape=(1, 3, 8, 8), mean=(123.6754321, 116.28, 103.53), std=(58.395,))
    (made,) = snippets(["it's.onnx"], [spec], {})

    assert "np.float32([123.6754321, 116.28, 103.53])" in made.code
    assert '"it\'s.onnx"' in made.code
    compile(made.code, "snippet", "exec")


def test_a_compiled_model_is_fed_pixels_as_it_was_built():
    """uint8 NHWC in the network's colour order, nothing normalized; a camera's bytes are spoken of."""
    spec = InputSpec(name="image", shape=(1, 3, 8, 8), color="BGR", mean=(128,), std=(256,))
    engine, program = snippets(["x.ax650.axmodel"], [spec], {"image": "u8"})
    (camera, _) = snippets(["x.ax650.axmodel"], [spec], {"image": "nv12"})

    assert "np.uint8" in engine.code
    assert "128" not in engine.code
    assert "x.transpose" not in engine.code
    assert "RGB to BGR" in engine.code
    assert "ax_run_model -m x.ax650.axmodel" in program.code
    assert "NV12 bytes" in camera.note
    compile(engine.code, "snippet", "exec")
