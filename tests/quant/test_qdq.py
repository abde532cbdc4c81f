"""Facts about QDQ files: they are standard, they run, and they are as close to float as their grids allow."""

from __future__ import annotations

import zlib
from collections import Counter

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from workbench.engine.progress import Silent
from workbench.errors import ToolError, UnsupportedError
from workbench.graph import io
from workbench.quant.observe import observe
from workbench.quant.qdq import write_qdq
from workbench.quant.ranges import Range
from workbench.runtimes.onnxruntime import OnnxRunner


def model(text, opset=17, **constants):
    """A graph from its text and the arrays its text only names."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    for name, data in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data, np.float32), name))
    return ir.serde.deserialize_model(proto)


def random(*shape, seed=0):
    """Seeded normal float32 values."""
    return np.random.default_rng([seed, zlib.crc32(repr(shape).encode())]).standard_normal(shape).astype(np.float32)


def feeds(network, count=4):
    """Seeded random inputs of a graph."""
    return [{v.name: random(*v.shape.numpy(), seed=seed) for v in network.graph.inputs} for seed in range(count)]


def quantized(network):
    """The graph quantized with the ranges of its own test inputs, and those inputs."""
    samples = feeds(network)
    return write_qdq(network, observe(io.to_bytes(network), samples, progress=Silent())), samples


def run(network, samples, **options):
    """All outputs of all samples."""
    with OnnxRunner(io.to_bytes(network), **options) as runner:
        return [runner.run(sample) for sample in samples]


CONV_RELU = model(
    "g (float[1,3,8,8] x) => (float[1,4,8,8] y) { c = Conv <pads = [1,1,1,1]> (x, w, b)  y = Relu (c) }",
    w=random(4, 3, 3, 3), b=random(4),
)  # fmt: skip
DEPTHWISE = model(
    """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
        c = Conv <group = 4, pads = [1,1,1,1]> (x, w, b)
        k = Clip (c, zero, six)
        r = Relu (k)
        y = Conv (r, p)
    }""",
    w=random(4, 1, 3, 3), b=random(4), zero=np.float32(0), six=np.float32(6), p=random(4, 4, 1, 1),
)  # fmt: skip
CONCAT = model(
    """g (float[1,3,8,8] x) => (float[1,7,8,8] y) {
        a = Conv (x, w)
        b = Relu (x)
        y = Concat <axis = 1> (a, b)
    }""",
    w=random(4, 3, 1, 1),
)
RESIDUAL = model(
    """g (float[1,3,8,8] x) => (float[1,3,8,8] y) {
        c = Conv (x, w)
        r = Relu (c)
        y = Add (r, x)
    }""",
    w=random(3, 3, 1, 1),
)
INNER_OUTPUT = model(
    """g (float[1,3,8,8] x) => (float[1,3,8,8] mid, float[1,3,8,8] y) {
        c = Conv (x, w)
        mid = Relu (c)
        y = Conv (mid, w)
    }""",
    w=random(3, 3, 1, 1),
)
TRANSPOSED = model(
    """g (float[1,4,4,4] x) => (float[1,6,8,8] y) {
        y = ConvTranspose <group = 2, strides = [2,2], kernel_shape = [2,2]> (x, w, b)
    }""",
    w=random(4, 3, 2, 2), b=random(6),
)  # fmt: skip
GEMM = model("g (float[1,6] x) => (float[1,4] y) { y = Gemm (x, w, b) }", w=random(6, 4), b=random(4))
GEMM_T = model("g (float[1,6] x) => (float[1,4] y) { y = Gemm <transB = 1> (x, w, b) }", w=random(4, 6), b=random(1, 4))
MATMUL = model("g (float[2,6] x) => (float[2,4] y) { y = MatMul (x, w) }", w=random(6, 4))
POOLS = model(
    """g (float[1,3,8,8] x) => (float[1,3,8,8] y) {
        p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (x)
        u = Resize <mode = "linear"> (p, , scales)
        s = Sigmoid (u)
        y = Mul (s, gain)
    }""",
    scales=[1, 1, 2, 2], gain=np.float32(3).reshape(1, 1, 1, 1),
)  # fmt: skip
ALL = {
    "conv_relu": CONV_RELU,
    "depthwise": DEPTHWISE,
    "concat": CONCAT,
    "residual": RESIDUAL,
    "inner_output": INNER_OUTPUT,
    "transposed": TRANSPOSED,
    "gemm": GEMM,
    "gemm_t": GEMM_T,
    "matmul": MATMUL,
    "pools": POOLS,
}
each = pytest.mark.parametrize("network", ALL.values(), ids=ALL.keys())


@each
def test_the_file_is_standard_and_keeps_its_ends(network):
    """ONNX's checker accepts the file, whose inputs and outputs have the float model's names, shapes and types."""
    made, _ = quantized(network)
    onnx.checker.check_model(io.to_proto(made), full_check=True)
    for ours, theirs in ((made.graph.inputs, network.graph.inputs), (made.graph.outputs, network.graph.outputs)):
        assert [(v.name, v.shape, v.dtype) for v in ours] == [(v.name, v.shape, v.dtype) for v in theirs]
    assert set(made.opset_imports.values()) == {17}


@each
def test_the_bytes_are_the_same_every_time(network):
    """Two runs write the same bytes, and the float graph is left as it was."""
    before = io.to_bytes(network)
    samples = feeds(network)
    ranges = observe(before, samples, progress=Silent())
    assert io.to_bytes(write_qdq(network, ranges)) == io.to_bytes(write_qdq(network, ranges))
    assert [node.op_type for node in network.graph] == [node.op_type for node in io.from_bytes(before).graph]


@each
def test_it_stays_close_to_float(network):
    """On well-behaved random data 8 bits keep the outputs within 4 % (relative L2)."""
    made, samples = quantized(network)
    for real, rounded in zip(run(network, samples), run(made, samples), strict=True):
        for name, values in real.items():
            assert np.linalg.norm(rounded[name] - values) <= 0.04 * np.linalg.norm(values), name


@each
def test_optimization_moves_single_steps_only(network):
    """Default optimization, which fuses integers kernels, differs from none in at most a step of a few values."""
    made, samples = quantized(network)
    step = max(_output_scale(made, output.name) for output in made.graph.outputs)
    for plain, fused in zip(run(made, samples, optimize=False), run(made, samples), strict=True):
        for name, values in plain.items():
            difference = np.abs(fused[name] - values)
            assert difference.max() <= 1.01 * step, name
            assert (difference > 0.5 * step).mean() <= 0.02, name


def _output_scale(made, name):
    dequantize = next(v for v in made.graph.outputs if v.name == name).producer()
    return float(dequantize.inputs[1].const_value.numpy())


def test_a_convolution_is_its_integers():
    """A quantized 1x1 convolution and Relu equals the same sums done in exact integers."""
    network = model(
        "g (float[1,3,4,4] x) => (float[1,5,4,4] y) { c = Conv (x, w, b) y = Relu (c) }",
        w=random(5, 3, 1, 1), b=random(5),
    )  # fmt: skip
    made, samples = quantized(network)
    held = {name: value.const_value.numpy() for name, value in made.graph.initializers.items()}
    for sample, result in zip(samples, run(made, samples), strict=True):
        x = np.rint(sample["x"] / held["x/scale"]).astype(np.int64) + int(held["x/zero_point"])
        x = np.clip(x, 0, 255) - int(held["x/zero_point"])
        sums = np.einsum("oi,ihw->ohw", held["w/quantized"][:, :, 0, 0].astype(np.int64), x[0])
        sums = np.maximum(sums + held["b/quantized"].astype(np.int64)[:, None, None], 0)
        real = sums * held["b/scale"].astype(np.float64)[:, None, None]
        steps = np.clip(np.rint(real / float(held["y/scale"])), 0, 255)
        got = result["y"][0] / held["y/scale"]
        assert np.abs(got - steps).max() <= 1.01
        assert (np.abs(got - steps) > 0.5).mean() <= 0.02


@pytest.mark.parametrize("seed", range(5))
def test_the_error_of_a_convolution_is_bounded_by_its_grids(seed):
    """No output moves further than half a step of each grid it passed can explain."""
    w, b = random(4, 3, 3, 3, seed=seed), random(4, seed=seed)
    network = model("g (float[1,3,8,8] x) => (float[1,4,6,6] y) { y = Conv (x, w, b) }", w=w, b=b)
    made, samples = quantized(network)
    held = {name: value.const_value.numpy() for name, value in made.graph.initializers.items()}
    for sample, real, rounded in zip(samples, run(network, samples), run(made, samples, optimize=False), strict=True):
        x_step, y_step = float(held["x/scale"]), float(held["y/scale"])
        largest = np.abs(sample["x"]).max() + x_step
        per_channel = np.abs(w).sum(axis=(1, 2, 3)) * x_step / 2 + held["w/scale"] / 2 * largest * w[0].size
        bound = (per_channel + held["b/scale"] / 2 + y_step / 2)[:, None, None] * 1.001
        assert (np.abs(rounded["y"] - real["y"])[0] <= bound).all()


def test_one_pair_of_nodes_a_tensor():
    """A tensor with several readers is quantized once, and nothing is quantized inside Conv, Clip, Relu."""
    made, _ = quantized(RESIDUAL)  # grids for x (two readers), r, y; one weight
    assert Counter(node.op_type for node in made.graph) == {
        "QuantizeLinear": 3, "DequantizeLinear": 4, "Conv": 1, "Relu": 1, "Add": 1,
    }  # fmt: skip
    made, _ = quantized(DEPTHWISE)
    assert sum(node.op_type == "QuantizeLinear" for node in made.graph) == 3


def test_a_concat_has_one_scale():
    """All inputs and the output of a Concat name the same scale and zero point."""
    made, _ = quantized(CONCAT)
    scales = {
        node.name.split("/")[0]: (node.inputs[1].name, node.inputs[2].name)
        for node in made.graph
        if node.op_type == "QuantizeLinear"
    }
    assert scales["a"] == scales["b"] == scales["y"]
    assert scales["x"] != scales["a"]


def test_weights_and_biases_are_integers():
    """Weights are int8 per output channel, biases int32 with the product of the scales, and no float weight stays."""
    made, _ = quantized(TRANSPOSED)
    held = {name: value.const_value.numpy() for name, value in made.graph.initializers.items()}
    assert (held["w/quantized"].dtype, held["w/quantized"].shape) == (np.int8, (4, 3, 2, 2))
    assert held["w/scale"].shape == (3,)
    assert held["b/quantized"].dtype == np.int32
    assert np.array_equal(held["b/scale"], np.tile(held["w/scale"], 2) * held["x/scale"])
    assert not {"w", "b"} & set(held)
    axes = {n.name: n.attributes["axis"].as_int() for n in made.graph if "axis" in n.attributes}
    assert axes == {"w/DequantizeLinear": 1, "b/DequantizeLinear": 0}


def test_a_shared_weight_is_written_for_each_reader():
    """Two convolutions with one weight tensor have their own integers, so that onnxruntime's exact mode loads them."""
    made, samples = quantized(INNER_OUTPUT)
    held = [name for name in made.graph.initializers if name.endswith(("quantized", "quantized_2"))]
    assert held == ["w/quantized", "w/quantized_2"]
    assert "w" not in made.graph.initializers
    assert len(run(made, samples)) == len(samples)


def test_outputs_that_are_read_inside_keep_their_name():
    """A graph output with readers is dequantized once, for the caller and for them."""
    made, _ = quantized(INNER_OUTPUT)
    mid = next(value for value in made.graph.outputs if value.name == "mid")
    assert mid.producer().op_type == "DequantizeLinear"
    assert [node.op_type for node in mid.consumers()] == ["Conv"]


def test_names_in_the_way_are_stepped_around():
    """A float graph that already has a tensor called x/quantized is quantized all the same."""
    proto = io.to_proto(model("g (float[1,2] x) => (float[1,2] y) { t = Relu (x) y = Neg (t) }"))
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = ["x/quantized" if name == "t" else name for name in names]
    network = ir.serde.deserialize_model(proto)
    made, samples = quantized(network)
    onnx.checker.check_model(io.to_proto(made), full_check=True)
    assert len(run(made, samples)) == len(samples)


def test_a_dead_channel_still_gives_its_bias():
    """A convolution channel of zeros yields its bias, though it has no weight to take a scale from."""
    w, b = random(2, 3, 1, 1), np.array([0.25, 0.5], np.float32)
    w[1] = 0
    made, samples = quantized(model("g (float[1,3,4,4] x) => (float[1,2,4,4] y) { y = Conv (x, w, b) }", w=w, b=b))
    step = _output_scale(made, "y")
    for result in run(made, samples):
        assert np.abs(result["y"][0, 1] - 0.5).max() <= 0.51 * step


def test_integer_outputs_are_left_alone():
    """What an ArgMax yields is no activation and stays int64."""
    made, samples = quantized(model("g (float[1,4] x) => (int64[1,1] y) { r = Relu (x) y = ArgMax <axis = 1> (r) }"))
    assert run(made, samples)[0]["y"].dtype == np.int64


@pytest.mark.parametrize("opset", [13, 18])
def test_other_opsets(opset):
    """Opsets from 13 on are written as they came."""
    text = "g (float[1,3,4,4] x) => (float[1,2,4,4] y) { y = Conv (x, w) }"
    made, samples = quantized(model(text, opset=opset, w=random(2, 3, 1, 1)))
    assert made.opset_imports[""] == opset
    assert len(run(made, samples)) == len(samples)


@pytest.mark.parametrize(
    ("text", "constants", "kind", "words"),
    [
        (
            "g (float[1,3,4,4] x, float[2,3,1,1] w) => (float[1,2,4,4] y) { y = Conv (x, w) }",
            {}, UnsupportedError, "the weight is computed",
        ),
        (
            "g (float[1,2] x) => (float[1,2] y) { y = Gemm <alpha = 2.0> (x, w, b) }",
            {"w": np.eye(2), "b": [1, 2]}, UnsupportedError, "alpha and beta have to be 1",
        ),
        (
            "g (float[2,2] x) => (float[2,2] y) { y = Gemm (x, w, b) }",
            {"w": np.eye(2), "b": np.ones((2, 2))}, UnsupportedError, r"the bias has shape \[2, 2\]",
        ),
        (
            "g (float[1,3,4,4] x) => (float[1,1,4,4] y) { y = Conv (x, w) }",
            {"w": np.full((1, 3, 1, 1), np.nan)}, ToolError, "constant 'w' holds NaN",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_named(text, constants, kind, words):
    """A computed weight, a scaled Gemm, a bias per element and NaN weights are errors and no wrong file."""
    ranges = {name: Range(-1, 1) for name in "xwy"}
    with pytest.raises(kind, match=words):
        write_qdq(model(text, **constants), ranges)


def test_old_opsets_are_refused():
    """Before opset 13 there is no scale per channel."""
    with pytest.raises(UnsupportedError, match="the model is of opset 12"):
        write_qdq(model("g (float[1,2] x) => (float[1,2] y) { y = Relu (x) }", opset=12), {})


def test_a_missing_range_is_named():
    """Ranges of another model do not fit: the tensor without one is named."""
    with pytest.raises(UnsupportedError, match="tensor 'y' has no range"):
        write_qdq(model("g (float[1,2] x) => (float[1,2] y) { y = Relu (x) }"), {"x": Range(0, 1)})
