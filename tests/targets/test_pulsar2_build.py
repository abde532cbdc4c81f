"""The Pulsar2 target from a graph to files: without a toolchain, and with a stand-in for it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from workbench.engine.progress import Silent
from workbench.errors import RecipeErrors, ToolError, UnsupportedError
from workbench.recipe.schema import InputSpec
from workbench.targets._target import Artifact, TargetJob
from workbench.targets.pulsar2 import Options, build, compiling, environment

SPEC = InputSpec(name="image", shape=(1, 3, 4, 6), color="BGR", mean=(128,), std=(256,))
MODEL = "pulsar2/model.onnx"
KIT = ["pulsar2/AX650/config.json", "pulsar2/AX650/calibration/image.tar", "pulsar2/AX650/build.sh"]


@pytest.fixture
def job(tmp_path, programs):
    """A job over a one-operator graph and three pictures; no toolchain is in reach."""
    x = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 6])
    y = helper.make_tensor_value_info("heat", TensorProto.FLOAT, [1, 3, 4, 6])
    graph = helper.make_graph([helper.make_node("Sigmoid", ["image"], ["heat"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "canonical.onnx")
    pictures = tmp_path / "pictures" / "image"
    pictures.mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(3):
        pixels = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{index:05d}.png")

    def make(out: str = "out", spec: InputSpec = SPEC, **options: object) -> TargetJob[Options]:
        folder = tmp_path / out
        folder.mkdir()
        return TargetJob(
            name="net",
            options=Options.model_validate(options),
            model=tmp_path / "canonical.onnx",
            quantized=None,
            inputs=(spec,),
            pictures=tmp_path / "pictures",
            out=folder,
            progress=Silent(),
        )

    return make


def files(folder: Path) -> dict[str, bytes]:
    """Path and content of every file below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_without_a_toolchain_the_kit_is_written_and_the_model_skipped(job):
    """Config, calibration and script are there; the compiled model is promised, missing, and says how to get it."""
    made = job()
    graph, *kit, model = build(made)
    assert graph == Artifact(MODEL)
    assert [one.path for one in kit] == KIT
    assert model.path == "net.ax650.axmodel"
    assert (model.precision, model.skipped) == ("axmodel", "no Pulsar2 toolchain")
    assert "PULSAR2_HOME" in model.fix
    assert sorted(files(made.out)) == sorted([MODEL, *KIT])
    assert os.access(made.out / KIT[2], os.X_OK)


def test_random_weights_are_told_by_the_build_script(job):
    """Whoever compiles a network that must not be shipped reads it first."""
    made = job()
    proto = onnx.load(made.model)
    proto.metadata_props.add(key="workbench.not_deployable", value="seeded")
    onnx.save(proto, made.model)
    build(made)

    assert "'NOT DEPLOYABLE: seeded' >&2" in (made.out / KIT[2]).read_text()


def test_the_same_bytes_on_every_run(job):
    """Two builds write the same files."""
    first, second = job("first"), job("second")
    build(first)
    build(second)
    assert files(first.out) == files(second.out)


def test_pictures_are_packed_as_they_are(job, tmp_path):
    """Mode u8 packs the fitted pictures, unchanged."""
    made = job()
    build(made)
    with tarfile.open(made.out / KIT[1]) as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}
    assert members == files(tmp_path / "pictures" / "image")


def test_tensors_are_what_the_network_takes(job, tmp_path):
    """Mode fp32 packs float32 tensors with the batch axis, in the network's colour order, normalized."""
    made = job(input="fp32")
    build(made)
    with tarfile.open(made.out / KIT[1]) as archive:
        first = np.load(io.BytesIO(archive.extractfile(archive.getmembers()[0]).read()))
    pixels = np.asarray(Image.open(tmp_path / "pictures" / "image" / "00000.png"), np.float32)
    expected = (pixels[:, :, ::-1].transpose(2, 0, 1)[np.newaxis] - 128) / 256
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, expected)


def test_every_chip_gets_its_own_kit(job):
    """Two chips make two folders, named as the recipe names the chips; the models' names are in lower case."""
    made = job(chips=["AX650", "AX630C"])
    paths = [one.path for one in build(made)]
    assert "pulsar2/AX630C/config.json" in paths
    assert "net.ax630c.axmodel" in paths
    assert json.loads((made.out / "pulsar2/AX630C/config.json").read_text())["target_hardware"] == "AX620E"


def test_compile_never_asks_no_tool(job, programs):
    """With compile: never a toolchain in reach is left alone."""
    programs("pulsar2")
    model = build(job(compile="never"))[-1]
    assert model.skipped == "not asked for"
    assert "compile to auto" in model.fix


def test_the_tool_is_part_of_the_key(programs):
    """What the result depends on names the tool's version and build, or says that there is none."""
    assert environment(Options()) == {"pulsar2": "none"}
    programs("pulsar2")
    assert environment(Options()) == {"pulsar2": "7.0-standin 0000standin"}
    assert environment(Options(compile="never")) == {"pulsar2": "not asked for"}


@pytest.mark.parametrize("mode", ["u8", "fp32"])
def test_with_a_toolchain_the_model_is_compiled(job, programs, mode):
    """The stand-in takes our configuration and archives, and its model is taken over with log and table."""
    programs("pulsar2")
    made = job(input=mode, precision_analysis=True)
    artifacts = build(made)
    assert artifacts[4:] == [
        Artifact("net.ax650.axmodel", "axmodel"),
        Artifact("pulsar2/AX650/precision_analysis_table.txt"),
        Artifact("pulsar2/AX650/quant_axmodel.json"),
        Artifact("pulsar2/AX650/build.log"),
        Artifact("pulsar2/AX650/vendor.json"),
    ]
    told = json.loads((made.out / "pulsar2/AX650/vendor.json").read_text())
    assert told["max_cycle"] == 100
    assert (told["layers"][0]["tensor"], told["layers"][0]["stored"]) == ("heat", "U8")
    assert told["layers"][0]["vendor_cosine"] > 0.99
    compiled = onnx.load(made.out / "net.ax650.axmodel")
    assert [node.op_type for node in compiled.graph.node] == ["neu mode"]
    (port,) = compiled.graph.input
    shape = [size.dim_value for size in port.type.tensor_type.shape.dim]
    assert (port.type.tensor_type.elem_type, shape) == (
        (TensorProto.UINT8, [1, 4, 6, 3]) if mode == "u8" else (TensorProto.FLOAT, [1, 3, 4, 6])
    )
    assert "3 File(s) Loaded." in (made.out / "pulsar2/AX650/build.log").read_text()
    assert sorted(files(made.out)) == sorted(one.path for one in artifacts)


def test_compiled_in_a_container(job, programs, tmp_path, monkeypatch):
    """Through a container engine the same files come back, and only a copy of the kit was mounted."""
    state = tmp_path / "engine"
    (state / "root").mkdir(parents=True)
    (state / "images").write_text("pulsar2:7.0 bbbb\n")
    monkeypatch.setenv("STANDIN_DOCKER", str(state))
    programs("docker")
    monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:7.0")
    programs("pulsar2")  # reached only inside the stand-in's container, which shares this PATH
    made = job()
    assert build(made)[4] == Artifact("net.ax650.axmodel", "axmodel")
    run = [json.loads(line) for line in (state / "calls.jsonl").read_text().splitlines()][-1]
    assert run[run.index("--volume") + 1] == f"{made.out}/.pulsar2-work:/data"
    assert run[run.index("--workdir") + 1] == "/data/pulsar2/AX650"
    assert not (made.out / ".pulsar2-work").exists()


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        ("licence", "Sentinel key not found"),
        ("operator", "dont support LRN"),
        ("signal", "was killed by SIGKILL"),
        ("crash", "NPUBackendError"),
        ("nospace", "No space left on device"),
        ("silent", "printed nothing"),
        ("written", "failed with exit code 3"),
        ("link", "wrote no compiled.axmodel"),
        ("nothing", "wrote no compiled.axmodel"),
        ("empty", "an ONNX file without a graph"),
        ("truncated", "damaged model"),
        ("plain", "without an NPU part"),
    ],
)
def test_a_failing_tool_leaves_its_log_and_no_model(job, programs, monkeypatch, fail, message):
    """However the tool fails, it is one ToolError, the log stays where the error says, and no model is there."""
    programs("pulsar2")
    made = job()
    assert environment(made.options) != {"pulsar2": "none"}
    monkeypatch.setenv("STANDIN_FAIL", fail)
    with pytest.raises(ToolError, match=message) as caught:
        build(made)
    assert caught.value.exit_code == 3
    assert caught.value.where == str(made.out / "pulsar2/AX650/build.log")
    assert Path(caught.value.where).is_file()
    assert not list(made.out.glob("*.axmodel"))
    assert not (made.out / ".pulsar2-work").exists()


class Warned(Silent):
    """Keeps what it is warned of."""

    def __init__(self):
        self.warned = []

    def warn(self, text):
        self.warned.append(text)


def mixed(job, out="out", **options):
    """A job whose recipe wants the output at 16 bits."""
    return dataclasses.replace(job(out, **options), u16=("heat",), progress=Warned())


def test_layers_at_16_bits_have_names_in_the_model(job):
    """The node that makes the tensor had no name; it has one in the model of the kit, and the configuration uses it."""
    made = mixed(job)
    paths = [one.path for one in build(made)]
    assert paths[:5] == [MODEL, *KIT, "pulsar2/AX650/u16.txt"]
    (node,) = onnx.load(made.out / MODEL).graph.node
    config = json.loads((made.out / KIT[0]).read_text())
    assert config["quant"]["layer_configs"] == [{"layer_names": [node.name], "data_type": "U16"}]
    assert node.name == "Sigmoid_heat"
    assert "  heat\n" in (made.out / "pulsar2/AX650/u16.txt").read_text()


def test_the_graph_made_ready_for_8_bits_is_compiled(job, tmp_path):
    """Where there is one, Pulsar2 gets it, and its mark."""
    made = job()
    proto = onnx.load(made.model)
    proto.graph.name = "baked"
    onnx.save(proto, tmp_path / "baked.onnx")
    build(dataclasses.replace(made, baked=tmp_path / "baked.onnx"))
    assert onnx.load(made.out / MODEL).graph.name == "baked"


@pytest.mark.parametrize(
    ("fail", "warning"),
    [
        ("", None),
        ("unread", "AX650: cannot see which tensors have 16 bits: quant/quant_axmodel.json: not JSON"),
        ("unlisted", "AX650: 1 ('heat') of the 1 tensors asked for at 16 bits are not in quant/quant_axmodel.json"),
    ],
)
def test_what_the_tool_did_with_16_bits_is_read(job, programs, monkeypatch, fail, warning):
    """After a build the tensors asked for are looked up; where nothing is certain, that is a warning."""
    programs("pulsar2")
    monkeypatch.setenv("STANDIN_FAIL", fail)
    made = mixed(job)
    assert Artifact("net.ax650.axmodel", "axmodel") in build(made)
    assert made.progress.warned == ([warning] if warning else [])


def test_a_wish_without_effect_is_an_error(job, programs, monkeypatch):
    """A tensor that stayed at 8 bits is named with its layer, no model is taken over, and the list is kept."""
    programs("pulsar2")
    monkeypatch.setenv("STANDIN_FAIL", "narrow")
    made = mixed(job)
    with pytest.raises(
        ToolError, match=r"AX650: 1 \('heat' in layer 'Sigmoid_heat'\) of the 1 tensors .* stayed at 8"
    ) as caught:
        build(made)
    assert caught.value.where == str(made.out / "pulsar2/AX650/quant_axmodel.json")
    assert Path(caught.value.where).is_file()
    assert not list(made.out.glob("*.axmodel"))


def test_a_long_log_keeps_its_ends(job, programs, monkeypatch):
    """Of a log that is too long to be published the start and the end are left, and the cut says so."""
    monkeypatch.setattr(compiling, "_LONGEST", 400)
    programs("pulsar2")
    made = job()
    build(made)
    log = (made.out / "pulsar2/AX650/build.log").read_bytes()
    assert b"bytes left out ...]" in log
    assert len(log) < 500
    assert log.endswith(b"fuse 1 subgraph(s)\n")


def test_a_report_that_is_too_large_is_left_out(job, programs, monkeypatch):
    """A list of widths of absurd size is not published; the model is."""
    monkeypatch.setattr(compiling, "_LARGEST", 100)
    programs("pulsar2")
    made = dataclasses.replace(job(), progress=Warned())
    paths = [one.path for one in build(made)]
    assert "net.ax650.axmodel" in paths
    assert "pulsar2/AX650/quant_axmodel.json" not in paths
    assert made.progress.warned == ["AX650: quant/quant_axmodel.json has 0 MB and is left out"]


@pytest.mark.parametrize("back_end", ["path", "package", "container"])
def test_the_script_compiles_by_itself(job, programs, tmp_path, monkeypatch, back_end):
    """build.sh, started from anywhere, compiles the published files with each kind of toolchain."""
    made = job()
    build(made)
    programs("pulsar2", tmp_path / "package" / "bin" if back_end == "package" else tmp_path / "programs")
    if back_end == "package":
        monkeypatch.setenv("PULSAR2_HOME", str(tmp_path / "package"))
    if back_end == "container":
        state = tmp_path / "engine"
        (state / "root").mkdir(parents=True)
        (state / "images").write_text("pulsar2:7.0 bbbb\n")
        monkeypatch.setenv("STANDIN_DOCKER", str(state))
        monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:7.0")
        programs("docker")
    done = subprocess.run([made.out / KIT[2]], cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (made.out / "pulsar2/AX650/build/compiled.axmodel").is_file()


def test_the_script_says_what_is_missing(job):
    """build.sh exits 3 and says what is missing: the model, or a toolchain."""
    made = job()
    build(made)
    (made.out / MODEL).rename(made.out / "aside.onnx")
    done = subprocess.run([made.out / KIT[2]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "../model.onnx is not here" in done.stderr
    (made.out / "aside.onnx").rename(made.out / MODEL)
    done = subprocess.run([made.out / KIT[2]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "no Pulsar2 toolchain: put pulsar2 on PATH" in done.stderr


def test_a_larger_batch_is_refused(job):
    """Calibration goes one picture at a time, so a batch is an error that says so."""
    with pytest.raises(UnsupportedError, match="takes 2 pictures at once"):
        build(job(spec=SPEC.model_copy(update={"shape": (2, 3, 4, 6)})))


def test_an_input_the_model_lacks_is_refused(job):
    """The configuration is held against the model before anything is packed."""
    made = job(spec=SPEC.model_copy(update={"name": "imgae"}))
    with pytest.raises(RecipeErrors, match="did you mean 'image'"):
        build(made)


def test_no_pictures_is_an_error(job, tmp_path):
    """An empty archive is never written without a word."""
    for picture in (tmp_path / "pictures" / "image").iterdir():
        picture.unlink()
    with pytest.raises(ToolError, match="no calibration pictures for input 'image'"):
        build(job())
