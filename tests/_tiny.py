"""A pose network small enough for a test: one picture in, heat maps out, as an ONNX file with its recipe."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RECIPE = """\
name: tiny
source: {{kind: onnx}}
weights: {{file: tiny.onnx, url: "https://example.invalid/tiny.onnx", sha256: {sha256}}}
inputs:
  - {{name: image, shape: [1, 3, 32, 48], mean: [128], std: [256]}}
outputs:
  - {{name: heat, shape: [1, 17, 16, 24], meaning: heatmap}}
joints: coco17
surgery: [fold_batchnorm]
calibration: {{count: 6, minimum: 4}}
quantization: {{method: MinMax}}
targets:
  onnx: {{}}
  pulsar2: {{chips: [AX650]}}
parity:
  samples: 2
  limits:
    float: {{max_abs: 1e-4}}
    int8: {{cosine: 0.9}}
"""


def network() -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu and a 1x1 Conv with fixed random weights."""
    random = np.random.default_rng(7)

    def weights(name, *shape):
        return numpy_helper.from_array(
            random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32), name
        )

    def vector(name, low, high, size):
        return numpy_helper.from_array(random.uniform(low, high, size).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["a"], "conv0", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "variance"], ["b"], "norm0"),
        helper.make_node("Relu", ["b"], ["c"], "relu0"),
        helper.make_node("Conv", ["c", "w1", "b1"], ["heat"], "conv1"),
    ]
    constants = [
        weights("w0", 8, 3, 3, 3),
        vector("scale", 0.5, 1.5, 8),
        vector("shift", -0.1, 0.1, 8),
        vector("mean", -0.1, 0.1, 8),
        vector("variance", 0.5, 1.5, 8),
        weights("w1", 17, 8, 1, 1),
        vector("b1", 0, 0.1, 17),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 48])],
        [helper.make_tensor_value_info("heat", TensorProto.FLOAT, [1, 17, 16, 24])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(folder: Path, **changes: str) -> Path:
    """Write ``tiny.onnx`` and ``tiny.yaml`` into `folder`; `changes` replace text of the recipe. Returns the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    data = network().SerializeToString()
    (folder / "tiny.onnx").write_bytes(data)
    text = RECIPE.format(sha256=hashlib.sha256(data).hexdigest())
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / "tiny.yaml"
    path.write_text(text, "utf-8")
    return path
