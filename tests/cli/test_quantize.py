import json
import shutil
import tarfile
from pathlib import Path

import _tiny
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from PIL import Image

from workbench import pipeline
from workbench.cli import _described, _network, main
from workbench.errors import RecipeError
from workbench.recipe.load import load

SETTINGS = {
    "method": "MinMax",
    "equalize": True,
    "correct_bias": True,
    "rounding": "nearest",
    "u16": ["heat"],
}
CHOICE = {"quantization": SETTINGS, "tuned": True, "steps": [], "conflicts": [], "sensitive": [], "left": []}
PIXELS = ("--mean", 128, 128, 128, "--std", 256, 256, 256)


@pytest.fixture
def photos(tmp_path):
    """Eight pictures of noise."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(3)
    for index in range(8):
        pixels = random.integers(0, 255, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def model(tmp_path):
    """The tiny network, without a recipe."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(_tiny.network().SerializeToString())
    return path


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run `workbench quantize` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, ["quantize", *(str(argument) for argument in arguments)])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


def graph(tmp_path, inputs, outputs, *nodes, opset=17):
    """A file with these inputs and outputs {name: (type, shape)}; an Identity each where no nodes are given."""
    kinds = {"float": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "float16": TensorProto.FLOAT16}

    def infos(ports):
        return [helper.make_tensor_value_info(name, kinds[kind], shape) for name, (kind, shape) in ports.items()]

    made = nodes or [helper.make_node("Relu", [next(iter(inputs))], [name]) for name in outputs]
    proto = helper.make_model(
        helper.make_graph(list(made), "g", infos(inputs), infos(outputs)),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    path = tmp_path / "other.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_a_file_and_a_folder_are_enough(call, model, photos, tmp_path):
    """Checked 8-bit files, how the input was read, and the recipe that this stands for."""
    result = call(model, "--calib", photos, *PIXELS, "--no-tune", "--name", "my net")

    assert (tmp_path / "dist/my_net/my_net.int8.onnx").is_file()
    line = next(line for line in result.stdout.splitlines() if line.startswith("my_net.int8.onnx"))
    assert "onnxruntime: ok" in line
    assert "input image [1, 3, 32, 48] is read as NCHW: 3 channels, 32 high, 48 wide" in result.stderr
    assert "calibration: {pictures: ./photos, count: 6}" in result.stdout
    assert "meaning: regression" in result.stdout
    assert not list(tmp_path.glob("*.yaml"))


def test_a_saved_recipe_is_the_same_conversion(call, model, photos, tmp_path):
    """The next run is `convert`, and finds everything done."""
    saved = tmp_path / "kept" / "tiny.yaml"
    saved.parent.mkdir()
    arguments = (model, "--calib", photos, *PIXELS, "--no-tune", "--save", saved, "--page", "https://example.org/tiny")
    result = call(*arguments)
    again = CliRunner().invoke(main, ["convert", str(saved), "--weights", str(model)])

    assert "workbench convert" in result.stdout
    assert load(saved).recipe.calibration.pictures == "../photos"
    assert again.exit_code == 0, again.output
    assert all(line.startswith("-- ") for line in again.stderr.splitlines()), again.stderr


def test_tuning_comes_first_and_its_settings_are_used(call, model, photos, tmp_path, monkeypatch):
    """The search gets the recipe and the budget; 16 bits have the limit of the others and make the mixed model."""
    asked = []

    def tune(loaded, request, store, reporter, budget):
        asked.append((loaded.recipe, request.weights, budget))
        return CHOICE

    monkeypatch.setattr(pipeline, "tune", tune, raising=False)
    result = call(model, "--calib", photos, *PIXELS, "--macs", 30, "--limit", 0.8, "--json")
    told = json.loads(result.stdout)

    (recipe, weights, budget) = asked[0]
    assert (recipe.quantization.method, weights, budget.macs) == ("MinMax", model, 0.3)
    assert told["search"] == CHOICE
    assert "  u16: [heat]" in told["recipe"]
    assert "    mixed: {cosine: 0.8}" in told["recipe"]
    assert (tmp_path / "dist/tiny/tiny.mixed.onnx").is_file()


def test_a_real_search_of_a_file(call, model, photos, tmp_path):
    """Nothing stands in for anything: searched, converted, checked, and the recipe is kept as it was converted."""
    saved = tmp_path / "tiny.yaml"
    result = call(model, "--calib", photos, *PIXELS, "--save", saved, "--page", "https://example.org/tiny")

    assert "what each step gained" in result.stdout
    assert "Held-out pictures judge" in result.stdout
    assert load(saved).recipe.quantization.correct_bias is True
    assert (tmp_path / "dist/tiny/tiny.int8.onnx").is_file()


def test_a_missed_limit_is_exit_4(call, model, photos, tmp_path):
    """The files are there to be looked at, under another name."""
    result = call(model, "--calib", photos, *PIXELS, "--no-tune", "--limit", 1, code=4)

    assert "further from the float one than --limit allows" in result.stderr
    assert (tmp_path / "dist/tiny.failed/parity.json").is_file()


def test_targets_are_options(call, model, photos, tmp_path):
    """A chip gets its kit; one that nobody knows is named with its option."""
    call(model, "--calib", photos, *PIXELS, "--no-tune", "--chip", "AX650")
    result = call(model, "--calib", photos, *PIXELS, "--no-tune", "--chip", "AX65", code=2)

    with tarfile.open(tmp_path / "dist/tiny/pulsar2/AX650/calibration/image.tar") as archive:
        assert len(archive.getnames()) == 6
    assert "--chip AX65: targets.pulsar2.chips[0]: " in result.stderr
    assert "did you mean 'AX650'" in result.stderr


def test_heat_maps_are_judged_as_such(call, model, photos):
    """Told which output they are, their joints are checked; what does not fit is said of the option."""
    shown = call(model, "--calib", photos, *PIXELS, "--no-tune", "--heatmaps", "heat").stdout
    wrong = call(model, "--calib", photos, *PIXELS, "--heatmaps", "haet", code=2).stderr
    joints = call(model, "--calib", photos, *PIXELS, "--heatmaps", "heat", "--joints", "coco1", code=2).stderr
    channels = call(model, "--calib", photos, *PIXELS, "--heatmaps", "heat", "--joints", "coco18", code=2).stderr

    assert "meaning: heatmap" in shown
    assert "did you mean 'heat'?" in wrong
    assert "--joints coco1: no skeleton called 'coco1'" in joints
    assert "--heatmaps: outputs[0]: 17 heat maps for the 18 joints" in channels


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "what the network takes for black and white is not known"),
        (("--input-range", 0, 1, *PIXELS), "say the same thing twice"),
        (("--input-range", 1, 0), "--input-range 1 0 is empty"),
        (("--mean", 0.485, 0.456, 0.406, "--std", 0.229, 0.224, 0.225), "255 times these"),
        ((*PIXELS, "--save", "photos"), "there is a file of this name"),
        ((*PIXELS, "--save", "nowhere/tiny.yaml"), "no such folder"),
        ((*PIXELS, "--save", "tiny.yaml"), "--save tiny.yaml: this recipe cannot be kept"),
        ((*PIXELS, "--save", "tiny.yaml"), "fix: give --page, or leave --save out"),
        ((*PIXELS, "--page", "ftp://x"), "--page ftp://x: weights.page: 'ftp://x' is not as it should be"),
        ((*PIXELS, "--size", 64, 64), "is [1, 3, 32, 48], and --size is 64 64"),
    ],
)
def test_options_that_cannot_be_meant(call, model, photos, tmp_path, arguments, problem):
    """Exit 2 before any work, with a fix."""
    result = call(model, "--calib", photos, *arguments, code=2)

    assert problem in result.stderr
    assert "fix:" in result.stderr
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(("bounds", "mean", "std"), [((0, 255), 0, 1), ((0, 1), 0, 255), ((-1, 1), 127.5, 127.5)])
def test_a_range_is_mean_and_divisor(bounds, mean, std):
    """Black and white come out as they were asked for."""
    assert _described.pixel_values(bounds, None, None) == ((mean,), (std,))
    assert (0 - mean) / std == bounds[0]
    assert (255 - mean) / std == bounds[1]


def test_calibration_pictures_are_needed(call, model, tmp_path, photos):
    """An empty folder, one that is not there, too few, and files that are no pictures."""
    (tmp_path / "empty").mkdir()
    few = tmp_path / "few"
    few.mkdir()
    for index in range(2):
        shutil.copy(photos / f"{index}.png", few)
    broken = tmp_path / "broken"
    broken.mkdir()
    for index in range(6):
        (broken / f"{index}.jpg").write_bytes(b"no picture")

    def refused(folder):
        return call(model, "--calib", folder, *PIXELS, "--no-tune", code=2).stderr

    assert "--calib empty: no picture in this folder" in refused("empty")
    assert "--calib gone: no such folder" in refused("gone")
    assert "--calib few: 2 pictures: at least 3 are needed" in refused("few")
    assert "--calib broken: 1 pictures found, 1 unreadable (0.jpg: not a picture" in refused("broken")


@pytest.mark.parametrize(
    ("inputs", "outputs", "code", "problem"),
    [
        ({"x": ("float", [1, 10])}, {"y": ("float", [1, 10])}, 3, "input 'x' is [1, 10], which is no picture"),
        ({"x": ("float", [1, 8, 8, 3])}, {"y": ("float", [1, 8, 8, 3])}, 3, "which is NHWC"),
        ({"x": ("float", [1, 8, 9, 9])}, {"y": ("float", [1, 8, 9, 9])}, 3, "a picture has 1 or 3 channels"),
        ({"x": ("float", [2, 3, 8, 8])}, {"y": ("float", [2, 3, 8, 8])}, 3, "[2, 3, 8, 8]: 2 pictures at a time"),
        ({"x": ("uint8", [1, 3, 8, 8])}, {"y": ("uint8", [1, 3, 8, 8])}, 3, "input 'x' is uint8, not float32"),
        ({"x": ("float16", [1, 3, 8, 8])}, {"y": ("float16", [1, 3, 8, 8])}, 3, "is float16, not float32"),
        ({"x": ("float", [1, 3, "h", "w"])}, {"y": ("float", [1, 3, "h", "w"])}, 2, "dynamic shape, [1, 3, ?, ?]"),
        ({"x": ("float", None)}, {"y": ("float", None)}, 3, "input 'x' is of unknown shape"),
        ({"x": ("float", [1, "c", 8, 8])}, {"y": ("float", [1, "c", 8, 8])}, 3, "with a static number of channels"),
    ],
)
def test_what_is_no_picture_network_is_refused(call, photos, tmp_path, inputs, outputs, code, problem):
    """The file, the tensor and a way out are named."""
    path = graph(tmp_path, inputs, outputs)
    result = call(path, "--calib", photos, *PIXELS, code=code)

    assert problem in result.stderr
    assert str(path) in result.stderr
    assert "fix:" in result.stderr


def test_flat_outputs_are_refused(call, photos, tmp_path):
    """Artifacts have four dimensions; the layer that takes them away is to be cut."""
    nodes = helper.make_node("Flatten", ["x"], ["y"])
    path = graph(tmp_path, {"x": ("float", [1, 3, 8, 8])}, {"y": ("float", [1, 192])}, nodes)

    assert "output 'y' is [1, 192]" in call(path, "--calib", photos, *PIXELS, code=3).stderr


@pytest.mark.parametrize("data", [b"junk", b"", None, "folder"])
def test_what_is_no_onnx_file(call, photos, tmp_path, data):
    """Junk, nothing, a file that is not there, a folder: exit 3 with the path."""
    path = tmp_path / "bad.onnx"
    if data == "folder":
        path.mkdir()
    elif data is not None:
        path.write_bytes(data)

    assert "bad.onnx" in call(path, "--calib", photos, *PIXELS, code=3).stderr


def test_a_quantized_model_is_refused(call, model, photos, tmp_path):
    """What this command writes cannot be its input."""
    call(model, "--calib", photos, *PIXELS, "--no-tune")
    result = call(tmp_path / "dist/tiny/tiny.int8.onnx", "--calib", photos, *PIXELS, code=3)

    assert "the model is quantized already (" in result.stderr


def test_open_sizes_are_filled(tmp_path):
    """The batch is one picture, the size what is asked for; outputs are then found by running the network once."""
    shape = ["n", 3, "h", "w"]
    path = graph(tmp_path, {"x": ("float", shape)}, {"y": ("float", shape)})
    found = _network.inspect(path, (16, 24))

    assert found.inputs[0].shape == found.outputs[0].shape == (1, 3, 16, 24)
    assert "input x: one picture at a time, as the file leaves that open" in found.notes
    with pytest.raises(RecipeError, match="dynamic shape") as caught:
        _network.inspect(path)
    assert "--size HEIGHT WIDTH" in caught.value.fix


def test_names_that_artifacts_cannot_have_are_changed_and_said(tmp_path):
    """Slashes go, and no two names are one; the tensor keeps its own."""
    ends = {f"a{sign}b": ("float", [1, 3, 8, 8]) for sign in "/:"}
    found = _network.inspect(graph(tmp_path, {"in.1": ("float", [1, 3, 8, 8])}, ends))

    assert [one.name for one in found.outputs] == ["a_b", "a_b_2"]
    assert [one.tensor for one in found.outputs] == ["a/b", "a:b"]
    assert "output a:b is called a_b_2" in found.notes
    assert found.inputs[0].name == "in.1"


def test_a_folder_called_people_is_not_the_drawn_set(call, model, photos, tmp_path):
    """`people` in a recipe means the pictures that come with the workbench."""
    photos.rename(tmp_path / "people")
    result = call(model, "--calib", "people", *PIXELS, "--no-tune")

    assert "pictures: ./people" in result.stdout


def test_grey_networks_get_grey_pictures(tmp_path, photos, call):
    """One channel, one mean."""
    nodes = [
        helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32))),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    path = graph(tmp_path, {"x": ("float", [1, 1, 16, 16])}, {"y": ("float", [1, 2, 14, 14])}, *nodes)
    result = call(path, "--calib", photos, "--input-range", 0, 1, "--no-tune")

    assert "color: GRAY, mean: [0], std: [255]" in result.stdout
    assert Path("dist/other/other.int8.onnx").is_file()
