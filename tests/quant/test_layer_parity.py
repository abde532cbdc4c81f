"""The emulation beside the float network, tensor by tensor: alone, and with all that went wrong before."""

import numpy as np
import onnx_ir as ir
import pytest

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.graph import io
from workbench.quant.layer_parity import readings
from workbench.quant.observe import observe
from workbench.quant.qdq import write_qdq
from workbench.runtimes.onnxruntime import OnnxRunner

NET = """<ir_version: 8, opset_import: ["": 17]>
net (float[1,2,4,4] x) => (float[1,2,4,4] y)
<float[2,2,1,1] w = {0.5, -0.25, 1.0, 0.75}, float[2,2,1,1] v = {1.0, 0.125, -0.5, 0.25}> {
    a = Conv<kernel_shape = [1, 1]>(x, w)
    b = Relu(a)
    c = Conv<kernel_shape = [1, 1]>(b, v)
    y = Add(c, x)
}"""


def ranges(model, feeds):
    """Of every activation over `feeds`."""
    return observe(io.to_bytes(model), feeds, progress=Silent())


@pytest.fixture
def net():
    """A float network, its samples and its emulation."""
    model = ir.from_onnx_text(NET)
    random = np.random.default_rng(0)
    feeds = [{"x": random.normal(size=(1, 2, 4, 4)).astype(np.float32)} for _ in range(3)]
    return model, feeds, write_qdq(model, ranges(model, feeds))


def cosine(a, b):
    """Of everything in two lists of arrays."""
    a, b = (np.concatenate([one.ravel() for one in side]).astype(np.float64) for side in (a, b))
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_end_to_end_is_what_the_emulation_answers(net):
    """The reading of the output equals the comparison of the two networks' outputs."""
    model, feeds, emulated = net
    found = {one.tensor: one for one in readings(model, emulated, feeds)}

    outputs = []
    for one in (model, emulated):
        with OnnxRunner(io.to_bytes(one), optimize=False) as runner:
            outputs.append([runner.run(feed)["y"] for feed in feeds])
    assert list(found) == ["b", "c", "y"]
    assert [one.operator for one in found.values()] == ["Relu", "Conv", "Add"]
    assert found["y"].end_to_end == pytest.approx(cosine(*outputs), abs=1e-12)
    noise = np.mean([np.mean((a - b) ** 2) for a, b in zip(*outputs, strict=True)])
    assert found["y"].mse == pytest.approx(noise, rel=1e-5)


def test_a_layer_alone_reads_what_the_float_network_makes(net):
    """An error planted into the first layer lowers it, and what follows only from end to end."""
    model, feeds, emulated = net
    before = {one.tensor: one for one in readings(model, emulated, feeds)}
    weight = next(name for name in emulated.graph.initializers if name == "w/quantized")
    held = emulated.graph.initializers[weight]
    held.const_value = ir.tensor(-held.const_value.numpy(), name=weight)
    after = {one.tensor: one for one in readings(model, emulated, feeds)}

    assert after["b"].per_layer < 0.5 < 0.99 < before["b"].per_layer
    assert after["c"].per_layer == before["c"].per_layer
    assert after["c"].end_to_end < 0.9 < before["c"].end_to_end


def test_the_first_layer_is_the_same_in_both_readings(net):
    """Nothing goes wrong before it but the rounding of the input, which both have."""
    model, feeds, emulated = net
    first = readings(model, emulated, feeds)[0]
    assert first.per_layer == first.end_to_end


def test_16_bits_are_read_in_their_own_opset(net):
    """With tensors at 16 bits the emulation is of another opset; the float network is brought there."""
    model, feeds, _ = net
    seen = ranges(model, feeds)
    wide = {one.tensor: one for one in readings(model, write_qdq(model, seen, {"b", "c", "y", "x"}), feeds)}
    narrow = {one.tensor: one for one in readings(model, write_qdq(model, seen), feeds)}
    assert 1 - wide["b"].per_layer < (1 - narrow["b"].per_layer) / 2  # what the 8-bit weights lose stays


def test_no_samples_is_an_error(net):
    """A comparison of nothing is no result."""
    with pytest.raises(ToolError, match="no samples to compare layers on"):
        readings(net[0], net[2], [])
