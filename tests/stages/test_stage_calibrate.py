"""Facts about the stage that measures ranges: the recipe's method chooses them, and an interruption costs little."""

from __future__ import annotations

import json

import _tiny
import numpy as np
import onnx.parser
import pytest
from _counting import Log
from PIL import Image

from workbench.calib.feeds import feeds
from workbench.engine import runner
from workbench.engine.progress import Silent
from workbench.engine.stage import OutsideFile, Step
from workbench.engine.store import Store
from workbench.errors import ToolError
from workbench.quant import shards
from workbench.quant.methods import choose
from workbench.quant.observe import observe, observe_histograms
from workbench.quant.ranges import Ranges
from workbench.recipe.schema import InputSpec, Quantization
from workbench.stages import _files
from workbench.stages.calibrate import STAGE, Settings, run

SPECS = (InputSpec(name="image", shape=(1, 3, 32, 48), mean=(128,), std=(256,)),)


def prepared(tmp_path, pictures, model):
    """A network and pictures, as earlier stages leave them."""
    folders = {name: tmp_path / name for name in ("surgery", "bake", "pictures")}
    fitted = folders["pictures"] / "calibration" / "image"
    for folder in (folders["surgery"], folders["bake"], fitted):
        folder.mkdir(parents=True)
    _files.write_inputs(folders["surgery"], SPECS)
    (folders["bake"] / "model.onnx").write_bytes(model.SerializeToString())
    for index, pixels in enumerate(pictures):
        Image.fromarray(pixels.astype(np.uint8)).save(fitted / f"{index:05d}.png")
    used = [f"photo {index}.jpg" for index in range(len(pictures))]
    (folders["pictures"] / "pictures.json").write_text(json.dumps({"calibration": {"used": used, "skipped": []}}))
    return folders


def noise(count):
    """`count` seeded random pictures."""
    rng = np.random.default_rng(0)
    return [rng.normal(128, 5 * (index + 1), (32, 48, 3)).clip(0, 255) for index in range(count)]


@pytest.fixture
def inputs(tmp_path):
    """The tiny network and four pictures."""
    return prepared(tmp_path, noise(4), _tiny.network())


def written(inputs, folder, **quantization):
    """The text of ``ranges.json`` for a recipe's quantization."""
    folder.mkdir()
    run(Settings(Quantization(**quantization)), inputs, folder, Silent())
    return (folder / "ranges.json").read_text("utf-8")


def test_minmax_writes_what_is_observed(inputs, tmp_path):
    """The file of MinMax is the bytes of `observe`, whatever the percentile says."""
    samples = feeds(inputs["pictures"] / "calibration", SPECS)
    expected = observe(inputs["bake"] / "model.onnx", samples, progress=Silent()).to_json()
    assert written(inputs, tmp_path / "a") == expected
    assert written(inputs, tmp_path / "b", percentile=50) == expected


@pytest.mark.parametrize("method", ["Percentile", "MSE", "KL"])
def test_other_methods_choose_from_histograms(inputs, tmp_path, method):
    """Every tensor gets the range of the recipe's method; the number of samples is that of the recipe."""
    samples = list(feeds(inputs["pictures"] / "calibration", SPECS))[:3]
    seen = observe_histograms(inputs["bake"] / "model.onnx", samples, progress=Silent())
    text = written(inputs, tmp_path / "out", method=method, pictures=3, percentile=95)
    assert text == choose(seen, method, percentile=95).to_json()
    found = Ranges.from_json(text)
    assert found.samples == 3
    assert any(found[name] != seen.ranges[name] for name in found)


class Interrupting(Log):
    """A reporter whose user presses Ctrl-C when so many samples are done."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def step(self, done, total, what):
        super().step(done, total, what)
        if done == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["MinMax", "KL"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, monkeypatch, method):
    """Interrupted after five of seven pictures, the second run begins at four and writes the file of one go."""
    monkeypatch.setattr(shards, "SHARD", 2)
    inputs = prepared(tmp_path, noise(7), _tiny.network())
    outside = {name: OutsideFile(path, "0") for name, path in inputs.items()}
    step = Step(STAGE, Settings(Quantization(method=method)), outside=outside)
    store = Store(tmp_path / "home")
    with pytest.raises(KeyboardInterrupt):
        runner.run([step], store, "r", Interrupting(5))

    log = Log()
    done = runner.run([step], store, "r", log)["calibrate"]

    assert log.steps == [4, 5, 6, 7]
    assert (done.files / "ranges.json").read_text("utf-8") == written(inputs, tmp_path / "out", method=method)


EXPLODING = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,32,48] image) => (float[1,3,32,48] heat) {
    big = Constant <value = float {1e30}> ()
    once = Mul (image, big)
    twice = Mul (once, big)
    heat = Relu (twice)
}"""


@pytest.mark.parametrize("method", ["MinMax", "MSE"])
def test_a_picture_that_explodes_is_named(tmp_path, method):
    """Infinity names the first tensor and the file that the picture came from."""
    grey = np.full((32, 48, 3), 128)
    inputs = prepared(tmp_path, [grey, grey, noise(1)[0], noise(1)[0]], onnx.parser.parse_model(EXPLODING))
    with pytest.raises(ToolError, match=r"tensor 'twice' is NaN or infinite for photo 2\.jpg"):
        written(inputs, tmp_path / "out", method=method)


@pytest.mark.parametrize(("count", "told"), [(0, "no calibration pictures"), (1, "1 calibration picture:")])
def test_ranges_need_two_pictures(tmp_path, count, told):
    """None and one are errors that say how many are needed and what to change."""
    inputs = prepared(tmp_path, noise(count), _tiny.network())
    with pytest.raises(ToolError, match=f"^{told}.* at least 2") as caught:
        written(inputs, tmp_path / "out")
    assert "calibration.pictures" in caught.value.fix
