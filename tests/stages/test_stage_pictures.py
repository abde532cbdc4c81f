"""Golden pictures are whole, and nothing of them calibrates; calibration pictures bring their crops."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from workbench.calib.feeds import count
from workbench.engine.progress import Silent
from workbench.recipe.schema import Calibration, InputSpec
from workbench.stages import pictures

SPECS = (
    InputSpec(name="image", shape=(1, 3, 12, 16)),
    InputSpec(name="grey", shape=(1, 1, 24, 32), color="GRAY"),
)


class Warned(Silent):
    """Keeps warnings."""

    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def made(tmp_path):
    """Run the stage on `total` pictures of noise; gives its folder, its report and its warnings."""
    folder = tmp_path / "set"
    folder.mkdir()

    def run(total=6, out="out", **calibration):
        for index in range(total):
            pixels = np.random.default_rng(index).integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
        says = Warned()
        settings = pictures.Settings(Calibration(pictures="set", **calibration), SPECS, 2)
        (tmp_path / out).mkdir()
        pictures.STAGE.run(settings, {"base": tmp_path, "cache": tmp_path / "cache"}, tmp_path / out, says)
        return tmp_path / out, json.loads((tmp_path / out / "pictures.json").read_text()), says.warnings

    run.folder = folder
    return run


def test_every_calibration_picture_brings_its_crops(made):
    """Four pictures with two crops each are twelve samples, told file by file; the golden ones stay whole."""
    out, report, _ = made(count=4, crops=2)

    assert report["golden"]["used"] == ["0.png", "3.png"]
    assert report["calibration"]["used"][:4] == ["1.png", "1.png, crop 1", "1.png, crop 2", "2.png"]
    assert len(report["calibration"]["used"]) == count(out / "calibration", SPECS) == 12
    assert count(out / "golden", SPECS) == 2


def test_every_input_sees_the_same_crop(made):
    """Two inputs of different size and colour get the same part of the picture."""
    out, _, _ = made(count=4, crops=1)
    colour, grey = (
        np.asarray(Image.open(out / "calibration" / spec.name / "00001.png").convert("L").resize((16, 12)), float)
        for spec in SPECS
    )
    whole = np.asarray(Image.open(out / "calibration" / "grey" / "00000.png").resize((16, 12)), float)

    assert np.corrcoef(colour.ravel(), grey.ravel())[0, 1] > 0.9
    assert np.corrcoef(colour.ravel(), whole.ravel())[0, 1] < 0.5


def test_no_crops_leave_the_set_as_it_was(made):
    """Without the key the files are the pictures, and the same bytes as before there was one."""
    plain, report, _ = made(count=4)
    cropped, _, _ = made(out="second", count=4, crops=1)

    assert report["calibration"]["used"] == ["1.png", "2.png", "4.png", "5.png"]
    for index in range(4):
        files = [folder / "calibration" / "image" for folder in (plain, cropped)]
        assert (files[0] / f"{index:05d}.png").read_bytes() == (files[1] / f"{2 * index:05d}.png").read_bytes()


def test_a_copy_of_a_golden_picture_calibrates_nothing(made):
    """A renamed copy of what judges would measure ranges on it: it is left out, and that is said."""
    made(count=2)
    shutil.copy(made.folder / "0.png", made.folder / "9.png")
    _, report, warnings = made(out="second", count=7, minimum=2)

    assert report["golden"]["used"] == ["0.png", "3.png"]
    assert report["calibration"]["used"] == ["1.png", "2.png", "4.png", "5.png"]
    assert "1 of the pictures are copies of golden ones, and calibrate nothing" in warnings
