"""Facts about simplification: it is proved, or it is reverted and said so."""

from __future__ import annotations

import os
import signal
import sys
import tempfile

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.graph import io
from workbench.recipe.schema import InputSpec
from workbench.sources import _onnxsim, simplify
from workbench.sources.simplify import Difference

SPEC = (InputSpec(name="x", shape=(1, 3, 8, 8), mean=(128.0,), std=(256.0,)),)
TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,8,8] x) => (float[1,4,8,8] heat) {
    c = Conv (x, w)
    n = BatchNormalization (c, scale, shift, mean, var)
    i = Identity (n)
    s = Shape (i)
    r = Reshape (i, s)
    heat = Relu (r)
}"""


class Ears(Silent):
    """Remembers what it is told."""

    def __init__(self):
        self.warnings = []
        self.notes = []

    def warn(self, text):
        """Keep a warning."""
        self.warnings.append(text)

    def note(self, text):
        """Keep a note."""
        self.notes.append(text)


def proto(text=TEXT):
    """The model with a normalized convolution and detours."""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    constants = {"w": rng.standard_normal((4, 3, 1, 1))} | {n: rng.uniform(0.5, 1, 4) for n in ("scale", "shift")}
    constants |= {"mean": rng.standard_normal(4), "var": rng.uniform(0.5, 1, 4)}
    for name, data in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(data.astype(np.float32), name))
    return model


@pytest.fixture
def path(tmp_path):
    """The model in a file."""
    file = tmp_path / "model.onnx"
    file.write_bytes(proto().SerializeToString())
    return file


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Replaces the onnxsim program by a script of the test's own."""

    def replace(code):
        script = tmp_path / "fake.py"
        script.write_text("import sys\nmodel, result = sys.argv[1:]\n" + code)
        monkeypatch.setattr(_onnxsim, "__file__", str(script))

    return replace


def test_detours_go_and_the_outputs_stay(path):
    """Identity, Shape, Reshape and the batch normalization disappear; names, shapes and numbers do not change."""
    ears = Ears()
    done = simplify.simplify(path, SPEC, progress=ears)
    assert done.reverted == ""
    assert [node.op_type for node in done.model.graph] == ["Conv", "Relu"]
    assert [(v.name, list(v.shape)) for v in done.model.graph.outputs] == [("heat", [1, 4, 8, 8])]
    (difference,) = done.differences
    assert difference.output == "heat"
    assert difference.relative < 1e-5
    assert ears.notes == ["simplified 6 nodes to 2"]
    assert ears.warnings == []


def test_the_bytes_are_the_same_every_time(path):
    """Two runs give the same bytes, without onnxsim's own marks in them."""
    first, second = (io.to_bytes(simplify.simplify(path, SPEC, progress=Silent()).model) for _ in range(2))
    assert first == second
    assert not onnx.ModelProto.FromString(first).metadata_props


def test_our_own_marks_survive(tmp_path):
    """A model marked as not deployable is still marked when it is simplified."""
    model = io.from_bytes(proto().SerializeToString())
    io.mark_not_deployable(model, "seeded weights")
    io.write(model, tmp_path / "model.onnx")
    done = simplify.simplify(tmp_path / "model.onnx", SPEC, progress=Silent())
    assert io.not_deployable(io.from_bytes(io.to_bytes(done.model))) == "seeded weights"


def test_quiet(path, capfd):
    """Nothing of what onnxsim prints reaches the terminal."""
    simplify.simplify(path, SPEC, progress=Silent())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('no such pass')", "onnxsim failed: ValueError: no such pass"),
        (
            "raise OSError(f'cannot read {model} or {result}')",
            "onnxsim failed: OSError: cannot read model.onnx or simp",
        ),
        ("sys.exit(7)", "onnxsim failed: exit code 7"),
        (
            f"import os\nos.kill(os.getpid(), {int(signal.SIGSEGV)})",
            f"onnxsim crashed with signal {int(signal.SIGSEGV)}",
        ),
        ("pass", "onnxsim wrote no graph"),
        ("open(result, 'wb').write(b'rubbish')", "onnxsim wrote no graph"),
    ],
)
def test_a_crash_is_survived(path, program, code, words):
    """An exception, a crash of the C++ code or a missing result leaves the original, with a warning."""
    program(code)
    ears = Ears()
    done = simplify.simplify(path, SPEC, progress=ears)
    assert done.reverted.startswith(words)
    assert ears.warnings == [f"simplification was reverted: {done.reverted}"]
    assert io.to_bytes(done.model) == io.to_bytes(io.read(path))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"import os\nos.kill(os.getpid(), {int(signal.SIGKILL)})", "onnxsim was killed with signal 9"),
        ("raise MemoryError", "onnxsim failed: MemoryError"),
        ("import os, errno\nraise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))", "No space left"),
    ],
)
def test_what_may_go_better_next_time_is_an_error(path, program, code, words):
    """A killed child, too little memory and a full disk are no reason to keep an unsimplified graph for ever."""
    program(code)
    with pytest.raises(ToolError, match=words) as caught:
        simplify.simplify(path, SPEC, progress=Silent())
    assert "try again" in caught.value.fix


def test_a_program_that_cannot_be_started_is_an_error(path, monkeypatch):
    """The system's reason is told."""
    monkeypatch.setattr(sys, "executable", str(path.parent / "absent"))
    with pytest.raises(ToolError, match="onnxsim cannot be started: No such file"):
        simplify.simplify(path, SPEC, progress=Silent())


def test_no_folder_for_temporary_files_is_an_error(path, monkeypatch):
    """A temporary folder that is gone or full."""
    monkeypatch.setattr(tempfile, "tempdir", str(path.parent / "absent"))
    with pytest.raises(ToolError, match="no folder for temporary files: No such file"):
        simplify.simplify(path, SPEC, progress=Silent())


def ended(pid):
    """Whether a process is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("how", ["interrupt", "timeout"])
def test_nothing_is_left_when_the_wait_ends_early(path, program, monkeypatch, how):
    """Ctrl-C, or too long a run: the child is dead and its folder gone."""
    temporary, pid = path.parent / "temporary", path.parent / "pid"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    interrupt = f"os.kill(os.getppid(), {int(signal.SIGINT)})" if how == "interrupt" else ""
    program(
        f"import os, time\nopen(result, 'w')\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\n{interrupt}\n"
        "time.sleep(60)"
    )
    monkeypatch.setattr(simplify, "_PATIENCE", 2.0 if how == "timeout" else 60.0)
    expected = pytest.raises(KeyboardInterrupt) if how == "interrupt" else pytest.raises(ToolError, match="within 2 s")
    with expected:
        simplify.simplify(path, SPEC, progress=Silent())
    assert ended(int(pid.read_text()))
    assert list(temporary.iterdir()) == []


CHANGE = "import onnx\nm = onnx.load(model)\n{}\nonnx.save(m, result)\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("m.graph.output[0].name = m.graph.node[-1].output[0] = 'hot'", "the outputs heat became hot"),
        ("m.graph.input[0].name = m.graph.node[0].input[0] = 'y'", "the inputs x became y"),
        ("m.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5", "output heat was FLOAT"),
        ("m.graph.node[-1].op_type = 'Abs'", "outputs moved further than 0.0001 of their largest magnitude: heat by"),
        ("m.graph.node[-1].op_type = 'Sqrt'", "output heat has NaN or Inf in other places"),
        ("m.graph.node[-1].op_type = 'Nonsense'", "the simplified graph does not load"),
        ("m.graph.node[-2].input[1] = 'w'", "the simplified graph does not"),
    ],
)
def test_a_wrong_result_is_reverted(path, program, change, words):
    """Other names, shapes or numbers, NaN where there was none, and graphs that do not run are not taken."""
    program(CHANGE.format(change))
    ears = Ears()
    done = simplify.simplify(path, SPEC, progress=ears)
    assert words in done.reverted
    assert len(ears.warnings) == 1
    assert io.to_bytes(done.model) == io.to_bytes(io.read(path))


def test_the_limit_is_relative(path, program):
    """A shift is taken or reverted by its size against the output's largest magnitude."""
    shift = """
import numpy as np
from onnx import numpy_helper
for tensor in m.graph.initializer:
    if tensor.name == 'w':
        tensor.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(tensor) * 1.001).astype('float32'), 'w'))
"""
    program(CHANGE.format(shift))
    tight = simplify.simplify(path, SPEC, progress=Silent())
    assert tight.reverted
    loose = simplify.simplify(path, SPEC, limit=0.01, progress=Silent())
    assert not loose.reverted
    assert loose.differences == tight.differences
    assert 1e-4 < loose.differences[0].relative < 0.01


def test_real_inputs_are_tried_too(path, program):
    """A difference that only a real input shows is found."""
    cap = "m.graph.node[-1].op_type = 'Clip'\nm.graph.node[-1].input.extend(['low', 'high'])\n" + "\n".join(
        f"m.graph.initializer.append(onnx.numpy_helper.from_array(__import__('numpy').float32({value}), '{name}'))"
        for name, value in (("low", 0), ("high", 30))
    )
    program(CHANGE.format(cap))
    assert simplify.simplify(path, SPEC, progress=Silent()).reverted == ""
    feeds = [{"x": np.full((1, 3, 8, 8), value, np.float32)} for value in (-100.0, 100.0)]
    assert "moved further" in simplify.simplify(path, SPEC, extra_feeds=feeds, progress=Silent()).reverted


def test_equal_nans_are_equal(tmp_path):
    """An output that is NaN for negative inputs before and after is not a difference."""
    file = tmp_path / "model.onnx"
    file.write_bytes(proto(TEXT.replace("Relu", "Sqrt")).SerializeToString())
    done = simplify.simplify(file, SPEC, progress=Silent())
    assert done.reverted == ""
    assert done.differences[0].relative < 1e-4


def test_compiled_models_are_never_touched(tmp_path):
    """A compiled .axmodel is refused before onnxsim sees it."""
    file = tmp_path / "model.axmodel"
    node = onnx.helper.make_node("neu mode", ["x"], ["y"])
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    made = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    file.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [made])).SerializeToString())
    before = file.read_bytes()
    with pytest.raises(ToolError, match=r"compiled \.axmodel cannot be edited"):
        simplify.simplify(file, SPEC, progress=Silent())
    assert file.read_bytes() == before


def test_inputs_must_be_the_recipes(path):
    """A graph whose inputs the recipe does not name is an error that lists both."""
    spec = (InputSpec(name="image", shape=(1, 3, 8, 8)),)
    with pytest.raises(ToolError, match=r"inputs \['x'\], the recipe \['image'\]"):
        simplify.simplify(path, spec, progress=Silent())


def test_onnxsim_is_not_imported_here(path):
    """The library stays in its own process."""
    simplify.simplify(path, SPEC, progress=Silent())
    assert "onnxsim" not in sys.modules


def test_differences_are_per_output(tmp_path):
    """Every output has its own largest difference, in the order of the outputs."""
    text = TEXT.replace("(float[1,4,8,8] heat)", "(float[1,4,8,8] heat, float[1,4,8,8] n)")
    file = tmp_path / "model.onnx"
    file.write_bytes(proto(text).SerializeToString())
    done = simplify.simplify(file, SPEC, trials=1, progress=Silent())
    assert done.reverted == ""
    assert [type(one) for one in done.differences] == [Difference, Difference]
    assert [one.output for one in done.differences] == ["heat", "n"]
