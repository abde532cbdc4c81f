"""What the report makes of a whole run: pictures, layers, the chip's configuration, and the same bytes every time."""

from __future__ import annotations

import json

import _tiny
import pytest

from workbench import pipeline
from workbench.engine.progress import Silent
from workbench.engine.store import Store
from workbench.recipe.load import load

FLOAT = {"quantization: {method: MinMax}\n": "", "    int8: {cosine: 0.9}\n": ""}


class Log(Silent):
    """Says nothing."""

    def begin(self, stage):
        """Not kept."""

    def end(self, done):
        """Not kept."""


@pytest.fixture
def convert(tmp_path, programs):
    """Convert the tiny recipe, without a toolchain, in a place and with a store of its own; returns its folder."""

    def run(place, changes=None):
        recipe = _tiny.write(tmp_path / place / "recipes", **(changes or {}))
        asked = pipeline.Request(dist=tmp_path / place / "dist", mirrors=(recipe.parent,))
        return pipeline.convert(load(recipe), asked, Store(tmp_path / place / "home"), Log()).folder

    return run


def test_the_report_of_a_run_has_everything(convert):
    """Joints of the INT8 file, its layers, the lines of the recipe behind the chip's configuration, a way to run it."""
    folder = convert("a")
    page = (folder / "report.html").read_text("utf-8")
    told = json.loads((folder / "report.json").read_text("utf-8"))

    assert told["poses"]["pictures"] == 2
    assert told["poses"]["artifacts"].keys() == {"tiny.int8.onnx"}
    assert [row["tensor"] for row in told["layers"]][-1] == "heat"
    assert all(0.9 < row["end_to_end"] <= 1 for row in told["layers"])
    assert page.count('<figure class="shot">') == 2
    assert "tiny.yaml:5:12 inputs[0].name" in page
    assert "onnxruntime.InferenceSession(&#39;tiny.int8.onnx&#39;" in page
    assert "the published file, by its hash" in page
    assert len(page) < 5_000_000


def test_the_same_run_elsewhere_gives_the_same_bytes(convert):
    """No time, no folder, no number of a process."""
    one, two = (convert(place) for place in ("a", "b/deeper"))

    for name in ("report.html", "report.json", "manifest.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_recipe_without_quantization_says_so(convert):
    """Its float file is shown, no layers and no ranges are."""
    folder = convert("a", FLOAT)
    page = (folder / "report.html").read_text("utf-8")

    assert "No layers are compared: the recipe quantizes nothing." in page
    assert 'id="quantization"' not in page
    assert json.loads((folder / "report.json").read_text("utf-8"))["poses"]["artifacts"].keys() == {"tiny.onnx"}
