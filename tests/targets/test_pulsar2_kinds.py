"""What the compiled model is fed: cameras, several inputs, and a model that is quantized already; with the stand-in."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from workbench.calib.nv12 import to_nv12
from workbench.engine.progress import Silent
from workbench.errors import RecipeError
from workbench.recipe.schema import InputSpec
from workbench.targets._target import TargetJob
from workbench.targets.pulsar2 import Options, build

IMAGE = InputSpec(name="image", shape=(1, 3, 8, 12), color="BGR", mean=(128,), std=(256,))
DEPTH = InputSpec(name="depth", shape=(1, 1, 8, 12), color="GRAY", std=(255,))


class Warned(Silent):
    """Keeps what it is warned of."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)


def model(path: Path, *specs: InputSpec, kinds: tuple[str, ...] = ("Sigmoid",)) -> Path:
    """One chain of operators from each input to an output of its own."""
    nodes, outputs = [], []
    for spec in specs:
        before = spec.name
        for index, kind in enumerate(kinds):
            after = f"{spec.name}_{index}" if index < len(kinds) - 1 else f"{spec.name}_heat"
            extra = ["scale", "zero"] if "Linear" in kind else []
            nodes.append(helper.make_node(kind, [before, *extra], [after], f"{kind}_{spec.name}"))
            before = after
        outputs.append(helper.make_tensor_value_info(before, TensorProto.FLOAT, spec.nchw))
    inputs = [helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, spec.nchw) for spec in specs]
    constants = [
        onnx.numpy_helper.from_array(np.float32(1 / 255), "scale"),
        onnx.numpy_helper.from_array(np.uint8(128), "zero"),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def job(tmp_path, programs):
    """A job over `specs`, with blocks of two by two pixels of one colour as pictures, and the stand-in in reach."""
    programs("pulsar2")

    def make(*specs: InputSpec, quantized: Path | None = None, u16: tuple[str, ...] = (), **options: object):
        random = np.random.default_rng(1)
        for spec in specs:
            folder = tmp_path / "pictures" / spec.name
            folder.mkdir(parents=True)
            for index in range(3):
                blocks = random.integers(0, 256, (4, 6, spec.nchw[1]), dtype=np.uint8)
                pixels = blocks.repeat(2, axis=0).repeat(2, axis=1)
                Image.fromarray(pixels.squeeze()).save(folder / f"{index:05d}.png")
        (tmp_path / "out").mkdir()
        return TargetJob(
            name="net",
            options=Options.model_validate(options),
            model=model(tmp_path / "canonical.onnx", *specs),
            quantized=quantized,
            inputs=specs,
            pictures=tmp_path / "pictures",
            out=tmp_path / "out",
            progress=Warned(),
            u16=u16,
        )

    return make


def ports(path: Path) -> dict[str, tuple[int, list[int]]]:
    """Type and shape of each input of a compiled model."""
    return {
        port.name: (
            port.type.tensor_type.elem_type,
            [size.dim_value for size in port.type.tensor_type.shape.dim],
        )
        for port in onnx.load(path).graph.input
    }


def run(compiled: Path, data: bytes, folder: Path) -> np.ndarray:
    """The stand-in's `pulsar2 run` on one sample of one input."""
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "image.bin").write_bytes(data)
    arguments = ["--model", str(compiled), "--input_dir", str(folder / "in"), "--output_dir", str(folder / "out")]
    subprocess.run(["pulsar2", "run", *arguments], check=True, capture_output=True, timeout=60)
    (found,) = (folder / "out").rglob("*.bin")
    return np.fromfile(found, np.float32)


@pytest.mark.parametrize(
    ("kind", "csc", "order", "levels"),
    [("nv12", "full", "uv", "full"), ("nv21", "limited", "vu", "limited")],
)
def test_a_camera_model_answers_as_the_pixels_would(job, tmp_path, kind, csc, order, levels):
    """Fed `to_nv12` of a picture, the compiled model says what the network says to the picture, but for rounding."""
    made = job(IMAGE, input=kind, csc=csc)
    build(made)
    compiled = made.out / "net.ax650.axmodel"
    assert ports(compiled) == {"image": (TensorProto.UINT8, [1, 12, 12, 1])}

    pixels = np.asarray(Image.open(tmp_path / "pictures" / "image" / "00000.png"))
    got = run(compiled, to_nv12(pixels, levels, order).tobytes(), tmp_path / "run")

    tensor = (pixels[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) - 128) / 256
    np.testing.assert_allclose(got, (1 / (1 + np.exp(-tensor))).ravel(), atol=0.01)


def test_inputs_of_several_kinds(job):
    """A camera and a float tensor in one model: each with its own processor, archive and samples."""
    made = job(IMAGE, DEPTH, input="nv12", inputs={"depth": "fp32"})
    build(made)
    assert ports(made.out / "net.ax650.axmodel") == {
        "image": (TensorProto.UINT8, [1, 12, 12, 1]),
        "depth": (TensorProto.FLOAT, [1, 1, 8, 12]),
    }
    for name, suffix in (("image", "png"), ("depth", "npy")):
        with tarfile.open(made.out / "pulsar2/AX650/calibration" / f"{name}.tar") as archive:
            assert archive.getnames() == [f"{index:05d}.{suffix}" for index in range(3)]
    assert made.progress.warned == []


def test_a_quantized_model_is_handed_over(job, tmp_path):
    """With model: qdq the tool gets the QDQ graph, told as QuantONNX, and nothing doubtful is found."""
    qdq = model(tmp_path / "q.onnx", IMAGE, kinds=("QuantizeLinear", "DequantizeLinear", "Sigmoid"))
    made = job(IMAGE, quantized=qdq, model="qdq", compile="never")
    build(made)
    assert json.loads((made.out / "pulsar2/AX650/config.json").read_text())["model_type"] == "QuantONNX"
    kinds = [node.op_type for node in onnx.load(made.out / "pulsar2/model.onnx").graph.node]
    assert kinds == ["QuantizeLinear", "DequantizeLinear", "Sigmoid"]
    assert made.progress.warned == []


@pytest.mark.parametrize(
    ("quantized", "u16", "message", "at"),
    [
        (False, (), "the recipe quantizes nothing", ("targets", "pulsar2", "model")),
        (True, ("image_heat",), "nothing is documented of 16 bits in a QDQ model", ("quantization", "u16")),
    ],
)
def test_a_quantized_model_that_cannot_be(job, tmp_path, quantized, u16, message, at):
    """Without quantization there is none, and 16 bits in it are not documented: errors at the recipe's key."""
    path = model(tmp_path / "q.onnx", IMAGE, kinds=("QuantizeLinear", "DequantizeLinear", "Sigmoid"))
    with pytest.raises(RecipeError, match=message) as caught:
        build(job(IMAGE, quantized=path if quantized else None, u16=u16, model="qdq"))
    assert caught.value.at == at


def test_a_doubt_is_a_warning_of_the_build(job, tmp_path):
    """A network that came quantized and is to be quantized again is told, and built."""
    made = job(IMAGE, compile="never")
    model(tmp_path / "canonical.onnx", IMAGE, kinds=("QuantizeLinear", "DequantizeLinear", "Sigmoid"))
    build(made)
    (warned,) = made.progress.warned
    assert warned.startswith("AX650: config.json: model_type: the model is quantized already")
