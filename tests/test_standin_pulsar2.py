"""The stand-in `pulsar2` itself: what other tests rely on, and that nobody can take it for the vendor's tool."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import tomlkit
import yaml
from _tiny import network
from onnx import TensorProto, helper
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
STANDIN = ROOT / "tests" / "standins" / "pulsar2.py"
MEAN, STD = [128.0, 127.0, 126.0], [64.0, 65.0, 66.0]


def standin(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run the stand-in in `folder`; returns all that it printed."""
    command = [sys.executable, str(STANDIN), *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == code, done.stdout
    return done.stdout


def config(folder: Path, dataset: dict | None = None, processor: dict | None = None, **quant: object) -> dict:
    """A configuration for ``model.onnx`` in `folder`, written as ``config.json``, too."""
    made = {
        "input": "model.onnx",
        "output_dir": "build",
        "quant": {
            "input_configs": [{"tensor_name": "image", "calibration_dataset": "samples.tar", **(dataset or {})}],
            **quant,
        },
        "input_processors": [{"tensor_name": "image", **(processor or {})}],
    }
    (folder / "config.json").write_text(json.dumps(made))
    return made


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A folder with a tiny model, three pictures in an archive and a configuration with embedded preprocessing."""
    onnx.save(network(), tmp_path / "model.onnx")
    random = np.random.default_rng(0)
    members = {}
    for index in range(3):
        data = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(data, "PNG")
        members[f"{index}.png"] = data.getvalue()
    pack(tmp_path / "samples.tar", members)
    config(
        tmp_path,
        {"calibration_mean": MEAN, "calibration_std": STD},
        {"tensor_format": "BGR", "src_format": "BGR", "src_layout": "NHWC", "src_dtype": "U8"},
    )
    return tmp_path


def pack(path: Path, members: dict[str, bytes]) -> None:
    """Write a tar, tar.gz or zip archive."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def simulated(folder: Path, image: np.ndarray) -> np.ndarray:
    """What `pulsar2 run` of the compiled model makes of `image`."""
    (folder / "in").mkdir(exist_ok=True)
    image.tofile(folder / "in" / "image.bin")
    printed = standin(folder, "run", "--model", "build/compiled.axmodel", "--input_dir", "in", "--output_dir", "out")
    assert "write [heat] to [out/heat.bin] successfully" in printed
    return np.fromfile(folder / "out" / "heat.bin", "<f4")


def floated(folder: Path, image: np.ndarray) -> np.ndarray:
    """What the float model makes of `image`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0].ravel()


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Of two vectors."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_it_is_labelled_and_says_the_same_twice(kit):
    """Two builds write the same bytes, and log, model and graphs say that no toolchain made them."""
    printed = standin(kit, "build", "--config", "config.json")
    again = standin(kit, "build", "--config", "config.json", "--output_dir", "again")
    assert printed.replace("build/", "") == again.replace("again/", "")
    first, second = (kit / name / "compiled.axmodel" for name in ("build", "again"))
    assert first.read_bytes() == second.read_bytes()
    model = onnx.load(first)
    assert model.producer_name == "Pulsar2 stand-in"
    assert "runs on no chip" in model.graph.doc_string
    assert "runs on no chip" in printed


def test_it_is_not_shipped(tmp_path):
    """A wheel holds the package and its own metadata, nothing of the tests, and no word of the stand-in's parts."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        code = b"".join(archive.read(name) for name in names if name.endswith(".py"))
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"workbench"}
    assert b"pulsar2_parts" not in code
    assert b"STANDIN" not in code


def test_pictures_and_embedded_preprocessing(kit):
    """Calibrated on pictures, the model takes NHWC bytes and computes what the float network does."""
    standin(kit, "build", "--config", "config.json")
    pixels = np.random.default_rng(1).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    image = ((pixels - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2).astype(np.float32)
    found, expected = simulated(kit, pixels), floated(kit, image)
    assert cosine(found, expected) > 0.995
    assert not np.array_equal(found, expected)


@pytest.mark.parametrize("archive", ["samples.tar", "samples.tar.gz", "samples.zip"])
@pytest.mark.parametrize("form", ["Numpy", "Binary", "NumpyObject"])
def test_tensors_pass_through(kit, archive, form):
    """Calibrated on tensors of each format, the model takes the network's own float NCHW."""
    image = np.random.default_rng(2).normal(0, 1, (1, 3, 32, 48)).astype(np.float32)
    data = io.BytesIO()
    np.save(data, {"image": image} if form == "NumpyObject" else image, allow_pickle=True)
    pack(kit / archive, {"0.bin": image.tobytes()} if form == "Binary" else {"0.npy": data.getvalue()})
    config(kit, {"calibration_dataset": archive, "calibration_format": form})
    standin(kit, "build", "--config", "config.json")
    assert cosine(simulated(kit, image), floated(kit, image)) > 0.995


@pytest.mark.parametrize(("source", "mode"), [("YUV420SP", "FullRange"), ("YVU420SP", "LimitedRange")])
def test_camera_pictures(kit, source, mode):
    """A grey NV12 or NV21 picture becomes the grey pixels that its range stands for."""
    processor = {"tensor_format": "RGB", "src_format": source, "src_dtype": "U8", "csc_mode": mode}
    config(kit, {"calibration_mean": MEAN, "calibration_std": STD}, processor)
    standin(kit, "build", "--config", "config.json")
    light = np.random.default_rng(3).integers(40, 200, (32, 48))
    bytes_in = np.full((1, 48, 48, 1), 128, np.uint8)
    bytes_in[0, :32, :, 0] = light
    grey = light.astype(np.float32) if mode == "FullRange" else np.clip(np.rint((light - 16) * 255 / 219), 0, 255)
    image = ((grey[None, :, :, None] - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2).astype(np.float32)
    assert cosine(simulated(kit, bytes_in), floated(kit, image)) > 0.99


def test_colours_of_a_camera_are_in_their_order(kit):
    """U before V or V before U makes red or blue, in the order that the tensor wants."""
    found = {}
    for source in ("YUV420SP", "YVU420SP"):
        for order in ("RGB", "BGR"):
            processor = {"tensor_format": order, "src_format": source, "src_dtype": "U8", "csc_mode": "FullRange"}
            config(kit, {}, processor)
            standin(kit, "build", "--config", "config.json")
            picture = np.full((1, 48, 48, 1), 128, np.uint8)
            picture[0, 32:, 0::2, 0] = 200
            found[source, order] = simulated(kit, picture)
    assert np.array_equal(found["YUV420SP", "RGB"], found["YVU420SP", "BGR"]) is False
    assert cosine(found["YUV420SP", "RGB"], found["YUV420SP", "BGR"]) < 0.9999


def test_widths_follow_the_layers(kit):
    """A tensor that a layer at U16 reads has 16 bits in the table and in the list of widths, others have 8."""
    config(
        kit,
        {"calibration_mean": MEAN, "calibration_std": STD},
        layer_configs=[{"op_type": "Conv", "data_type": "U8"}, {"layer_names": ["conv1"], "data_type": "U16"}],
        precision_analysis=True,
        precision_analysis_method="EndToEnd",
    )
    printed = standin(kit, "build", "--config", "config.json")
    assert "Quant Precision Table【EndToEnd Reference】" in printed
    layers = json.loads((kit / "build/quant/quant_axmodel.json").read_text())["tensor_configs"]
    widths = {name: one["bit_width"] for tensors in layers.values() for name, one in tensors.items()}
    assert (widths["image"], widths["a"], widths["c"], widths["heat"]) == (8, 8, 16, 16)
    table = (kit / "build/quant/debug/precision_analysis_table.txt").read_text()
    columns = [line.split("│")[1:-1] for line in table.splitlines() if line.startswith("│")]
    stored = {(cells[0].strip(), cells[2].strip()): cells[5].strip() for cells in columns}
    assert stored == {
        ("conv0", "a"): "U8",
        ("norm0", "c"): "U16",
        ("conv1", "heat"): "U16",
        ("heat_DequantizeLinear", "heat"): "FP32",
    }


def test_the_table_looks_like_the_vendors(kit):
    """The table's frame, head and alignment are those of a real one."""
    real = ROOT.parent / "shared" / "reference" / "pulsar2" / "samples" / "precision_analysis_table.txt"
    if not real.is_file():
        pytest.skip(f"no real table in {real.parent}")
    standin(kit, "build", "--config", "config.json", "--quant.precision_analysis")
    table = (kit / "build/quant/debug/precision_analysis_table.txt").read_text().splitlines()
    lines = [line.strip() for line in real.read_text("utf-8").splitlines()]
    start = next(index for index, line in enumerate(lines) if line.startswith("┏"))
    squeezed = [" ".join(line.split()) for line in (lines[start + 1], table[2])]
    assert squeezed[0] == squeezed[1]
    assert {line[0] for line in table[1:]} == {"┏", "┃", "┡", "│", "├", "└"}
    assert len({len(line) for line in table[1:]}) == 1


@pytest.mark.parametrize("suffix", ["yaml", "toml", "commented.json"])
def test_formats_of_the_configuration(kit, suffix):
    """YAML, TOML and JSON with comments say the same, and the command line wins."""
    made = config(kit, {"calibration_mean": MEAN, "calibration_std": STD})
    if suffix == "yaml":
        text = yaml.safe_dump(made)
    elif suffix == "toml":
        text = tomlkit.dumps(made)
    else:
        text = '# python\n{ // "js"\n "output_name": "a//b#c", /* both */' + json.dumps(made)[1:]
    (kit / f"config.{suffix}").write_text(text)
    standin(kit, "build", "--config", f"config.{suffix}", "--output_dir", "o", "--output_name", "n", "--work_dir", "w")
    assert (kit / "o" / "n").is_file()
    assert (kit / "w" / "quant" / "quant_axmodel.json").is_file()
    assert not (kit / "build").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--npu_mode", "NPU4"), "does not support NPU4"),
        (("--quant.calibration_method", "minmax"), "ParseError: Failed to parse config.json"),
        (("--input_shapes", "image:1x3x64x96"), "does not match (1, 3, 64, 96)"),
        (("--input_shapes", "image:0x3x32x48"), "dynamic shape is not supported: image"),
    ],
)
def test_what_it_refuses(kit, arguments, told):
    """Wrong values fail when the tool runs, with the exception last."""
    dataset = {"calibration_format": "Numpy", "calibration_mean": MEAN, "calibration_std": STD}
    data = io.BytesIO()
    np.save(data, np.zeros((1, 3, 32, 48), np.float32))
    pack(kit / "samples.tar", {"0.npy": data.getvalue()})
    config(kit, dataset)
    assert told in standin(kit, "build", "--config", "config.json", *arguments, code=1).splitlines()[-1]


@pytest.mark.parametrize("operator", ["LRN", "Mod"])
def test_unsupported_operators(kit, operator):
    """An operator outside the chip's table ends the whole build."""
    graph = helper.make_graph(
        [helper.make_node(operator, ["image", *(["image"] if operator == "Mod" else [])], ["heat"], size=3, fmod=1)],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 48])],
        [helper.make_tensor_value_info("heat", TensorProto.FLOAT, [1, 3, 32, 48])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), kit / "model.onnx")
    printed = standin(kit, "build", "--config", "config.json", code=1)
    assert f"KeyError: 'dont support {operator} opr in AXOPS/ONNXOPS/CUSTOM_OPS'" in printed


def test_profiles(kit):
    """With npu_perf there is a trace and a list of cycles that add up to the log's figure."""
    printed = standin(kit, "build", "--config", "config.json", "--compiler.npu_perf")
    folder = kit / "build/compiler/debug/subgraph_npu_0/b1"
    rows = [line.split(",") for line in (folder / "op_profile.csv").read_text().splitlines()]
    total = sum(int(row[2]) for row in rows[1:])
    assert f"max_cycle = {total}" in printed
    assert len(json.loads((folder / "trace.json").read_text())["traceEvents"]) == len(rows) - 1


def test_run_of_other_models_and_layers(kit):
    """`pulsar2 run` takes ONNX and the quantized model, too, lists of samples, and writes every tensor when asked."""
    standin(kit, "build", "--config", "config.json")
    image = np.random.default_rng(2).normal(0, 1, (1, 3, 32, 48)).astype(np.float32)
    for sample in ("one", "two"):
        (kit / "in" / sample).mkdir(parents=True)
        image.tofile(kit / "in" / sample / "image.bin")
    (kit / "list.txt").write_text("one\ntwo\n")
    common = ("--input_dir", "in", "--output_dir", "out", "--list", "list.txt")
    standin(kit, "run", "--model", "model.onnx", *common)
    exact = np.fromfile(kit / "out/two/heat.bin", "<f4")
    np.testing.assert_allclose(exact, floated(kit, image), atol=1e-5)
    standin(kit, "run", "--model", "build/quant/quant_axmodel.onnx", *common, "--enable_perlayer_output")
    assert cosine(np.fromfile(kit / "out/one/heat.bin", "<f4"), exact) > 0.99
    assert (kit / "out/one/c.bin").is_file()


def test_a_qdq_model_is_taken_as_it_is(kit):
    """With QuantONNX the scales are the model's own, and only the chips that are documented for it take one."""
    standin(kit, "build", "--config", "config.json")
    pixels = np.random.default_rng(1).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    quantized = simulated(kit, pixels)
    (kit / "build/quant/quant_axmodel.data").rename(kit / "model.onnx")
    qdq = ("build", "--config", "config.json", "--model_type", "QuantONNX")
    standin(kit, *qdq)
    np.testing.assert_array_equal(simulated(kit, pixels), quantized)
    told = standin(kit, *qdq, "--target_hardware", "M57", code=1)
    assert "model_type QuantONNX is not supported for M57" in told


def test_batches_share_a_model(kit):
    """Each batch size has a program of its own in the container."""
    standin(kit, "build", "--config", "config.json", "--compiler.max_dynamic_batch_size", "4")
    (node,) = onnx.load(kit / "build/compiled.axmodel").graph.node
    info = json.loads(next(item.s for item in node.attribute if item.name == "npu_graph_info"))
    assert [one["batch"] for one in info["dotneus"]] == [1, 2, 4]
