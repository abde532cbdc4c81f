"""Facts about 8-bit arithmetic in onnxruntime: sums are exact on every processor, whatever the file looks like."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as helper
import pytest

from workbench.errors import ToolError
from workbench.runtimes.onnxruntime import OnnxRunner, session

CHANNELS = 64
LARGEST = CHANNELS * 255 * 127 * 1e-3


def largest_sums(layers=1):
    """A QDQ graph of 1x1 convolutions, side by side on one weight, whose every product is 255 * 127."""
    kinds = onnx.TensorProto
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "w": np.full((8, CHANNELS, 1, 1), 127, np.int8),
        "w_scale": np.full(8, 1e-3, np.float32),
        "w_zero": np.zeros(8, np.int8),
        "step": np.float32(LARGEST / 255),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "zero"], ["xd"]),
    ]
    for i in range(layers):
        nodes += [
            helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], [f"wd{i}"], axis=0),
            helper.make_node("Conv", ["xd", f"wd{i}"], [f"c{i}"]),
            helper.make_node("QuantizeLinear", [f"c{i}", "step", "zero"], [f"q{i}"]),
            helper.make_node("DequantizeLinear", [f"q{i}", "step", "zero"], [f"y{i}"]),
        ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kinds.FLOAT, [1, CHANNELS, 4, 4])],
        [helper.make_tensor_value_info(f"y{i}", kinds.FLOAT, [1, 8, 4, 4]) for i in range(layers)],
        [onnx.numpy_helper.from_array(np.asarray(data), name) for name, data in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("optimize", [True, False])
def test_the_largest_sums_do_not_saturate(layers, optimize):
    """The largest products of u8 and s8 add up exactly, also when two convolutions share a weight."""
    with OnnxRunner(largest_sums(layers), optimize=optimize) as runner:
        results = runner.run({"x": np.full((1, CHANNELS, 4, 4), 255, np.float32)})
    for result in results.values():
        assert np.allclose(result, LARGEST, rtol=1e-6)


def test_the_exact_kernels_are_asked_for():
    """A processor with VNNI would pass the test above anyway; this is what makes the others pass."""
    entry = session(largest_sums()).get_session_options().get_session_config_entry("session.x64quantprecision")
    assert entry == "1"


def test_a_broken_file_is_told_once(tmp_path):
    """A file that onnxruntime cannot load is one error with the path, not a traceback."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ToolError, match="onnxruntime cannot load the model") as caught:
        session(path)
    assert caught.value.where == str(path)


def test_wrong_feeds_are_an_error():
    """Missing names and wrong shapes end in an error with a fix."""
    with OnnxRunner(largest_sums()) as runner:
        for feeds in ({}, {"x": np.zeros((1, 2), np.float32)}):
            with pytest.raises(ToolError, match="cannot run the model"):
                runner.run(feeds)
