"""Small ONNX graphs, lowered to TensorFlow Lite and run beside onnxruntime."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from workbench.calib.feeds import feeds
from workbench.engine.progress import Silent
from workbench.graph.io import write_bytes
from workbench.recipe.schema import InputSpec
from workbench.runtimes.litert import LiteRtRunner
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.runtimes.tensorflow import import_tensorflow
from workbench.targets._target import TargetJob
from workbench.targets.tflite import Options, converter, flatbuffer, lowering


def rand(*shape, low=-2.0, high=2.0, seed=3):
    """Reproducible float32 numbers."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def one(op, *operands, outputs=1, opset=17, **attributes):
    """A model of one node: tuples are shapes of run-time inputs, arrays are constants, None is left out."""
    return network([(op, list(operands), [f"y{index}" for index in range(outputs)], attributes)], opset=opset)


def network(nodes, *, opset=17, kind=TensorProto.FLOAT):
    """A model of several nodes ``(op, operands, outputs, attributes)``; a text operand is an earlier output.

    `kind` is the type of all inputs.
    """
    inputs, constants, made = [], [], []
    for place, (op, operands, outputs, attributes) in enumerate(nodes):
        names = []
        for index, operand in enumerate(operands):
            name = f"n{place}_{index}"
            if operand is None:
                name = ""
            elif isinstance(operand, str):
                name = operand
            elif isinstance(operand, tuple):
                name = f"x{len(inputs)}"
                inputs.append(helper.make_tensor_value_info(name, kind, operand))
            else:
                constants.append(numpy_helper.from_array(np.asarray(operand), name))
            names.append(name)
        made.append(helper.make_node(op, names, outputs, f"the_{op.lower()}_{place}", **attributes))
    used = {name for node in made for name in node.input}
    loose = [name for node in made for name in node.output if name not in used]
    graph = helper.make_graph(
        made, "g", inputs, [helper.make_empty_tensor_value_info(name) for name in loose], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def nhwc(array):
    """A tensor as the TFLite file holds it: rank 4 is NHWC."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def convert(model, folder: Path, variant="fp32"):
    """Lower and convert `model`."""
    path = folder / "model.onnx"
    write_bytes(model.SerializeToString(), path)
    tf = import_tensorflow()
    return converter.convert(lowering.lower(path, tf), variant, tf)


def both(model, folder: Path, *, low=-2.0, high=2.0):
    """Run `model` in onnxruntime and, converted, in LiteRT.

    Returns the outputs of both by name (onnxruntime's made NHWC) and the operator counts.
    """
    made = convert(model, folder)
    path = folder / "model.tflite"
    path.write_bytes(made.data)
    with OnnxRunner(folder / "model.onnx", threads=1) as theirs, LiteRtRunner(path, threads=1) as ours:
        feeds = {port.name: rand(*port.shape, low=low, high=high).astype(port.dtype) for port in theirs.inputs}
        wanted = {name: nhwc(array) for name, array in theirs.run(feeds).items()}
        got = ours.run({name: nhwc(array) for name, array in feeds.items()})
    return wanted, got, made.operators


def assert_equal(model, folder: Path, *, low=-2.0, high=2.0, tolerance=1e-5):
    """Both runtimes give the same outputs, by name, shape and type; returns the operator counts."""
    wanted, got, operators = both(model, folder, low=low, high=high)
    assert wanted.keys() == got.keys()
    for name, array in wanted.items():
        assert got[name].shape == array.shape, name
        assert got[name].dtype == array.dtype, name
        scale = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(got[name], array, rtol=0, atol=tolerance * scale, err_msg=name)
    return operators


SIZE = (1, 3, 16, 24)
"""The input of the networks that are quantized here."""

SPECS = (InputSpec(name="x0", shape=SIZE, mean=(128,), std=(64,)),)


def pictures(folder: Path, count=6) -> Path:
    """A calibration folder with `count` random pictures for the input ``x0`` of shape `SIZE`."""
    (folder / "pictures" / "x0").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (SIZE[2], SIZE[3], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / "x0" / f"{index:05d}.png")
    return folder / "pictures"


def target_job(model, folder: Path, *variants, io="float", ranges=None, baked=None, progress=None) -> TargetJob:
    """What a recipe asks of the target; the pictures are drawn into `folder`."""
    (folder / "canonical.onnx").write_bytes(model.SerializeToString())
    return TargetJob(
        name="net",
        options=Options(variants=variants, io=io),
        model=folder / "canonical.onnx",
        quantized=None,
        baked=baked,
        ranges=ranges,
        inputs=SPECS,
        pictures=pictures(folder),
        out=folder,
        progress=progress or Silent(),
    )


def agreement(model, path: Path, folder: Path) -> dict[str, float]:
    """The cosine of every output of the .tflite file `path` to that of the float network, over the pictures."""
    dots: dict[str, list[float]] = {}
    (folder / "float.onnx").write_bytes(model.SerializeToString())
    with OnnxRunner(folder / "float.onnx", threads=1) as theirs, LiteRtRunner(path, threads=1) as ours:
        for feed in feeds(folder / "pictures", SPECS):
            wanted = theirs.run(feed)
            got = ours.run({name: nhwc(array) for name, array in feed.items()})
            for name, array in wanted.items():
                a, b = nhwc(array).ravel().astype(np.float64), got[name].ravel().astype(np.float64)
                sums = dots.setdefault(name, [0.0, 0.0, 0.0])
                for place, number in enumerate((a @ b, a @ a, b @ b)):
                    sums[place] += float(number)
    return {name: ab / np.sqrt(aa * bb) for name, (ab, aa, bb) in dots.items()}


def tensors(path: Path):
    """{name: (type, scale, zero point)} of the tensors of a .tflite file, scale and zero point of the first channel."""
    found = {}
    for tensor in flatbuffer.unpack(path.read_bytes()).subgraphs[0].tensors:
        grid = tensor.quantization
        scaled = grid is not None and grid.scale is not None
        kind = {0: "float32", 2: "int32", 4: "int64", 7: "int16", 9: "int8"}.get(tensor.type, str(tensor.type))
        found[tensor.name.decode()] = (kind, *((float(grid.scale[0]), int(grid.zeroPoint[0])) if scaled else (0.0, 0)))
    return found
