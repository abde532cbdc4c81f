"""Outputs made elsewhere: inputs are written, outputs read, and the two belong together."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from workbench.errors import RecipeError, ToolError
from workbench.runtimes import open_model


@pytest.fixture
def model(tmp_path):
    """A compiled model of one input and two outputs."""
    names = ("x", "y/0", "z")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in names]
    graph = helper.make_graph([helper.make_node("neu mode", ["x"], ["y/0", "z"])], "g", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph), tmp_path / "m.axmodel")
    return tmp_path / "m.axmodel"


def feeds(count=2):
    """Different numbers for each sample."""
    return [{"x": np.full((1, 4), number, np.float32)} for number in range(count)]


def run(model, folder, given):
    """All results."""
    with open_model(model, runner=f"dump:{folder}") as runner:
        results = list(runner.run_all(given))
        return results, runner.notes


def answer(folder, names=("0000", "0001")):
    """Do what the board would: y = x + 1 as .bin, z = 2 x as .npy."""
    for name in names:
        x = np.fromfile(folder / "inputs" / name / "x.bin", "<f4").reshape(1, 4)
        (folder / name).mkdir()
        (x + 1).astype("<f4").tofile(folder / name / "y_0.bin")
        np.save(folder / name / "z.npy", 2 * x)


def test_inputs_are_written_then_outputs_are_read(model, tmp_path):
    """The first call writes inputs, list and a manual and ends with 3; once the outputs are there they are read."""
    folder = tmp_path / "board"
    with pytest.raises(ToolError, match="no outputs there yet: the inputs of 2 samples were written") as caught:
        run(model, folder, feeds())
    assert caught.value.exit_code == 3
    assert "run them as README.txt there says" in caught.value.fix
    assert (folder / "list.txt").read_text() == "0000\n0001\n"
    manual = (folder / "README.txt").read_text()
    assert "ax_run_model -m m.axmodel -i inputs -o . -l list.txt --use-tensor-name" in manual
    assert "y_0.bin: float32 [1, 4]" in manual
    np.testing.assert_array_equal(np.fromfile(folder / "inputs/0001/x.bin", "<f4"), [1, 1, 1, 1])

    answer(folder)
    results, notes = run(model, folder, feeds())
    assert notes == ()
    np.testing.assert_array_equal(results[1]["y/0"], [[2, 2, 2, 2]])
    np.testing.assert_array_equal(results[1]["z"], [[2, 2, 2, 2]])


def test_asking_again_replaces_the_inputs(model, tmp_path):
    """Fewer samples than before leave no old ones; what somebody else put there is not touched."""
    folder = tmp_path / "board"
    for count in (3, 1):
        with pytest.raises(ToolError, match="were written"):
            run(model, folder, feeds(count))
    assert sorted(path.name for path in (folder / "inputs").iterdir()) == ["0000"]
    (folder / "inputs" / "notes.txt").write_text("mine")
    with pytest.raises(ToolError, match="something that was not written by this command"):
        run(model, folder, feeds())
    assert sorted(path.name for path in folder.iterdir()) == ["README.txt", "inputs", "list.txt"]


def test_outputs_of_other_inputs_are_refused(model, tmp_path):
    """A comparison with the answers to another question would look like an error of the chip."""
    folder = tmp_path / "board"
    with pytest.raises(ToolError):
        run(model, folder, feeds())
    answer(folder)
    with pytest.raises(ToolError, match="made from another input 'x'") as caught:
        run(model, folder, feeds()[::-1])
    assert "--seed" in caught.value.fix
    with pytest.raises(ToolError, match="made from another input 'x'"):
        run(model, folder, feeds(3))


def test_outputs_without_inputs_are_taken_with_a_note(model, tmp_path):
    """Somebody who wrote the inputs in another way is believed, and that is said."""
    folder = tmp_path / "mine"
    for name in ("y_0", "z"):
        (folder / "0000").mkdir(parents=True, exist_ok=True)
        np.ones((1, 4), "<f4").tofile(folder / "0000" / f"{name}.bin")
    _, notes = run(model, folder, feeds(1))
    assert "not known" in notes[0]


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("z.npy", None, "wrote no output 'z'"),
        ("y_0.bin", b"\0" * 12, r"wrote 12 bytes for output 'y/0' of float32 \[1, 4\]: it has 16"),
        ("z.npy", b"\x93NUMPY" + b"x" * 100, "not an array"),
        ("z.npy", b"\x93NUMPY\x01\x00", "wrote 8 bytes"),
        ("z.npy", np.ones((4, 1), np.float32), r"float32 \[4, 1\], where the model declares float32 \[1, 4\]"),
        ("z.npy", np.ones((1, 4), np.float64), "float64"),
        ("z.npy", np.array([{}] * 4, object), "not an array"),
    ],
)
def test_outputs_that_are_none_are_told(model, tmp_path, name, data, told):
    """Missing, short, damaged, turned, of another type, pickled: the file is named."""
    folder = tmp_path / "board"
    with pytest.raises(ToolError):
        run(model, folder, feeds())
    answer(folder)
    path = folder / "0001" / name
    if data is None:
        path.unlink()
    elif isinstance(data, bytes):
        path.write_bytes(data)
    else:
        np.save(path, data, allow_pickle=True)
    with pytest.raises(ToolError, match=told) as caught:
        run(model, folder, feeds())
    assert caught.value.fix


def test_a_link_is_no_output(model, tmp_path):
    """It could lead to a device that never ends."""
    folder = tmp_path / "board"
    with pytest.raises(ToolError):
        run(model, folder, feeds())
    answer(folder)
    (folder / "0000" / "y_0.bin").unlink()
    (folder / "0000" / "y_0.bin").symlink_to("/dev/zero")
    with pytest.raises(ToolError, match="wrote no output 'y/0'"):
        run(model, folder, feeds())


def test_a_file_is_no_folder(model, tmp_path):
    """`dump:` names a folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="not a folder"):
        run(model, tmp_path / "file", feeds())
    with pytest.raises(RecipeError, match="no such runner"):
        run(model, "", feeds())
