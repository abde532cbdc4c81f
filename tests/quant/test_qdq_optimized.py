"""Facts about onnxruntime's fusions: operator by operator, default optimization answers as optimization off does."""

from __future__ import annotations

import zlib

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from workbench.engine.progress import Silent
from workbench.graph import io
from workbench.quant.observe import observe
from workbench.quant.plan import plan
from workbench.quant.qdq import write_qdq
from workbench.quant.ranges import Range
from workbench.runtimes.onnxruntime import OnnxRunner

PICTURE = "1,8,12,12"
NARROW = 1e-4  # steps from a tie, within which float sums and integer sums may round apart


def model(text, opset=17, **constants):
    """A graph from its text and the arrays its text only names."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    for name, data in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data, np.float32), name))
    return ir.serde.deserialize_model(proto)


def random(*shape, seed=0):
    """Seeded normal float32 values."""
    return np.random.default_rng([seed, zlib.crc32(repr(shape).encode())]).standard_normal(shape).astype(np.float32)


def one(body, made=PICTURE, other="", given=PICTURE, **constants):
    """A graph of one operator (with its Relu or Clip) from x, and z when `other` is its shape, to y."""
    inputs = f"float[{given}] x" + (f", float[{other}] z" if other else "")
    return model(f"g ({inputs}) => (float[{made}] y) {{ {body} }}", **constants)


TWICE = {"scales": [1, 1, 2, 2]}
BOUNDS = {"low": np.float32(0), "high": np.float32(2)}
FULL = {"w": random(6, 8, 3, 3), "b": random(6)}
PER_CHANNEL = {"w": random(8, 1, 3, 3), "b": random(8)}
EXACT = {
    "concat": one("y = Concat <axis = 1> (x, z)", "1,16,12,12", PICTURE),
    "max_pool": one("y = MaxPool <kernel_shape = [2,2], strides = [2,2]> (x)", "1,8,6,6"),
    "resize_nearest": one('y = Resize <mode = "nearest"> (x, , scales)', "1,8,24,24", **TWICE),
    "resize_linear": one('y = Resize <mode = "linear"> (x, , scales)', "1,8,24,24", **TWICE),
    "resize_cubic": one('y = Resize <mode = "cubic"> (x, , scales)', "1,8,24,24", **TWICE),
    "transpose": one("y = Transpose <perm = [0,2,3,1]> (x)", "1,12,12,8"),
    "depth_to_space": one("y = DepthToSpace <blocksize = 2> (x)", "1,2,24,24"),
    "sub": one("y = Sub (x, z)", PICTURE, PICTURE),
    "div": one("y = Div (x, gain)", gain=np.abs(random(1, 8, 1, 1)) + 1),
    "min": one("y = Min (x, z)", PICTURE, PICTURE),
    "relu": one("y = Relu (x)"),
    "clip": one("y = Clip (x, low, high)", **BOUNDS),
    "sigmoid": one("y = Sigmoid (x)"),
    "tanh": one("y = Tanh (x)"),
    "leaky_relu": one("y = LeakyRelu <alpha = 0.1> (x)"),
    "prelu": one("y = PRelu (x, slope)", slope=random(8, 1, 1)),
    "hard_sigmoid": one("y = HardSigmoid (x)"),
    "hard_swish": one("y = HardSwish (x)"),
    "reduce_mean": one("y = ReduceMean <axes = [2,3]> (x)", "1,8,1,1"),
    "conv_transpose": one(
        "y = ConvTranspose <strides = [2,2], kernel_shape = [2,2]> (x, w, b)",
        "1,6,24,24",
        w=random(8, 6, 2, 2),
        b=random(6),
    ),
}
NEAR_TIES = {
    "conv": one("y = Conv <pads = [1,1,1,1]> (x, w, b)", "1,6,12,12", **FULL),
    "conv_relu": one("c = Conv <pads = [1,1,1,1]> (x, w, b) y = Relu (c)", "1,6,12,12", **FULL),
    "conv_clip": one("c = Conv <pads = [1,1,1,1]> (x, w, b) y = Clip (c, low, high)", "1,6,12,12", **FULL, **BOUNDS),
    "depthwise": one("y = Conv <group = 8, pads = [1,1,1,1]> (x, w, b)", **PER_CHANNEL),
    "gemm": one("y = Gemm (x, w, b)", "4,6", given="4,32", w=random(32, 6), b=random(6)),
    "matmul": one("y = MatMul (x, w)", "4,6", given="4,32", w=random(32, 6)),
    "matmul_of_two": one("y = MatMul (x, z)", "4,6", "32,6", "4,32"),
    "add": one("y = Add (x, z)", PICTURE, PICTURE),
    "add_constant": one("y = Add (x, k)", k=random(1, 8, 1, 1)),
    "mul": one("y = Mul (x, z)", PICTURE, PICTURE),
    "average_pool": one("y = AveragePool <kernel_shape = [3,3]> (x)", "1,8,10,10"),
    "global_average_pool": one("y = GlobalAveragePool (x)", "1,8,1,1"),
}
TABLE = {"softmax": one("y = Softmax <axis = 1> (x)")}
ALL = {**EXACT, **NEAR_TIES, **TABLE}


def samples_of(network, count=6):
    """Seeded random inputs of a graph."""
    inputs = list(enumerate(network.graph.inputs))
    return [{v.name: random(*v.shape.numpy(), seed=seed * 8 + i) for i, v in inputs} for seed in range(count)]


def both_ways(network, u16=(), ranges=None):
    """Per sample (default, off, what was rounded to y), and the grid of y."""
    samples = samples_of(network)
    ranges = ranges or observe(io.to_bytes(network), samples, progress=Silent())
    proto = io.to_proto(write_qdq(network, ranges, u16))
    grid = plan(network, ranges, u16).grids["y"]
    with OnnxRunner(proto.SerializeToString()) as fused:
        default = [fused.run(sample)["y"] for sample in samples]
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info("y/float"))
    with OnnxRunner(proto.SerializeToString(), optimize=False) as plain:
        off = [plain.run(sample) for sample in samples]
    return [(one, other["y"], other["y/float"]) for one, other in zip(default, off, strict=True)], grid


def differ(default, off, rounded, grid):
    """Where the two differ: by how many steps, and how many steps the rounded value lies from a tie."""
    apart = default != off
    steps = np.abs(default - off)[apart] / grid.scale
    exact = rounded[apart].astype(np.float64) / grid.scale
    return steps, np.abs(exact - np.floor(exact) - 0.5)


@pytest.mark.parametrize("name", EXACT)
def test_most_operators_answer_alike_to_the_bit(name):
    """Whatever onnxruntime does with these 8-bit operators, the result is that of optimization off."""
    runs, _ = both_ways(EXACT[name])
    for default, off, _ in runs:
        np.testing.assert_array_equal(default, off)


@pytest.mark.parametrize("name", NEAR_TIES)
def test_sums_differ_by_a_step_near_ties_only(name):
    """Integer and float sums round apart only next to a tie, and then by one step."""
    runs, grid = both_ways(NEAR_TIES[name])
    for run in runs:
        steps, from_tie = differ(*run, grid)
        assert (steps <= 1.001).all()
        assert (from_tie <= NARROW).all()
        assert steps.size <= 0.001 * run[0].size


def test_softmax_differs_by_a_step():
    """The integer Softmax reads a table: one step, in a tenth of the values."""
    runs, grid = both_ways(TABLE["softmax"])
    for run in runs:
        steps, _ = differ(*run, grid)
        assert (steps <= 1.001).all()
        assert steps.size <= 0.2 * run[0].size


@pytest.mark.parametrize("wide", ["in", "out", "both"])
@pytest.mark.parametrize("name", ALL)
def test_sixteen_bits_answer_alike_to_the_bit(name, wide):
    """No fusion touches an operator that reads or makes 16 bits: default equals off exactly."""
    inputs = [value.name for value in ALL[name].graph.inputs]
    runs, grid = both_ways(ALL[name], {"in": inputs, "out": ["y"], "both": [*inputs, "y"]}[wide])
    assert grid.bits == 16 or wide == "in"
    for default, off, _ in runs:
        np.testing.assert_array_equal(default, off)


def test_ties_of_an_odd_zero_point_move_one_step():
    """Scales of a simple ratio make every other sum a tie; with an odd zero point the integer Add takes the other."""
    ranges = {"x": Range(-2, 2 - 1 / 64), "z": Range(-2, 2 - 1 / 64), "y": Range(-3 - 1 / 32, 5 - 2 / 32)}
    runs, grid = both_ways(NEAR_TIES["add"], ranges=ranges)
    assert grid.zero_point % 2 == 1
    for run in runs:
        steps, from_tie = differ(*run, grid)
        assert steps.size > 0
        assert (np.abs(steps - 1) < 1e-3).all()
        assert (from_tie == 0).all()


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_an_interpolation_between_equal_grids_stays_in_float(mode):
    """No two equal grids stand around an interpolating Resize, so that no version of onnxruntime drops them."""
    network = one(f'y = Resize <mode = "{mode}"> (x, , scales)', "1,8,24,24", **TWICE)
    ranges = {"x": Range(-3, 3), "y": Range(-3, 3)}
    made = write_qdq(network, ranges)
    resize = next(node for node in made.graph if node.op_type == "Resize")
    before, behind = resize.inputs[0].producer(), next(iter(resize.outputs[0].uses())).node
    scales = [float(node.inputs[1].const_value.numpy()) for node in (before, behind)]
    assert scales[0] == np.nextafter(np.float32(scales[1]), np.float32(1))
    assert before.inputs[0].producer().inputs[1].name == "x/scale"
    for default, off, _ in both_ways(network, ranges=ranges)[0]:
        np.testing.assert_array_equal(default, off)


def test_other_resizes_are_written_plainly():
    """Nearest neighbours, different grids and 16 bits need no scale of their own."""
    nearest = one('y = Resize <mode = "nearest"> (x, , scales)', "1,8,24,24", **TWICE)
    linear = one('y = Resize <mode = "linear"> (x, , scales)', "1,8,24,24", **TWICE)
    equal = {"x": Range(-3, 3), "y": Range(-3, 3)}
    for network, ranges, u16 in (
        (nearest, equal, ()),
        (linear, {**equal, "y": Range(-3, 2)}, ()),
        (linear, equal, ("x", "y")),
    ):
        made = write_qdq(network, ranges, u16)
        assert sum(node.op_type == "DequantizeLinear" for node in made.graph) == 2
