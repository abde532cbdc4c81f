"""A recipe all the way to a compiled model, with the stand-in `pulsar2` on PATH: made, checked, published, resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import _tiny
import onnx
import pytest
from click.testing import CliRunner

from workbench.cli import main

MODEL = "tiny.ax650.axmodel"
KIT = "pulsar2/AX650"
LIMITED = {"int8: {cosine: 0.9}": "int8: {cosine: 0.9}\n    axmodel: {cosine: 0.99}"}
QUICK = {"quantization: {method: MinMax}\n": "", "int8: {cosine: 0.9}": "axmodel: {cosine: 0.99}"}
ANALYSED = {**LIMITED, "chips: [AX650]": "chips: [AX650], precision_analysis: true, npu_perf: true"}
WIDENED = {
    **LIMITED,
    "quantization: {method: MinMax}": "quantization: {method: MinMax, u16: [heat]}",
    "int8: {": "mixed: {cosine: 0.9}\n    int8: {",
}


class Bench:
    """A folder with the tiny recipe, a store of its own, and `workbench convert`."""

    def __init__(self, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.published = home, folder / "dist" / "tiny"
        self._folder, self._patch, self._pid = folder, monkeypatch, folder / "pulsar2.pid"
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("WORKBENCH_MIRROR", str(folder))
        monkeypatch.setenv("STANDIN_PID", str(self._pid))

    def convert(self, changes: dict[str, str] | None = None, code: int = 0, **extra: str) -> tuple[dict, str]:
        """Convert in this process, with the variables `extra`; returns what stdout says of it and all of stderr."""
        with self._patch.context() as patch:
            for name, value in extra.items():
                patch.setenv(name, value)
            result = CliRunner().invoke(main, self._arguments(changes))
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.stderr
        return json.loads(result.stdout)[0], result.stderr

    def start(self, **extra: str) -> subprocess.Popen:
        """Convert in a process of its own, without waiting."""
        program = [sys.executable, "-c", "from workbench.cli import main; main()", *self._arguments()]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(program, cwd=self._folder, env={**os.environ, **extra}, **quiet)

    def wait_for(self, phase: str, seconds: float = 60) -> None:
        """Return when the tool stands still at `phase`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(OSError):
                if self._pid.read_text().endswith(f" {phase}"):
                    return
            time.sleep(0.05)
        raise AssertionError(f"the tool never came to {phase}")

    def end_tool(self) -> None:
        """End the tool if a test that failed left it: by its own number, which it wrote itself."""
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(self._pid.read_text().split()[0]), signal.SIGKILL)

    def tool_runs(self) -> bool:
        """Whether the stand-in is alive."""
        status = Path("/proc", self._pid.read_text().split()[0], "status")
        return status.exists() and "State:\tZ" not in status.read_text()

    def wait_for_the_end_of_the_tool(self, seconds: float = 30) -> None:
        """Return when the stand-in is gone."""
        end = time.monotonic() + seconds
        while self.tool_runs():
            assert time.monotonic() < end, "the tool works on"
            time.sleep(0.05)

    def _arguments(self, changes: dict[str, str] | None = None) -> list[str]:
        recipe = _tiny.write(self._folder, **(changes or QUICK))
        return ["convert", str(recipe), "--require", "axmodel", "--json"]


@pytest.fixture
def bench(
    tmp_path: Path, home: Path, programs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """A bench with the stand-in on PATH; what a test leaves of the tool is ended after it."""
    programs("pulsar2")
    made = Bench(tmp_path / "work", home, monkeypatch)
    yield made
    made.end_tool()


def judged(outcome: dict, name: str = MODEL) -> dict:
    """The verdict on one artifact."""
    (found,) = [one for one in outcome["parity"]["artifacts"] if one["artifact"] == name]
    return found


def files(folder: Path) -> dict[str, bytes]:
    """Path and content of every file below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_model_its_parity_and_the_vendors_word_are_published(bench):
    """The compiled model is run by `pulsar2 run` on the golden pictures and judged; all files are in the manifest."""
    outcome, _ = bench.convert(ANALYSED)
    verdict = judged(outcome)
    assert verdict["passed"]
    assert verdict["runtime"] == "pulsar2 run (7.0-standin)"
    assert verdict["outputs"][0]["cosine"] > 0.99
    assert verdict["outputs"][0]["max_abs"] > 0  # it is not the float network that answered
    listed = {one["path"]: one for one in outcome["manifest"]["files"]}
    reports = {f"{KIT}/{name}" for name in ("precision_analysis_table.txt", "quant_axmodel.json", "op_profile.csv")}
    wanted = {MODEL, f"{KIT}/build.log", *reports}
    assert wanted <= set(files(bench.published))
    assert wanted <= set(listed)
    assert listed[MODEL]["precision"] == "axmodel"
    assert outcome["manifest"]["skipped"] == []
    model = onnx.load(bench.published / MODEL)
    assert [node.op_type for node in model.graph.node] == ["neu mode"]
    assert model.producer_name == "Pulsar2 stand-in"
    page = (bench.published / "report.html").read_text()
    assert "AxQuantizedConv" in page


@pytest.mark.parametrize(
    ("options", "kind", "shape"),
    [
        ("input: fp32", "FLOAT", [1, 3, 32, 48]),
        ("input: nv12", "UINT8", [1, 48, 48, 1]),
        ("model: qdq", "UINT8", [1, 32, 48, 3]),
    ],
)
def test_each_kind_of_model_is_fed_as_it_was_built(bench, options, kind, shape):
    """A float tensor, a camera's picture or pixels: what the options say is what the model takes, and parity holds."""
    outcome, _ = bench.convert({**LIMITED, "chips: [AX650]": f"chips: [AX650], {options}"})
    (port,) = onnx.load(bench.published / MODEL).graph.input
    assert port.type.tensor_type.elem_type == onnx.TensorProto.DataType.Value(kind)
    assert [size.dim_value for size in port.type.tensor_type.shape.dim] == shape
    assert judged(outcome)["passed"], judged(outcome)


def test_a_second_run_does_nothing_and_two_machines_agree(bench, monkeypatch, tmp_path):
    """An unchanged second run starts no stage; an empty store makes the same bytes again."""
    bench.convert()
    first = files(bench.published)
    _, told = bench.convert()
    assert "pulsar2" not in [line.split()[1] for line in told.splitlines() if line.startswith(". ")]
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "another"))
    (bench.published.parent).rename(tmp_path / "aside")
    bench.convert()
    again = files(bench.published)
    assert sorted(again) == sorted(first)
    assert [name for name in first if again[name] != first[name] and name.startswith(("pulsar2/", MODEL))] == []


def test_another_version_of_the_tool_runs_it_and_what_follows(bench, programs):
    """When the tool says another version, only its target, parity and the report run."""
    bench.convert()
    os.utime(programs("pulsar2"), (0, 0))  # a program that did not change is not asked again in one process
    _, told = bench.convert(STANDIN_VERSION="7.1")
    ran = [line.split()[1] for line in told.splitlines() if line.startswith(". ")]
    assert ran == ["pulsar2", "parity", "report"]


@pytest.mark.parametrize("phase", ["frontend", "assemble", "write", "run"])
def test_after_a_kill_the_next_run_completes(bench, phase):
    """Killed while the tool works, Workbench takes it along and publishes nothing; the next run does what is left."""
    work = bench.start(STANDIN_FAIL=f"hang@{phase}")
    try:
        bench.wait_for(phase)
    finally:
        work.kill()
        work.wait()
    bench.wait_for_the_end_of_the_tool()
    assert not bench.published.exists()
    outcome, _ = bench.convert()
    assert judged(outcome)["passed"]
    assert not list((bench.home / "scratch").iterdir())


def test_ctrl_c_ends_the_tool(bench):
    """Ctrl-C ends Workbench with 130 and the tool with it; nothing is published, and the next run completes."""
    work = bench.start(STANDIN_FAIL="hang@calibration")
    bench.wait_for("calibration")
    work.send_signal(signal.SIGINT)
    assert work.wait(30) == 130
    assert not bench.tool_runs()
    assert not bench.published.exists()
    outcome, _ = bench.convert()
    assert judged(outcome)["passed"]


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        ("licence", "H0007"),
        ("operator", "dont support LRN"),
        ("truncated", "damaged model"),
        ("written", "exit code 3"),
    ],
)
def test_a_failing_tool_is_exit_3_and_its_log_stays(bench, fail, told):
    """However the tool fails, nothing is published, and the log is where the error says when the command is over."""
    outcome, printed = bench.convert(code=3, STANDIN_FAIL=fail)
    assert told in outcome["error"]
    assert not bench.published.exists()
    log = Path(next(word for word in outcome["error"].split(": ") if word.endswith("build.log")).split()[-1])
    assert log.is_file()
    assert str(log) in printed
    good, _ = bench.convert()
    assert judged(good)["passed"]


@pytest.mark.parametrize(
    ("fail", "told"),
    [("nothing", "wrote no output 'heat'"), ("short", "13056 bytes"), ("crash", "no such instruction")],
)
def test_a_simulation_that_fails_is_exit_3(bench, fail, told):
    """Outputs that are missing or wrong-sized are no parity: the error says so, and nothing is published."""
    bench.convert()
    before = files(bench.published)
    outcome, _ = bench.convert({**QUICK, "cosine: 0.99}": "cosine: 0.98}"}, code=3, STANDIN_FAIL=fail)
    assert told in outcome["error"]
    assert files(bench.published) == before


def test_nan_never_passes(bench):
    """Outputs of NaN miss every limit: exit 4, and the result goes aside."""
    outcome, _ = bench.convert(code=4, STANDIN_FAIL="nan")
    assert not judged(outcome)["passed"]
    assert not bench.published.exists()


def test_a_wish_without_effect_is_exit_3(bench):
    """A tensor at 16 bits that the tool left at 8 ends the run; tensor, layer and the list that says so are named."""
    outcome, _ = bench.convert(WIDENED, code=3, STANDIN_FAIL="narrow")
    assert "'heat' in layer 'conv1'" in outcome["error"]
    assert not bench.published.exists()
    kept = Path("dist/tiny.failed") / KIT
    assert outcome["error"].startswith(f"{kept / 'quant_axmodel.json'}: ")
    assert {"u16.txt", "build.log", "quant_axmodel.json"} <= {path.name for path in kept.iterdir()}
    assert not list(Path("dist").rglob("*.axmodel"))
    good, _ = bench.convert(WIDENED)
    assert judged(good)["outputs"][0]["cosine"] > 0.99
    widths = json.loads((bench.published / KIT / "quant_axmodel.json").read_text())
    assert widths["tensor_configs"]["conv1"]["heat"]["bit_width"] == 16
