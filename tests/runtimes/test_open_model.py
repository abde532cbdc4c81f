"""Opening a model by its suffix."""

import os
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from workbench.errors import RecipeError, ToolError
from workbench.runtimes import open_model
from workbench.runtimes._cores import cores


@pytest.mark.parametrize(
    ("name", "told"), [("m.pth", "'.pth' is no kind of model file"), ("m", "a model file needs a suffix")]
)
def test_other_suffix_is_a_mistake_of_the_command(name, told, tmp_path):
    """A file of another kind is exit code 2, with the kinds that are known."""
    with pytest.raises(RecipeError, match=told) as caught:
        open_model(tmp_path / name)
    assert caught.value.fix == "one of: .onnx, .tflite, .pb, .axmodel"


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".pb", ".axmodel", ".ONNX"])
def test_missing_file_is_told(suffix, tmp_path):
    """A path that leads nowhere is exit code 3."""
    with pytest.raises(ToolError, match="no such file") as caught:
        open_model(tmp_path / f"m{suffix}")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["m.onnx", "m"])
def test_a_folder_is_told_with_what_is_in_it(name, tmp_path):
    """A folder exists, but is no model; its model files are named."""
    (tmp_path / name).mkdir()
    with pytest.raises(ToolError, match="a folder, not a model file") as caught:
        open_model(tmp_path / name)
    assert caught.value.fix == "name a file: .onnx, .tflite, .pb, .axmodel"

    for file in ("b.tflite", "a.onnx", "a.txt"):
        (tmp_path / name / file).touch()
    with pytest.raises(ToolError) as caught:
        open_model(tmp_path / name)
    assert caught.value.fix == "name a file in it: a.onnx, b.tflite"


def test_cores_are_counted_where_the_system_has_no_affinity(monkeypatch):
    """On macOS, sched_getaffinity does not exist."""
    assert cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cores() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".pb", ".axmodel"])
def test_text_under_any_suffix_is_refused(suffix, tmp_path):
    """A web page saved as a model is an error of three parts, whatever it is called."""
    path = tmp_path / f"m{suffix}"
    path.write_text("<html>404</html>" * 40)

    with pytest.raises(ToolError) as caught:
        open_model(path)
    assert caught.value.where == str(path)
    assert caught.value.fix


def test_onnx_runs_in_onnxruntime(tmp_path):
    """A .onnx file is opened with the given number of threads."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    with open_model(tmp_path / "m.onnx", threads=1) as runner:
        assert runner.runtime == "onnxruntime"
        assert runner.run({"x": np.ones(2, np.float32)})["y"].tolist() == [-1, -1]


def test_importing_the_room_imports_no_runtime():
    """`open_model` alone loads nothing heavy, not even numpy's friends from onnx."""
    code = "import sys, workbench.runtimes; print(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"tensorflow", "onnxruntime", "ai_edge_litert", "onnx"} & set(run.stdout.split())
