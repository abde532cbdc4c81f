"""Facts about the stage that prepares the float graph for 8 bits: what it writes, and how pictures are told."""

from __future__ import annotations

import json

import _tiny
import numpy as np
import onnx
import onnx.parser
import pytest
from PIL import Image

from workbench.calib.feeds import Samples, feeds
from workbench.engine.progress import Silent
from workbench.errors import RecipeError, ToolError
from workbench.graph import io
from workbench.recipe.schema import InputSpec, Quantization
from workbench.stages import _files
from workbench.stages.bake import STAGE, Settings, run

SPECS = (InputSpec(name="image", shape=(1, 3, 32, 48), mean=(128,), std=(256,)),)
OFF = {"equalize": False, "correct_bias": False}


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def network():
    """The tiny network without its normalization."""
    proto = _tiny.network()
    norm = next(node for node in proto.graph.node if node.op_type == "BatchNormalization")
    relu = next(node for node in proto.graph.node if node.op_type == "Relu")
    relu.input[0] = norm.input[0]
    proto.graph.node.remove(norm)
    return proto


def noise(count):
    """`count` seeded random pictures."""
    rng = np.random.default_rng(0)
    return [rng.normal(128, 5 * (index + 1), (32, 48, 3)).clip(0, 255) for index in range(count)]


@pytest.fixture
def prepare(tmp_path):
    """Make the folders that earlier stages leave."""

    def make(pictures, proto=None, mark=""):
        folders = {name: tmp_path / name for name in ("surgery", "pictures")}
        fitted = folders["pictures"] / "calibration" / "image"
        for folder in (folders["surgery"], fitted):
            folder.mkdir(parents=True)
        _files.write_inputs(folders["surgery"], SPECS)
        onnx.save(proto or network(), tmp_path / "raw.onnx")
        model = io.read(tmp_path / "raw.onnx")
        if mark:
            io.mark_not_deployable(model, mark)
        io.write(model, folders["surgery"] / "model.onnx")
        for index, pixels in enumerate(pictures):
            Image.fromarray(pixels.astype(np.uint8)).save(fitted / f"{index:05d}.png")
        used = {"used": [f"photo {index}.jpg" for index in range(len(pictures))], "skipped": []}
        (folders["pictures"] / "pictures.json").write_text(json.dumps({"calibration": used}))
        return folders

    return make


@pytest.fixture
def bake(tmp_path):
    """Run the stage into a new folder."""

    def run_it(inputs, progress=None, name="out", **quantization):
        out = tmp_path / name
        out.mkdir()
        run(Settings.of(Quantization(**quantization)), inputs, out, progress or Silent())
        return out

    return run_it


def test_the_graph_and_what_was_done_are_written(prepare, bake):
    """Every layer of the graph is told in ``bake.json``, and a line of notes sums up each step."""
    notes = Notes()
    out = bake(prepare(noise(4)), notes)
    assert sorted(path.name for path in out.iterdir()) == ["bake.json", "model.onnx"]
    said = json.loads((out / "bake.json").read_text("utf-8"))
    assert [layer["name"] for layer in said["swept"]["layers"]] == ["Conv 'conv0'", "Conv 'conv1'"]
    assert (said["swept"]["used"], said["swept"]["given"]) == (4, 4)
    assert [note.split(":")[0] for note in notes.notes] == ["equalized", "swept"]
    assert notes.notes[-1] == "swept: 2 layers on 4 pictures, 0 left"
    onnx.checker.check_model(onnx.load(out / "model.onnx"))


def test_all_switched_off_copies_the_graph(prepare, bake):
    """The bytes of surgery's graph come out again, even without pictures."""
    inputs = prepare(noise(1))
    out = bake(inputs, **OFF)
    assert (out / "model.onnx").read_bytes() == (inputs["surgery"] / "model.onnx").read_bytes()


def test_two_runs_write_the_same_bytes(prepare, bake):
    """Graph and report are the same to the byte."""
    inputs = prepare(noise(4))
    first, second = (bake(inputs, name=name, rounding="optimal", split={"c": 3}) for name in ("one", "two"))
    for name in ("model.onnx", "bake.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_recipe_says_how_many_pictures_serve(prepare, bake):
    """With `pictures: 3` the first three of four are looked at."""
    out = bake(prepare(noise(4)), pictures=3)
    assert json.loads((out / "bake.json").read_text("utf-8"))["swept"]["given"] == 3


def test_the_mark_of_seeded_weights_survives(prepare, bake):
    """A network nobody should ship says so after it was baked, whether anything was done or not."""
    inputs = prepare(noise(2), mark="seeded")
    for name, quantization in {"on": {}, "off": OFF}.items():
        assert io.not_deployable(onnx.load(bake(inputs, name=name, **quantization) / "model.onnx")) == "seeded"


@pytest.mark.parametrize(("count", "told"), [(0, "no calibration pictures"), (1, "1 calibration picture:")])
def test_two_pictures_are_needed(prepare, bake, tmp_path, count, told):
    """None and one are errors that say how many are needed, and nothing is written."""
    with pytest.raises(ToolError, match=f"^{told}.* at least 2") as caught:
        bake(prepare(noise(count)))
    assert "calibration.pictures" in caught.value.fix
    assert not list((tmp_path / "out").iterdir())


EXPLODING = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,32,48] image) => (float[1,3,32,48] heat) {
    big = Constant <value = float {1e30}> ()
    once = Mul (image, big)
    twice = Mul (once, big)
    heat = Relu (twice)
}"""


@pytest.mark.parametrize("quantization", [{}, {"equalize": False}, {"correct_bias": False}])
def test_a_picture_that_explodes_is_named(prepare, bake, tmp_path, quantization):
    """Infinity names the first tensor and the file that the picture came from."""
    grey = np.full((32, 48, 3), 128)
    inputs = prepare([grey, grey, noise(1)[0], noise(1)[0]], onnx.parser.parse_model(EXPLODING))
    with pytest.raises(ToolError, match=r"tensor 'twice' is NaN or infinite for photo 2\.jpg"):
        bake(inputs, **quantization)
    assert not list((tmp_path / "out").iterdir())


def test_a_wrong_name_points_into_the_recipe(prepare, bake, tmp_path):
    """The error carries the key of the name, and nothing is written."""
    with pytest.raises(RecipeError, match=r"^quantization\.split: no tensor called 'C'") as caught:
        bake(prepare(noise(2)), split={"C": 2})
    assert (caught.value.at, caught.value.fix) == (("quantization", "split", "C"), "did you mean 'c'?")
    assert not list((tmp_path / "out").iterdir())


def test_the_stage_sees_what_it_reads():
    """Settings of other stages are not among its own: changing them does not run it again."""
    said = Quantization(method="MSE", percentile=95, u16=("d",), split={"c": 2}, rounding="optimal", pictures=3)
    assert Settings.of(said) == Settings.of(Quantization(split={"c": 2}, rounding="optimal", pictures=3))
    assert Settings.of(said) != Settings.of(Quantization(split={"c": 2}, pictures=3))
    assert STAGE.name == "bake"


def test_samples_are_the_tensors_of_the_pictures(prepare):
    """Asked for by index, slice or in turn, they are what `feeds` yields, a new tensor each time."""
    folder = prepare(noise(4))["pictures"] / "calibration"
    expected = list(feeds(folder, SPECS))
    samples = Samples(folder, SPECS, range(3))
    assert len(samples) == 3
    assert samples[0]["image"] is not samples[0]["image"]
    for found in (list(samples), samples[:], [samples[index] for index in range(3)], samples[-3:]):
        for sample, feed in zip(found, expected[:3], strict=True):
            np.testing.assert_array_equal(sample["image"], feed["image"])
    with pytest.raises(IndexError):
        samples[3]
    assert len(Samples(folder, SPECS)) == 4
