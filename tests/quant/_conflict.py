"""A network of a few hundred weights in which 8 bits fail: a Concat of a wide and a narrow branch, a sensitive head."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

SIZE = 16
HEAD = "head"
"""The tensor whose steps of 30 / 255 drown what the heat maps are made of: differences of channels around 25."""


def network(shift: float = 25.0) -> onnx.ModelProto:
    """Image (1, 3, 16, 16) -> heat (1, 4, 16, 16); `shift` moves the channels of the head away from 0."""
    random = np.random.default_rng(11)
    heat_rows = np.zeros((4, 8, 1, 1), np.float32)
    for joint in range(4):
        heat_rows[joint, 2 * joint], heat_rows[joint, 2 * joint + 1] = 1.0, -1.0
    head_rows = np.abs(random.normal(0, 0.2, (8, 12, 1, 1)))
    head_rows[:, 8:] *= 30
    constants = {
        "w_wide": random.normal(0, 1.5, (8, 3, 3, 3)),
        "w_narrow": random.normal(0, 0.01, (4, 8, 1, 1)),
        "b_narrow": np.full(4, 0.02),
        "w_head": head_rows * np.where(np.arange(8) % 2, 0.2, 1.0)[:, None, None, None] * 0.1,
        "b_head": np.full(8, shift),
        "w_heat": heat_rows,
        "b_heat": np.full(4, 0.1),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w_wide"], ["wide0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["wide0"], ["wide"]),
        helper.make_node("Conv", ["wide", "w_narrow", "b_narrow"], ["narrow0"]),
        helper.make_node("Relu", ["narrow0"], ["narrow"]),
        helper.make_node("Concat", ["wide", "narrow"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "w_head", "b_head"], ["head0"]),
        helper.make_node("Relu", ["head0"], [HEAD]),
        helper.make_node("Conv", [HEAD, "w_heat", "b_heat"], ["heat"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conflict",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("heat", onnx.TensorProto.FLOAT, [1, 4, SIZE, SIZE])],
        [numpy_helper.from_array(np.asarray(data, np.float32), name) for name, data in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pictures(count: int, seed: int = 3) -> list[dict[str, np.ndarray]]:
    """Blobs of light on noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    found = []
    for _ in range(count):
        cx, cy = random.uniform(2, SIZE - 2, 2)
        blob = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8)
        noise = random.uniform(0, 0.2, (3, SIZE, SIZE))
        found.append({"image": (blob + noise)[None].astype(np.float32)})
    return found
