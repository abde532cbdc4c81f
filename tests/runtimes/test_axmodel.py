"""Compiled models: what the container says, and which runner is found for it."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from _axmodel import compiled
from onnx import TensorProto, helper

from workbench.errors import RecipeError, ToolError
from workbench.runtimes import _axengine
from workbench.runtimes._runner import Port
from workbench.runtimes.axmodel import AxModel, describe, open_axmodel

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "reference" / "pulsar2" / "samples"
NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)


class Session:
    """An `axengine.InferenceSession` as documented: onnxruntime-like, strict about its inputs, here y = 2 x."""

    broken = ""

    def __init__(self, path, providers=None):
        self.providers = providers
        if self.broken == "load":
            raise RuntimeError("Failed to load model.")
        self.path = path

    def get_providers(self):
        return self.providers[0] if self.providers else "AxEngineExecutionProvider"

    def get_inputs(self):
        return [SimpleNamespace(name="x", shape=(2, 3), dtype=np.dtype("float32"))]

    def get_outputs(self):
        return [SimpleNamespace(name="y.0", shape=(2, 3), dtype=np.dtype("float32"))]

    def run(self, names, feeds):
        if self.broken == "run":
            raise RuntimeError("Failed to run model.")
        array = feeds["x"]
        assert list(array.shape) == [2, 3], "model inputs(x) expect another shape"
        assert array.flags.c_contiguous
        return [array * 2]


@pytest.fixture
def engine(monkeypatch):
    """Install a stand-in for the vendor's Python package."""
    module = ModuleType("axengine")
    module.InferenceSession = type("InferenceSession", (Session,), {})
    monkeypatch.setitem(sys.modules, "axengine", module)
    return module.InferenceSession


@pytest.fixture
def bare(monkeypatch, programs):
    """A machine without `axengine`, toolchain and container engine."""
    monkeypatch.setitem(sys.modules, "axengine", None)
    return programs


def test_facts_of_a_container(tmp_path):
    """Version, commit, ports, NPU programs and CPU operators are read without running anything."""
    assert describe(compiled(tmp_path / "m.axmodel")) == AxModel(
        version="3.1",
        commit="a8a80616",
        inputs=(Port("x", (2, 3), "float32"),),
        outputs=(Port("y.0", (2, 3), "float32"),),
        neu=("subgraph_npu_0",),
        cpu=("Softmax",),
    )


@pytest.mark.parametrize(
    ("sample", "version", "neu", "kind"),
    [("matmul_s8", "1.9-beta1-dirty", "npu_0", "int8"), ("matmul_s16", "3.1", "subgraph_npu_0", "int16")],
)
def test_facts_of_real_files(sample, version, neu, kind):
    """Files that real toolchains wrote are read."""
    path = SAMPLES / f"{sample}.axmodel"
    if not path.is_file():
        pytest.skip(f"no compiled samples in {SAMPLES}")

    facts = describe(path)

    assert (facts.version, facts.neu, facts.cpu) == (version, (neu,), ())
    assert {port.dtype for port in facts.inputs} == {kind}
    assert [port.shape[1] for port in facts.outputs] == [10000]


def test_plain_onnx_is_no_compiled_model(tmp_path):
    """An ONNX file that was only renamed is refused."""
    node = helper.make_node("Relu", ["x"], ["y"])
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "g", ports[:1], ports[1:])), tmp_path / "m.axmodel")

    with pytest.raises(ToolError, match="no NPU program inside") as caught:
        describe(tmp_path / "m.axmodel")
    assert "this is plain ONNX" in caught.value.fix


def test_unknown_type_is_refused(tmp_path):
    """A port whose type no toolchain writes is an error."""
    with pytest.raises(ToolError, match="tensor 'x' has unknown type 99"):
        describe(compiled(tmp_path / "m.axmodel", kind=99))


@pytest.mark.parametrize("size", [0, 10, -20])
def test_truncated_container_is_refused(size, tmp_path):
    """Half a file is an error before any runner is looked for."""
    path = compiled(tmp_path / "m.axmodel")
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(ToolError) as caught:
        open_axmodel(path)
    assert caught.value.where == str(path)


def test_without_a_runner_all_of_them_are_listed(tmp_path, bare):
    """When nothing runs the file, exit code 3 and every way to run it, what it needs and that it is not here."""
    with pytest.raises(ToolError) as caught:
        open_axmodel(compiled(tmp_path / "m.axmodel"))

    text = str(caught.value)
    assert caught.value.exit_code == 3
    assert "axengine: runs it on the chip; needs AXera's Python package and its NPU: not installed" in text
    assert "pulsar2 run: simulates the chip on x86-64 Linux; needs the Pulsar2 toolchain: not found" in text
    assert "ax_run_model: AXera's program on a board: --runner ssh://root@board" in text
    assert "by hand: --runner dump:DIR" in text
    assert "set PULSAR2_HOME" in caught.value.fix


def test_axengine_runs_it(tmp_path, engine):
    """Where the vendor's package is importable the model runs on the NPU, transposed arrays included."""
    with open_axmodel(compiled(tmp_path / "m.axmodel")) as runner:
        assert runner.runtime == "axengine (AxEngineExecutionProvider)"
        assert runner.inputs == (Port("x", (2, 3), "float32"),)
        view = NUMBERS.reshape(3, 2).T
        np.testing.assert_array_equal(runner.run({"x": view})["y.0"], 2 * view)
        with pytest.raises(ToolError, match="expect another shape"):
            runner.run({"x": NUMBERS.T})


def test_a_provider_of_axengine_may_be_named(tmp_path, engine):
    """A machine with a PCIe card and an NPU of its own runs it where it is told."""
    with open_axmodel(compiled(tmp_path / "m.axmodel"), runner="axengine:AXCLRTExecutionProvider") as runner:
        assert runner.runtime == "axengine (AXCLRTExecutionProvider)"
        assert [list(one) for one in runner.run_all([{"x": NUMBERS}] * 2)] == [["y.0"], ["y.0"]]


@pytest.mark.parametrize(
    ("runner", "told"),
    [
        ("axengine:AXCLRTExecutionProvide", "did you mean 'AXCLRTExecutionProvider'"),
        ("axengine:", "axengine has no provider ''"),
        ("pulsar", "no such runner"),
        ("pulsar2:7.0", "no such runner"),
        ("dump", "no such runner"),
        ("dump:", "no such runner"),
        ("auto:", "no such runner"),
        ("", "no such runner"),
        ("ssh://-oProxyCommand=sh", "is no host name"),
    ],
)
def test_runners_that_are_none(tmp_path, runner, told):
    """A usage error, before the file is looked at; the right forms are listed."""
    with pytest.raises(RecipeError) as caught:
        open_axmodel(tmp_path / "absent.axmodel", runner=runner)
    assert told in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("runner", "told"),
    [("pulsar2", "no Pulsar2 toolchain"), ("axengine", "axengine cannot be used here: not installed")],
)
def test_a_runner_that_is_not_here(tmp_path, bare, runner, told):
    """Who names a runner gets that one or an error, never another one."""
    with pytest.raises(ToolError, match=told) as caught:
        open_axmodel(compiled(tmp_path / "m.axmodel"), runner=runner)
    assert caught.value.fix


@pytest.mark.parametrize("step", ["load", "run"])
def test_axengine_failure_is_told(step, tmp_path, engine):
    """What the NPU refuses becomes an error with the model's path."""
    engine.broken = step

    with (
        pytest.raises(ToolError, match=f"axengine cannot {step} the model: Failed to {step} model"),
        open_axmodel(compiled(tmp_path / "m.axmodel")) as runner,
    ):
        runner.run({"x": NUMBERS})


def test_axengine_without_driver_is_told(tmp_path, monkeypatch):
    """The package on a machine without an NPU driver is a reason, not a traceback."""
    (tmp_path / "axengine.py").write_text("raise ImportError('no providers found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "axengine", raising=False)

    assert _axengine.find() == (None, "it cannot be loaded: no providers found")


def test_axengine_that_misses_a_module_is_told(tmp_path, monkeypatch):
    """A package installed without what it needs names that."""
    (tmp_path / "axengine.py").write_text("import cffi_of_nobody")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "axengine", raising=False)

    assert _axengine.find() == (None, "it misses cffi_of_nobody")
