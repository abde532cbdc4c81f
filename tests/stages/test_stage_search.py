"""Facts about the stage that searches settings: what it judges by, and that an interruption costs little."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from _counting import Log
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from PIL import Image

from workbench.calib.feeds import feeds
from workbench.calib.pictures import CROP
from workbench.engine import runner
from workbench.engine.progress import Silent
from workbench.engine.stage import OutsideFile, Step
from workbench.engine.store import Store
from workbench.errors import ToolError
from workbench.graph import io
from workbench.quant.choice import Budget
from workbench.recipe.schema import InputSpec, Quantization
from workbench.stages import _files
from workbench.stages import search as module
from workbench.stages.search import STAGE, Settings, run

SPECS = (InputSpec(name="image", shape=(1, 3, 24, 24), std=(255,)),)
BUDGET = Budget(macs=0.0, u16=0.6, int8=0.999, mixed=0.9995)


def network():
    """Two convolutions and a head whose channels lie around 20 and are told apart by little."""
    random = np.random.default_rng(5)
    rows = np.zeros((3, 6, 1, 1))
    for joint in range(3):
        rows[joint, 2 * joint], rows[joint, 2 * joint + 1] = 1, -1
    constants = {
        "w0": random.normal(0, 0.4, (6, 3, 3, 3)),
        "b0": random.uniform(0, 0.3, 6),
        "w1": random.normal(0, 0.3, (6, 6, 1, 1)),
        "b1": np.full(6, 20.0),
        "w2": rows,
        "b2": np.full(3, 0.2),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["a0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a0"], ["a"]),
        helper.make_node("Conv", ["a", "w1", "b1"], ["head0"]),
        helper.make_node("Relu", ["head0"], ["head"]),
        helper.make_node("Conv", ["head", "w2", "b2"], ["heat"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 24, 24])],
        [helper.make_tensor_value_info("heat", onnx.TensorProto.FLOAT, [1, 3, 24, 24])],
        [numpy_helper.from_array(np.asarray(data, np.float32), name) for name, data in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def prepared(tmp_path, count=12, model=None):
    """A network and pictures, as earlier stages leave them."""
    folders = {name: tmp_path / name for name in ("surgery", "pictures")}
    fitted = folders["pictures"] / "calibration" / "image"
    for folder in (folders["surgery"], fitted):
        folder.mkdir(parents=True)
    _files.write_inputs(folders["surgery"], SPECS)
    (folders["surgery"] / "model.onnx").write_bytes((model or network()).SerializeToString())
    random = np.random.default_rng(0)
    for index in range(count):
        small = random.integers(0, 255, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(small).resize((24, 24)).save(fitted / f"{index:05d}.png")
    told = {"calibration": {"used": [f"{index}.jpg" for index in range(count)]}}
    (folders["pictures"] / "pictures.json").write_text(json.dumps(told), "utf-8")
    return folders


def settings(**changes):
    """What the recipe and the command say."""
    told = {"quantization": Quantization(), "budget": BUDGET, "heatmaps": ("heat", "gone"), "joints": 3, "judging": 4}
    return Settings(**told | changes)


def searched(inputs, folder, **changes):
    """``search.json`` without the seconds."""
    folder.mkdir()
    run(settings(**changes), inputs, folder, Silent())
    return read(folder)


def read(folder):
    """What the stage wrote, without the seconds."""
    found = json.loads((folder / "search.json").read_text("utf-8"))
    for step in found["steps"]:
        del step["seconds"]
    return found


def test_it_writes_the_section_and_the_story(tmp_path):
    """The sensitive tensor is at 16 bits, the steps rise, and the section loads."""
    found = searched(prepared(tmp_path), tmp_path / "out")
    assert Quantization(**found["quantization"]).u16 == ("head",)
    assert found["tuned"] is True
    assert found["steps"][0]["name"] == "plain"
    assert found["steps"][-1]["name"] == "mixed"
    assert found["steps"][-1]["cosine"] > found["steps"][0]["cosine"]
    assert found["steps"][-1]["within_5"] is not None


def test_it_judges_by_whole_pictures_and_by_crops_of_others(tmp_path):
    """Half of the judging pictures are those of the folder, half are parts of others, the same on every run."""
    inputs = prepared(tmp_path, count=8)
    folder = inputs["pictures"] / "calibration"
    files = {feed["image"].tobytes() for feed in feeds(folder, SPECS)}
    whole, cut, rest = module._apart([f"{index}.jpg" for index in range(8)], 4)
    judging = [feed["image"] for feed in module._judging(folder, SPECS, whole, cut)]
    again = [feed["image"] for feed in module._judging(folder, SPECS, whole, cut)]

    assert (len(whole), len(cut), len(rest)) == (2, 2, 4)
    assert len(judging) == 4
    assert sum(image.tobytes() in files for image in judging) == 2
    assert all(image.shape == (1, 3, 24, 24) for image in judging)
    assert all(np.array_equal(one, other) for one, other in zip(judging, again, strict=True))


@given(st.lists(st.integers(0, 3), min_size=4, max_size=40), st.integers(1, 20))
def test_what_judges_does_not_calibrate_and_no_crop_of_it_does(crops, wanted):
    """However many crops each picture has: pictures that judge, and all of their crops, are left out of the samples."""
    names = [name for index, more in enumerate(crops) for name in named(index, more)]
    whole, cut, rest = module._apart(names, wanted)
    judges = {names[index] for index in whole | cut}

    assert whole
    assert cut
    assert len(judges) <= max(2, len(crops) // 2)
    assert not whole & cut
    assert all(CROP not in name for name in judges)
    assert {names[index].split(CROP)[0] for index in rest} == {f"{index}.jpg" for index in range(len(crops))} - judges


def named(index, crops):
    """The names of a picture and its crops."""
    return [f"{index}.jpg", *(f"{index}.jpg{CROP}{number}" for number in range(1, crops + 1))]


class Interrupting(Log):
    """A reporter whose user presses Ctrl-C at a number of steps."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def step(self, done, total, what):
        super().step(done, total, what)
        if len(self.steps) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", [15, 40, 70])
def test_an_interrupted_stage_goes_on_to_the_same_result(tmp_path, at):
    """In the store the second run takes what the first has done, and writes what one go writes."""
    inputs = prepared(tmp_path)
    step = Step(STAGE, settings(), outside={name: OutsideFile(path, "0") for name, path in inputs.items()})
    store = Store(tmp_path / "home")
    with pytest.raises(KeyboardInterrupt):
        runner.run([step], store, "r", Interrupting(at))
    log, fresh = Log(), Log()
    done = runner.run([step], store, "r", log)["search"]
    runner.run([step], Store(tmp_path / "other"), "r", fresh)

    assert read(done.files) == searched(inputs, tmp_path / "out")
    assert len(log.steps) < len(fresh.steps)
    assert list((store.home / "partial").iterdir()) == []


def test_seeded_weights_get_settings_and_no_figures(tmp_path):
    """A network that must not be deployed is not measured, and the file says so."""
    model = io.from_bytes(network().SerializeToString())
    io.mark_not_deployable(model, "seeded random weights, not the published ones")
    found = searched(prepared(tmp_path, model=io.to_proto(model)), tmp_path / "out")
    assert found["tuned"] is False
    assert found["steps"] == []
    assert found["left"][0].startswith("untuned: seeded random weights")


@pytest.mark.parametrize(("count", "told"), [(0, "no calibration pictures"), (1, "1 calibration picture:")])
def test_a_search_needs_four_pictures(tmp_path, count, told):
    """None and one are errors that say how many are needed and what to change."""
    with pytest.raises(ToolError, match=f"^{told}.* at least 4, half of which judge") as caught:
        searched(prepared(tmp_path, count=count), tmp_path / "out")
    assert "calibration.pictures" in caught.value.fix
