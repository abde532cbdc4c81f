"""A recipe that names tensors at 16 bits, all the way: the mixed model is written, judged and published."""

from __future__ import annotations

import json

import _tiny
import onnx
import pytest

from workbench import pipeline
from workbench.engine.progress import Silent
from workbench.engine.store import Store
from workbench.errors import RecipeError, RecipeErrors
from workbench.recipe.load import load


class Quiet(Silent):
    """A reporter that says nothing."""

    def begin(self, stage):
        """Say nothing."""

    def end(self, done):
        """Say nothing."""


@pytest.fixture
def convert(tmp_path, home, programs):
    """Run the tiny recipe with 16-bit tensors; texts replace texts of it."""

    def run(u16, limit="    mixed: {cosine: 0.9}\n", **changes):
        folder = tmp_path / "recipes"
        text = {"{method: MinMax}": f"{{method: MinMax, u16: [{u16}]}}", "    int8:": f"{limit}    int8:", **changes}
        recipe = load(_tiny.write(folder, **text))
        return pipeline.convert(
            recipe, pipeline.Request(dist=tmp_path / "dist", mirrors=(folder,)), Store(home), Quiet()
        )

    return run


def test_the_mixed_model_is_published_like_the_others(convert):
    """It is in the folder, in the manifest with its precision and verdict, in parity.json and in the report."""
    outcome = convert("c")
    entry = next(entry for entry in outcome.manifest["files"] if entry["path"] == "tiny.mixed.onnx")
    assert (entry["precision"], entry["parity"]) == ("mixed", True)
    judged = {one["artifact"]: one for one in outcome.parity["artifacts"]}
    assert judged["tiny.mixed.onnx"]["limits"] == {"cosine": 0.9}
    errors = {name: judged[name]["outputs"][0]["relative_l2"] for name in ("tiny.int8.onnx", "tiny.mixed.onnx")}
    assert errors["tiny.mixed.onnx"] < errors["tiny.int8.onnx"]
    assert "tiny.mixed.onnx" in (outcome.folder / "report.html").read_text()
    assert onnx.load(outcome.folder / "tiny.mixed.onnx").opset_import[0].version == 21


def test_the_chip_is_told(convert):
    """The Pulsar2 configuration asks for 16 bits where the recipe does."""
    folder = convert("c").folder
    config = json.loads((folder / "pulsar2/AX650/config.json").read_text())
    named = {name for entry in config["quant"]["layer_configs"] for name in entry["layer_names"]}
    assert {"conv0", "relu0", "conv1"} == named


def test_a_missing_limit_is_refused_before_the_wait(convert):
    """A recipe that wants a mixed model says how good it has to be."""
    with pytest.raises(RecipeErrors, match=r"quantization.u16 makes a mixed model, which has no limit") as caught:
        convert("c", limit="")
    assert "add mixed: {cosine: 0.99}" in str(caught.value)


def test_a_wrong_name_has_its_line(convert):
    """A tensor that the canonical graph does not have is told with the recipe's line and the near miss."""
    with pytest.raises(RecipeError, match="did you mean 'heat'") as caught:
        convert("c, heet")
    assert caught.value.where.split(":")[-2:] == ["11", "41"]


def test_a_tensor_named_twice_is_refused(convert):
    """The same name twice is a slip, told at the second one."""
    with pytest.raises(RecipeErrors, match="tensor 'c' is listed twice"):
        convert("c, c")
