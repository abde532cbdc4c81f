"""Facts about the stage that measures ranges: the recipe's method chooses them."""

from __future__ import annotations

import _tiny
import numpy as np
import pytest
from PIL import Image

from workbench.calib.feeds import feeds
from workbench.engine.progress import Silent
from workbench.quant.methods import choose
from workbench.quant.observe import observe, observe_histograms
from workbench.quant.ranges import Ranges
from workbench.recipe.schema import InputSpec, Quantization
from workbench.stages import _files
from workbench.stages.calibrate import Settings, run

SPECS = (InputSpec(name="image", shape=(1, 3, 32, 48), mean=(128,), std=(256,)),)


@pytest.fixture
def inputs(tmp_path):
    """A network and four pictures, as earlier stages leave them."""
    folders = {name: tmp_path / name for name in ("surgery", "pictures")}
    pictures = folders["pictures"] / "calibration" / "image"
    for folder in (folders["surgery"], pictures):
        folder.mkdir(parents=True)
    _files.write_inputs(folders["surgery"], SPECS)
    (folders["surgery"] / "model.onnx").write_bytes(_tiny.network().SerializeToString())
    rng = np.random.default_rng(0)
    for index in range(4):
        pixels = rng.normal(128, 20, (32, 48, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(pictures / f"{index}.png")
    return folders


def written(inputs, folder, **quantization):
    """The text of ``ranges.json`` for a recipe's quantization."""
    folder.mkdir()
    run(Settings(Quantization(**quantization)), inputs, folder, Silent())
    return (folder / "ranges.json").read_text("utf-8")


def test_minmax_writes_what_is_observed(inputs, tmp_path):
    """The file of MinMax is the bytes of `observe`, whatever the percentile says."""
    samples = feeds(inputs["pictures"] / "calibration", SPECS)
    expected = observe(inputs["surgery"] / "model.onnx", samples, progress=Silent()).to_json()
    assert written(inputs, tmp_path / "a") == expected
    assert written(inputs, tmp_path / "b", percentile=50) == expected


@pytest.mark.parametrize("method", ["Percentile", "MSE", "KL"])
def test_other_methods_choose_from_histograms(inputs, tmp_path, method):
    """Every tensor gets the range of the recipe's method; the number of samples is that of the recipe."""
    samples = list(feeds(inputs["pictures"] / "calibration", SPECS))[:3]
    seen = observe_histograms(inputs["surgery"] / "model.onnx", samples, progress=Silent())
    text = written(inputs, tmp_path / "out", method=method, pictures=3, percentile=95)
    assert text == choose(seen, method, percentile=95).to_json()
    found = Ranges.from_json(text)
    assert found.samples == 3
    assert any(found[name] != seen.ranges[name] for name in found)
