import json

import numpy as np
import onnx

from workbench.engine.progress import Silent
from workbench.recipe.schema import Call, InputSpec
from workbench.stages import _files, surgery
from workbench.surgery.cut_outputs import CutOutputs
from workbench.surgery.rename_io import RenameIo
from workbench.surgery.split_outputs import SplitOutputs

SPEC = InputSpec(name="image", shape=(1, 3, 8, 8))
MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1,3,8,8] image) => (float[1,3,8,8] heat) {
    inner = Relu(image)
    heat = Neg(inner)
}
"""


def operate(tmp_path, *passes, model=MODEL):
    """Run the stage on `model` with two golden pictures; returns its folder."""
    from PIL import Image

    folders = {name: tmp_path / name for name in ("simplify", "export", "pictures", "out")}
    for folder in folders.values():
        folder.mkdir()
    onnx.save(onnx.parser.parse_model(model), folders["simplify"] / "model.onnx")
    golden = folders["pictures"] / "golden" / "image"
    golden.mkdir(parents=True)
    for index in range(2):
        Image.new("RGB", (8, 8), (index, 10, 20)).save(golden / f"{index:05d}.png")
    _files.write_golden(folders["export"] / "golden.npz", {"heat": np.zeros((2, 3, 8, 8), np.float32)})
    out = folders.pop("out")
    surgery.run(surgery.Settings(passes, (SPEC,)), folders, out, Silent())
    return out


def test_a_cut_output_is_judged_by_the_graph_before_the_cut(tmp_path):
    """The source never answered for an inner tensor: its golden values come from the uncut float graph."""
    out = operate(tmp_path, Call("cut_outputs", CutOutputs(tensors=("inner",))))
    golden = _files.read_golden(out / "golden.npz")

    assert list(golden) == ["inner"]
    assert golden["inner"].shape == (2, 3, 8, 8)
    assert golden["inner"][1, :, 0, 0].tolist() == [1, 10, 20]


def test_branches_of_a_split_output_have_golden_values(tmp_path):
    """Two branches replace the output that joined them, each judged by its own values before the split."""
    joined = """
    <ir_version: 8, opset_import: ["": 17]>
    g (float[1,3,8,8] image) => (float[1,6,8,8] heat) {
        raw = Relu(image)
        sure = Sigmoid(image)
        heat = Concat<axis = 1>(raw, sure)
    }
    """
    out = operate(tmp_path, Call("split_outputs", SplitOutputs()), model=joined)
    golden = _files.read_golden(out / "golden.npz")

    assert list(golden) == ["raw", "sure"]
    assert golden["raw"][1, :, 0, 0].tolist() == [1, 10, 20]
    assert golden["sure"].max() <= 1


def test_a_renamed_output_keeps_its_golden_values(tmp_path):
    """Renaming changes the key, not the numbers; the log says what was done."""
    out = operate(tmp_path, Call("rename_io", RenameIo(names={"heat": "heatmap"})))

    assert list(_files.read_golden(out / "golden.npz")) == ["heatmap"]
    (entry,) = json.loads((out / "surgery.json").read_text())
    assert [entry["pass"]] == ["rename_io"]
    assert entry["changed"]


def test_without_passes_the_specs_become_canonical(tmp_path):
    """Later stages see NCHW whatever the source's layout."""
    out = operate(tmp_path)

    assert _files.read_inputs(out)[0].layout == "NCHW"
