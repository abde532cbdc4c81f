"""Facts about the stage that writes the emulations: the 8-bit one, and the mixed one when a recipe names tensors."""

from __future__ import annotations

import json

import _tiny
import onnx
import pytest

from workbench.engine.progress import Silent
from workbench.errors import RecipeError
from workbench.graph import io
from workbench.quant.ranges import Range, Ranges
from workbench.recipe.schema import Quantization
from workbench.stages.quantize import Settings, run


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def inputs(tmp_path):
    """The tiny network with its normalization folded away, and a range for each tensor."""
    proto = _tiny.network()
    norm = next(node for node in proto.graph.node if node.op_type == "BatchNormalization")
    relu = next(node for node in proto.graph.node if node.op_type == "Relu")
    relu.input[0] = norm.input[0]
    proto.graph.node.remove(norm)
    for folder in ("surgery", "bake", "calibrate"):
        (tmp_path / folder).mkdir()
    for folder in ("surgery", "bake"):
        onnx.save(proto, tmp_path / folder / "model.onnx")
    ranges = Ranges({name: Range(-1, 2) for name in ("image", "a", "c", "heat")}, 4)
    (tmp_path / "calibrate/ranges.json").write_text(ranges.to_json())
    return {name: tmp_path / name for name in ("surgery", "bake", "calibrate")}


def write(inputs, tmp_path, progress=None, **quantization):
    """Run the stage into a new folder."""
    out = tmp_path / "out"
    out.mkdir()
    run(Settings(Quantization(**quantization)), inputs, out, progress or Silent())
    return out


def wide_constants(path):
    """The names of the 16-bit constants of a file."""
    return [tensor.name for tensor in onnx.load(path).graph.initializer if tensor.data_type == onnx.TensorProto.UINT16]


def test_without_names_there_is_one_file(inputs, tmp_path):
    """A recipe that names no tensor gets the 8-bit graph alone."""
    out = write(inputs, tmp_path)
    assert [path.name for path in out.iterdir()] == ["model.onnx"]


def test_names_make_a_mixed_graph_and_its_price(inputs, tmp_path):
    """The mixed graph has its tensors at 16 bits, the 8-bit one stays, and a note and a file say what it costs."""
    notes = Notes()
    out = write(inputs, tmp_path, notes, u16=("c",))
    assert wide_constants(out / "mixed.onnx") == ["c/zero_point"]
    assert wide_constants(out / "model.onnx") == []
    said = json.loads((out / "mixed.json").read_text())
    assert (said["asked"], said["u16"], said["sums_beyond_32_bits"]) == (["c"], ["c"], [])
    assert (said["cost"]["tensors"], said["cost"]["tensors_u16"]) == (3, 1)
    assert notes.notes == [
        "mixed: 1 of 3 tensors (33.3%) at 16 bits, 35.6% of the activation bytes, 100.0% of the MACs"
    ]


def test_the_baked_graph_is_the_one_that_is_quantized(inputs, tmp_path):
    """Weights that were made ready for 8 bits are taken, not those of surgery."""
    model = io.read(inputs["surgery"] / "model.onnx")
    model.graph.name = "baked"
    io.write(model, inputs["bake"] / "model.onnx")
    out = write(inputs, tmp_path, u16=("c",))
    assert {onnx.load(out / name).graph.name for name in ("model.onnx", "mixed.onnx")} == {"baked"}


def test_the_mark_of_seeded_weights_is_in_both(inputs, tmp_path):
    """A network nobody should ship says so in every file made from it."""
    model = io.read(inputs["bake"] / "model.onnx")
    io.mark_not_deployable(model, "seeded")
    io.write(model, inputs["bake"] / "model.onnx")
    out = write(inputs, tmp_path, u16=("c",))
    assert [io.not_deployable(onnx.load(out / name)) for name in ("model.onnx", "mixed.onnx")] == ["seeded"] * 2


@pytest.mark.parametrize(
    ("name", "what", "fix"),
    [
        ("heet", "no activation called 'heet'", "did you mean 'heat'?"),
        ("a", "tensor 'a' is inside the operator that makes 'c', and never on a grid", "name 'c'"),
    ],
)
def test_a_wrong_name_points_into_the_recipe(inputs, tmp_path, name, what, fix):
    """The error carries the key of the name, and nothing is written."""
    with pytest.raises(RecipeError) as caught:
        write(inputs, tmp_path, u16=("c", name))
    assert (caught.value.what, caught.value.fix) == (f"quantization.u16[1]: {what}", fix)
    assert caught.value.at == ("quantization", "u16", 1)
    assert not list((tmp_path / "out").iterdir())
