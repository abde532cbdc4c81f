"""Facts about the stage that builds a target: it hands on what earlier steps made, where they made it."""

from __future__ import annotations

import _tiny
import numpy as np
import pytest
from PIL import Image

from workbench import catalog
from workbench.calib.feeds import feeds
from workbench.engine.progress import Silent
from workbench.quant.observe import observe
from workbench.recipe.schema import Call, InputSpec
from workbench.stages import _files
from workbench.stages.target import Settings, run, stage

SPECS = (InputSpec(name="image", shape=(1, 3, 32, 48), mean=(128,), std=(256,)),)


@pytest.fixture
def inputs(tmp_path):
    """The tiny network and four pictures, as earlier stages leave them."""
    folders = {name: tmp_path / name for name in ("surgery", "pictures", "bake", "calibrate", "quantize")}
    for folder in folders.values():
        folder.mkdir()
    _files.write_inputs(folders["surgery"], SPECS)
    for name in ("surgery", "bake", "quantize"):
        (folders[name] / "model.onnx").write_bytes(_tiny.network().SerializeToString())
    fitted = folders["pictures"] / "calibration" / "image"
    fitted.mkdir(parents=True)
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(fitted / f"{index:05d}.png")
    ranges = observe(folders["bake"] / "model.onnx", feeds(fitted.parent, SPECS), progress=Silent())
    (folders["calibrate"] / "ranges.json").write_text(ranges.to_json(), "utf-8")
    return folders


@pytest.fixture
def jobs(monkeypatch):
    """What the tflite target is asked for, instead of being built."""
    asked = []
    monkeypatch.setattr(catalog.load("target", "tflite"), "build", lambda job: asked.append(job) or [])
    return asked


def settings(*variants):
    """The tflite target with these variants."""
    options = catalog.load("target", "tflite").Options(variants=variants)
    return Settings("tiny", Call("tflite", options), {})


def test_a_target_gets_the_graph_made_ready_and_its_ranges(inputs, jobs, tmp_path):
    """Where a recipe quantizes, the baked graph, the ranges measured on it and the emulation are handed on."""
    run(settings("fp32"), inputs, tmp_path, Silent())

    (job,) = jobs
    assert job.model == inputs["surgery"] / "model.onnx"
    assert job.baked == inputs["bake"] / "model.onnx"
    assert job.ranges == inputs["calibrate"] / "ranges.json"
    assert job.quantized == inputs["quantize"] / "model.onnx"
    assert job.pictures == inputs["pictures"] / "calibration"


def test_a_target_works_without_quantization(inputs, jobs, tmp_path):
    """Where a recipe does not quantize, there is neither of them."""
    run(settings("fp32"), {name: inputs[name] for name in ("surgery", "pictures")}, tmp_path, Silent())

    assert (jobs[0].baked, jobs[0].ranges, jobs[0].quantized) == (None, None, None)


def test_integer_files_are_written_down_with_their_precision(inputs, tmp_path):
    """Parity finds each file by the note this stage leaves, and judges it by its own limit."""
    out = tmp_path / "out"
    out.mkdir()

    run(settings("int8", "int16x8"), inputs, out, Silent())

    written = {artifact.path: artifact.precision for artifact in _files.read_artifacts(out)}
    assert written == {"tiny.int8.tflite": "int8", "tiny.int16x8.tflite": "int16x8"}
    assert _files.read_hashes(out).keys() == written.keys()


def test_the_code_that_makes_a_targets_files_is_in_its_key():
    """A package's own folder and the rooms that it names; a target of one file has none."""
    assert stage("tflite").rooms == ("targets/tflite", "quant")
    assert stage("onnx").rooms == ()
