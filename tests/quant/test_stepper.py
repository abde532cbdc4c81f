"""Facts about walking a graph operator by operator."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ToolError
from workbench.graph import io
from workbench.quant.plan import inside_operators
from workbench.quant.scheme import Grid
from workbench.quant.stepper import Side, cosine, evenly, peak_bytes, session_bytes, steps
from workbench.runtimes.onnxruntime import OnnxRunner


def model(text, opset=18, **constants):
    """A graph from its text and the arrays its text only names."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    for name, data in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data), name))
    return ir.serde.deserialize_model(proto)


def random(*shape, seed=0):
    """Seeded normal float32 values."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def walked(network, samples, keep=()):
    """All steps taken; the tensors that are kept, and the steps."""
    inside = inside_operators(network.graph)
    taken = steps(network, inside, keep)
    side = Side(network, samples)
    for step in taken:
        side.run(step, session_bytes(network, step.nodes, step.makes))
        side.free(step)
    return side, taken


BUSY = model(
    """g (float[1,4,8,8] x) => (float[1,12,8,8] y, int64[1,1,8,8] best, float[1,2,4,4] small) {
        c = Conv <pads = [1,1,1,1]> (x, w)
        k = Clip (c, zero, six)
        r = Relu (k)
        a, b = Split <axis = 1, num_outputs = 2> (r)
        half = Constant <value = float {0.5}> ()
        s = Mul (a, half)
        p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (b)
        small = Sigmoid (p)
        wide = Resize <mode = "linear"> (p, , scales)
        j = Concat <axis = 1> (s, wide, x, x)
        y = Softmax <axis = 1> (j)
        best = ArgMax <axis = 1> (y)
    }""",
    w=random(4, 4, 3, 3), zero=np.float32(0), six=np.float32(6), scales=np.float32([1, 1, 2, 2]),
)  # fmt: skip


def test_a_walk_answers_what_the_whole_graph_does():
    """Convolutions with their activations, outputs in twos, constants, integers: step by step as in one session."""
    samples = [{"x": random(1, 4, 8, 8, seed=seed)} for seed in range(3)]
    side, taken = walked(BUSY, samples, keep=("y", "best", "small"))
    assert [[node.op_type for node in step.nodes] for step in taken][:2] == [["Conv", "Clip", "Relu"], ["Split"]]
    with OnnxRunner(io.to_bytes(BUSY)) as whole:
        for index, sample in enumerate(samples):
            for name, expected in whole.run(sample).items():
                np.testing.assert_allclose(side[name][index], expected, rtol=1e-5, atol=1e-6)


def test_only_what_is_read_stays_alive():
    """A tensor is freed after its last reader, and nothing is left at the end but what was to be kept."""
    _, taken = walked(BUSY, [{"x": random(1, 4, 8, 8)}])
    freed = {step.nodes[0].op_type: step.frees for step in taken}
    assert freed["Conv"] == ()
    assert freed["Split"] == ("r",)
    assert set(freed["Concat"]) == {"s", "wide", "x"}
    side, _ = walked(BUSY, [{"x": random(1, 4, 8, 8)}], keep=("p",))
    assert side["p"][0].shape == (1, 2, 4, 4)
    with pytest.raises(KeyError):
        side["x"]


def test_the_peak_is_that_of_the_widest_moment():
    """Two tensors of 4 KB live together with one of 8 KB; later there are never so many."""
    network = model(
        """g (float[1,4,16,16] x) => (float[1,4,16,16] y) {
            a = Relu (x)
            b = Concat <axis = 1> (a, x)
            y, rest = Split <axis = 1, num_outputs = 2> (b)
        }"""
    )
    assert peak_bytes(network, steps(network, {})) == 16 * 1024


@pytest.mark.parametrize(
    "grid", [Grid(0.1, 3), Grid(0.05, 0, signed=True), Grid(0.001, 700, bits=16), Grid(0.002, 0, bits=16, signed=True)]
)
def test_an_output_stands_on_its_grid(grid):
    """Rounding inside a session is that of the scheme to the bit, for every kind of grid, within what it holds."""
    network = model("g (float[1,64] x) => (float[1,64] y) { y = Neg (x) }")
    (step,) = steps(network, {}, keep=("y",))
    ends = [grid.scale * (end - grid.zero_point) for end in (grid.lowest, grid.highest)]
    samples = [{"x": -np.clip(20 * random(1, 64, seed=seed), *ends).astype(np.float32)} for seed in range(2)]
    side = Side(network, samples)
    side.run(step, session_bytes(network, step.nodes, ["y"], grids={"y": grid}))
    for made, sample in zip(side["y"], samples, strict=True):
        assert np.array_equal(made, grid.dequantize(grid.quantize(-sample["x"])))


def test_a_constant_stands_on_its_grid():
    """A constant named among the grids is rounded, others are not."""
    network = model("g (float[1,2] x) => (float[1,2] y) { y = Add (x, c) }", c=np.float32([[0.26, 1.0]]))
    (step,) = steps(network, {}, keep=("y",))
    side = Side(network, [{"x": np.zeros((1, 2), np.float32)}])
    side.run(step, session_bytes(network, step.nodes, ["y"], grids={"c": Grid(0.5, 0)}))
    assert side["y"][0].tolist() == [[0.5, 1.0]]


def test_the_mean_is_over_samples():
    """It has the shape of the tensor."""
    network = model("g (float[2,2] x) => (float[2,2] y) { y = Relu (x) }")
    side = Side(network, [{"x": np.full((2, 2), value, np.float32)} for value in (1, 2, 6)])
    assert side.mean("x").tolist() == [[3, 3], [3, 3]]


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ({"y": random(1, 4, 8, 8)}, "sample 2 has inputs"),
        ({"x": random(1, 4, 8, 9)}, "float32 .1, 4, 8, 9."),
        ({"x": np.zeros((1, 4, 8, 8))}, "float64"),
        ({"x": np.full((1, 4, 8, 8), np.nan, np.float32)}, "tensor 'x' is NaN or infinite for sample 2"),
    ],
)
def test_a_sample_that_does_not_fit_is_named(sample, said):
    """Wrong names, shapes, dtypes and NaN are told with the number of the sample."""
    with pytest.raises(ToolError, match=said):
        Side(BUSY, [{"x": random(1, 4, 8, 8)}, sample])


def test_a_tensor_that_explodes_is_named():
    """The first tensor that is infinite is named with its operator, not one that is made from it."""
    network = model("g (float[1,2] x) => (float[1,2] y) { a = Exp (x) b = Exp (a) y = Tanh (b) }")
    with pytest.raises(ToolError, match="tensor 'b' is NaN or infinite for sample 2") as caught:
        walked(network, [{"x": np.float32([[0, 1]])}, {"x": np.float32([[0, 9]])}])
    assert caught.value.where == "Exp -> 'b'"


def test_huge_but_finite_tensors_pass():
    """The quick test sums squares, which overflow for 1e30; the slow one then knows better."""
    network = model("g (float[1,2] x) => (float[1,2] y) { y = Neg (x) }")
    side, _ = walked(network, [{"x": np.float32([[1e30, -1e30]])}], keep=("y",))
    assert side["y"][0].tolist() == [[np.float32(-1e30), np.float32(1e30)]]


@given(st.integers(1, 500), st.integers(1, 500))
def test_chosen_samples_are_spread(count, most):
    """No more than asked for, ascending, none twice, from first to last, gaps that differ by one at most."""
    chosen = evenly(count, most)
    assert len(chosen) == min(count, most)
    assert chosen[0] == 0
    if len(chosen) > 1:
        gaps = np.diff(chosen)
        assert chosen[-1] == count - 1
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1


def test_cosine_of_zeros():
    """Two tensors of zeros are alike, a tensor and zeros are not."""
    zeros, ones = [np.zeros(3, np.float32)], [np.ones(3, np.float32)]
    assert (cosine(zeros, zeros), cosine(zeros, ones), cosine(ones, ones)) == (1, 0, pytest.approx(1))


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_cosine_of_any_size(scale):
    """Squares that float32 cannot hold make neither NaN nor a likeness."""
    first = [np.array([1, 0], np.float32) * np.float32(scale)]
    second = [np.array([1, 1], np.float32) * np.float32(scale)]
    assert cosine(first, first) == pytest.approx(1)
    assert cosine(first, second) == pytest.approx(0.5**0.5)
