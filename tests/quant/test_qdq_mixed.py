"""Facts about files with some activations at 16 bits: opset, integers, and arithmetic equal to numpy's to the bit."""

from __future__ import annotations

import zlib

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.engine.progress import Silent
from workbench.errors import UnsupportedError
from workbench.graph import io
from workbench.quant.observe import observe
from workbench.quant.plan import plan
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


def run(network, sample, **options):
    """All outputs of one sample."""
    with OnnxRunner(io.to_bytes(network), **options) as runner:
        return runner.run(sample)


def round_trip(values, scale, zero_point, highest):
    """What QuantizeLinear and DequantizeLinear of unsigned integers make of `values`, in numpy's float32."""
    steps = np.rint(values.astype(np.float32) / np.float32(scale)) + np.float32(zero_point)
    return (np.clip(steps, 0, highest) - np.float32(zero_point)) * np.float32(scale)


# A stage in small: features and heat maps meet in a Concat, a constant is added, two convolutions around them.
STAGE = """g (float[1,2,6,6] x, float[1,1,3,3] heat) => (float[1,2,3,3] y) {
    c = Conv (x, w, b)
    r = Relu (c)
    p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (r)
    k = Concat <axis = 1> (p, heat)
    s = Add (k, offset)
    y = Conv (s, v)
}"""
# Every scale a power of two, and every sum below 2^24 steps of the product's: float32 holds all of them exactly.
WEIGHTS = {
    "w": np.array([[127, -64], [-31, 127]]).reshape(2, 2, 1, 1) / 2**7,
    "b": np.array([0.5, 0.25]),
    "offset": np.array([0.0, 1.0, -0.99609375]).reshape(1, 3, 1, 1),
    "v": np.array([[127, -3, 90], [-100, 127, 5]]).reshape(2, 3, 1, 1) / 2**7,
}
SPANS = {
    "x": Range(-2, 2 - 2**-6),  # 8 bits: 2^-6
    **dict.fromkeys(("r", "p", "heat", "k"), Range(0, 4 - 2**-14)),  # 16 bits: 2^-14
    "s": Range(-1, 3 - 2**-14),  # 16 bits: 2^-14
    "y": Range(-4, 4 - 2**-5),  # 8 bits: 2^-5
}


def stage_in_numpy(x, heat, offset_bits):
    """The same network in numpy, every tensor on its grid."""
    w, v = (np.rint(WEIGHTS[name] * 2**7) / 2**7 for name in "wv")
    x = round_trip(x, 2**-6, 128, 255).astype(np.float64)
    r = np.maximum(np.einsum("oi,nihw->nohw", w[:, :, 0, 0], x) + WEIGHTS["b"].reshape(1, 2, 1, 1), 0)
    r = round_trip(r, 2**-14, 0, 65535)
    p = r.reshape(1, 2, 3, 2, 3, 2).max(axis=(3, 5))
    k = np.concatenate([p, round_trip(heat, 2**-14, 0, 65535)], axis=1)
    span = 1 + 0.99609375
    step = span / (2**offset_bits - 1)
    zero = np.rint((2**offset_bits - 1) * 0.99609375 / span)
    offset = round_trip(WEIGHTS["offset"], step, zero, 2**offset_bits - 1)
    s = round_trip(k + offset.astype(np.float32), 2**-14, 2**14, 65535)
    y = np.einsum("oi,nihw->nohw", v[:, :, 0, 0], s.astype(np.float64))
    return round_trip(y, 2**-5, 128, 255)


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_mixed_network_is_numpy_to_the_bit(seed, optimize):
    """8 and 16 bits, weights, bias, a shared grid and a constant operand: the file computes what the scheme says."""
    network = model(STAGE, **WEIGHTS)
    made = write_qdq(network, SPANS, {"k", "s"})
    sample = {"x": random(1, 2, 6, 6, seed=seed), "heat": np.abs(random(1, 1, 3, 3, seed=seed))}
    np.testing.assert_array_equal(
        run(made, sample, optimize=optimize)["y"], stage_in_numpy(sample["x"], sample["heat"], offset_bits=16)
    )


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["Add", "Sub", "Mul", "Min"]),
    st.sets(st.sampled_from(["x", "z", "m"])),
    st.floats(0.01, 1e3),
    st.floats(0.01, 1e3),
    st.integers(0, 2**32 - 1),
)
def test_arithmetic_on_any_grids_is_numpy_to_the_bit(op, u16, high, low, seed):
    """Whatever the ranges and the widths, quantized arithmetic is float32 arithmetic between the grids."""
    network = model(f"g (float[1,64] x, float[1,64] z) => (float[1,64] y) {{ m = {op} (x, z) y = Relu (m) }}")
    values = np.random.default_rng(seed)
    sample = {
        "x": values.uniform(-low, high, (1, 64)).astype(np.float32),
        "z": values.uniform(-high, low, (1, 64)).astype(np.float32),
    }
    ranges = observe(io.to_bytes(network), [sample], progress=Silent())
    made = write_qdq(network, ranges, u16)
    grids = plan(network, ranges, u16).grids
    assert {name for name in "xzm" if grids[name].bits == 16} == u16

    def rounded(name, tensor):
        grid = grids[name]
        return round_trip(tensor, grid.scale, grid.zero_point, grid.highest)

    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Min": np.minimum}[op]
    middle = rounded("m", function(rounded("x", sample["x"]), rounded("z", sample["z"])))
    expected = rounded("y", np.maximum(middle, 0))
    np.testing.assert_array_equal(run(made, sample, optimize=False)["y"], expected)


def test_the_file_says_uint16_in_opset_21():
    """A mixed file is standard ONNX of the opset that knows 16 bits; the float model and an 8-bit file keep theirs."""
    network = model(STAGE, **WEIGHTS)
    made = write_qdq(network, SPANS, {"r"})
    onnx.checker.check_model(io.to_proto(made), full_check=True)
    assert made.opset_imports == {"": 21}
    assert made.ir_version >= 10
    assert network.opset_imports == write_qdq(network, SPANS).opset_imports == {"": 17}
    types = {
        node.name.split("/")[0]: np.asarray(node.inputs[2].const_value.numpy()).dtype.name
        for node in made.graph
        if node.op_type == "QuantizeLinear"
    }
    assert types == {
        "x": "uint8", "heat": "uint16", "r": "uint16", "p": "uint16", "k": "uint16", "s": "uint8", "y": "uint8",
    }  # fmt: skip


def test_names_types_and_marks_survive():
    """Inputs, outputs and the mark that nobody should ship the network are those of the float model."""
    network = model(STAGE, **WEIGHTS)
    io.mark_not_deployable(network, "seeded")
    made = write_qdq(network, SPANS, {"s"})
    for ours, theirs in ((made.graph.inputs, network.graph.inputs), (made.graph.outputs, network.graph.outputs)):
        assert [(v.name, v.shape, v.dtype) for v in ours] == [(v.name, v.shape, v.dtype) for v in theirs]
    assert io.not_deployable(made) == "seeded"
    assert io.to_bytes(made) == io.to_bytes(write_qdq(network, SPANS, ["s"]))


def test_without_16_bits_nothing_is_another():
    """An empty choice gives the bytes of the 8-bit file."""
    network = model(STAGE, **WEIGHTS)
    assert io.to_bytes(write_qdq(network, SPANS, ())) == io.to_bytes(write_qdq(network, SPANS))


@pytest.mark.parametrize("text", [
    "g (float[1,4,6,6] x) => (float[1,4,6,6] y) { r = Relu (x) y = GroupNormalization <num_groups = 2> (r, s, s) }",
    "g (float[1,4,6,6] x) => (float[1,4,5,5] y) { r = Relu (x) y = GridSample (r, grid) }",
])  # fmt: skip
def test_what_onnx_cannot_convert_is_written_for_onnxruntime(text):
    """Where the converter cannot be trusted, onnxruntime's own nodes quantize to 16 bits, and the opset stays."""
    opset = 18 if "Group" in text else 17
    network = model(text, opset=opset, s=[1, 2], grid=np.zeros((1, 5, 5, 2)))
    sample = {"x": random(1, 4, 6, 6)}
    ranges = observe(io.to_bytes(network), [sample], progress=Silent())
    made = write_qdq(network, ranges, {"r"})
    assert made.opset_imports == {"": opset, "com.microsoft": 1}
    domains = {node.name: node.domain for node in made.graph if node.op_type.endswith("eLinear")}
    assert domains["r/QuantizeLinear"] == domains["r/DequantizeLinear"] == "com.microsoft"
    assert domains["x/QuantizeLinear"] == domains["y/QuantizeLinear"] == ""
    for optimize in (False, True):
        result, real = run(made, sample, optimize=optimize)["y"], run(network, sample)["y"]
        assert np.abs(result - real).max() <= 0.03 * max(1.0, np.abs(real).max())


@pytest.mark.parametrize("opset", [13, 18, 21, 22])
def test_every_opset_from_13_is_taken(opset):
    """Older ones are converted, newer ones stay."""
    text = """g (float[1,3,8,8] x) => (float[1,3,1,1] y) {
        c = Conv (x, w)
        u = Resize <mode = "linear"> (c, , scales)
        y = GlobalAveragePool (u)
    }"""
    network = model(text, opset=opset, w=random(3, 3, 1, 1), scales=[1, 1, 2, 2])
    sample = {"x": random(1, 3, 8, 8)}
    ranges = observe(io.to_bytes(network), [sample], progress=Silent())
    made = write_qdq(network, ranges, {"x", "c", "u", "y"})
    assert made.opset_imports == {"": max(opset, 21)}
    onnx.checker.check_model(io.to_proto(made), full_check=True)
    np.testing.assert_array_equal(run(made, sample)["y"], run(made, sample, optimize=False)["y"])


def test_sixteen_bits_are_finer():
    """The error of a convolution whose input and output are at 16 bits is that of its 8-bit weights."""
    network = model(
        "g (float[1,3,8,8] x) => (float[1,4,8,8] y) { y = Conv (x, w) }", w=np.eye(4, 3).reshape(4, 3, 1, 1)
    )
    sample = {"x": random(1, 3, 8, 8)}
    ranges = observe(io.to_bytes(network), [sample], progress=Silent())
    real = run(network, sample)["y"]
    coarse = np.abs(run(write_qdq(network, ranges), sample)["y"] - real).max()
    fine = np.abs(run(write_qdq(network, ranges, {"x", "y"}), sample)["y"] - real).max()
    assert 100 < coarse / fine < 600


def test_the_inputs_of_a_matmul_stay_centred():
    """At 16 bits, too, both inputs of a MatMul have zero point 0: they are int16."""
    network = model("g (float[2,3] x, float[3,2] z) => (float[2,2] y) { y = MatMul (x, z) }")
    ranges = {"x": Range(-1, 2), "z": Range(-3, 1), "y": Range(-9, 9)}
    made = write_qdq(network, ranges, {"x"})
    zero_points = {
        node.name.split("/")[0]: node.inputs[2].const_value.numpy()
        for node in made.graph
        if node.op_type == "QuantizeLinear"
    }
    assert (zero_points["x"].dtype, int(zero_points["x"])) == (np.int16, 0)
    assert (zero_points["z"].dtype, int(zero_points["z"])) == (np.int8, 0)


def test_a_bias_at_16_bits_keeps_within_its_32():
    """With input steps 257 times finer, a channel of small weights gives way to its bias, which stays exact."""
    weights, bias = np.array([[1.0], [1e-4]]).reshape(2, 1, 1, 1), np.array([0.5, 1.0])
    network = model("g (float[1,1,2,2] x) => (float[1,2,2,2] y) { y = Conv (x, w, b) }", w=weights, b=bias)
    ranges = {"x": Range(0, 1), "y": Range(0, 9)}
    held = {
        bits: {
            name: value.const_value.numpy()
            for name, value in write_qdq(network, ranges, ("x",) * (bits == 16)).graph.initializers.items()
        }
        for bits in (8, 16)
    }
    assert held[8]["w/scale"][1] == np.float32(np.float32(1e-4) / 127)
    assert held[16]["w/scale"][1] > held[8]["w/scale"][1]
    for values in held.values():
        assert np.abs(values["b/quantized"].astype(np.int64)).max() <= 2**30 + 2**8
        real = values["b/quantized"].astype(np.float64) * values["b/scale"]
        assert (np.abs(real - bias) <= 0.5001 * values["b/scale"]).all()


def test_a_misspelt_tensor_is_an_error():
    """A name that is no activation gives no file."""
    with pytest.raises(UnsupportedError, match="no activation called 'hear'") as caught:
        write_qdq(model(STAGE, **WEIGHTS), SPANS, {"hear"})
    assert caught.value.fix == "did you mean 'heat'?"
