"""Compiled models in the vendor's simulation: many samples in one start, and what goes wrong with it."""

import sys

import numpy as np
import pytest
from _axmodel import compiled
from onnx import TensorProto

from workbench.errors import ToolError
from workbench.runtimes import _samples
from workbench.runtimes._samples import file_name
from workbench.runtimes.axmodel import open_axmodel

NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def bare(monkeypatch, programs):
    """A machine without `axengine`, toolchain and container engine."""
    monkeypatch.setitem(sys.modules, "axengine", None)
    return programs


def test_simulation_runs_it(tmp_path, bare):
    """Without a chip the vendor's simulation runs the model, again and again."""
    bare("pulsar2_run", name="pulsar2")

    with open_axmodel(compiled(tmp_path / "m.axmodel")) as runner:
        assert runner.runtime == "pulsar2 run (7.0-standin)"
        np.testing.assert_array_equal(runner.run({"x": NUMBERS})["y.0"], 2 * NUMBERS)
        np.testing.assert_array_equal(runner.run({"x": NUMBERS + 1})["y.0"], 2 * NUMBERS + 2)
        with pytest.raises(ToolError, match=r"input 'x' is float32 \[2, 3\], given was float64 \[2, 3\]"):
            runner.run({"x": NUMBERS.astype(np.float64)})
        with pytest.raises(ToolError, match=r"the model takes \['x'\]"):
            runner.run({"z": NUMBERS})


def test_simulation_runs_many_samples_in_one_start(tmp_path, bare, monkeypatch):
    """Few starts for many samples, in order; more than fit in one go take a second; nothing stays on disk."""
    program = bare("pulsar2_run", name="pulsar2")
    counted = tmp_path / "starts"
    program.write_text(program.read_text().replace("exec", f'echo "$*" >>"{counted}"\nexec', 1))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(_samples, "MOST", 3)
    feeds = [{"x": NUMBERS + number} for number in range(4)]
    drawn = []
    with open_axmodel(compiled(tmp_path / "m.axmodel"), runner="pulsar2") as runner:
        for number, result in enumerate(runner.run_all(drawn.append(feed) or feed for feed in feeds)):
            np.testing.assert_array_equal(result["y.0"], 2 * (NUMBERS + number))
            assert len(drawn) == (3 if number < 3 else 4)

    assert len([line for line in counted.read_text().splitlines() if line.startswith("run")]) == 2
    assert list((tmp_path / "scratch").iterdir()) == []


def test_simulation_keeps_the_log_of_a_failure(tmp_path, bare, monkeypatch):
    """The scratch folder goes, the log that the error names stays."""
    bare("pulsar2_run", name="pulsar2")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("STANDIN_FAIL", "crash")

    with pytest.raises(ToolError) as caught, open_axmodel(compiled(tmp_path / "m.axmodel")) as runner:
        runner.run({"x": NUMBERS})
    (log,) = (tmp_path / "scratch").iterdir()
    assert str(log) in str(caught.value)
    assert "no such instruction" in log.read_text()


def test_simulation_that_hangs_is_stopped(tmp_path, bare):
    """The time is for everything that is run, not for each start."""
    program = bare("pulsar2_run", name="pulsar2")
    program.write_text(program.read_text().replace("exec", '[ "$1" = run ] && sleep 60\nexec', 1))

    with (
        pytest.raises(ToolError, match="did not finish within 1 s") as caught,
        open_axmodel(compiled(tmp_path / "m.axmodel"), timeout=1.0) as runner,
    ):
        runner.run({"x": NUMBERS})
    assert caught.value.fix.startswith("allow more time (workbench parity --timeout), or run fewer samples")


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        ("nothing", "wrote no output 'y.0'"),
        ("short", r"wrote 12 bytes for output 'y.0' of float32 \[2, 3\]"),
        ("crash", "no such instruction"),
    ],
)
def test_simulation_that_fails_is_told(fail, told, tmp_path, bare, monkeypatch):
    """A result of an earlier run never passes for one that was not written."""
    bare("pulsar2_run", name="pulsar2")

    with open_axmodel(compiled(tmp_path / "m.axmodel")) as runner:
        runner.run({"x": NUMBERS})
        monkeypatch.setenv("STANDIN_FAIL", fail)
        with pytest.raises(ToolError, match=told):
            runner.run({"x": NUMBERS})


@pytest.mark.parametrize("kind", [TensorProto.BFLOAT16, TensorProto.STRING])
def test_types_without_raw_files_are_refused(tmp_path, bare, kind):
    """Numbers that numpy has no name for cannot be written for the tool."""
    bare("pulsar2_run", name="pulsar2")

    with pytest.raises(ToolError, match=r"tensor 'x' holds .*, for which there is no raw file"):
        open_axmodel(compiled(tmp_path / "m.axmodel", kind=kind))


def test_tensors_that_share_a_file_are_refused(tmp_path, bare):
    """Two outputs whose file names become equal cannot be told apart."""
    bare("pulsar2_run", name="pulsar2")

    with pytest.raises(ToolError, match="two tensors would share one file"):
        open_axmodel(compiled(tmp_path / "m.axmodel", outputs=("y.0", "y:0")))


def test_file_names_follow_the_vendor():
    """Everything but letters, digits, underscore and hyphen becomes an underscore."""
    assert file_name("a/b:c.d-e_é") == "a_b_c_d-e__.bin"
