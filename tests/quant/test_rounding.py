"""Facts about choosing up or down for each weight."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import io
from workbench.quant import rounding
from workbench.runtimes.onnxruntime import OnnxRunner


def problem(seed, groups, rows, columns, rank):
    """Weights, their scales, moments of strongly correlated inputs, and the extremes."""
    random = np.random.default_rng(seed)
    weights = random.standard_normal((groups, rows, columns)) * random.uniform(0.01, 10, (groups, rows, 1))
    inputs = random.standard_normal((groups, columns, rank)) @ random.standard_normal((groups, rank, 200))
    inputs += 0.05 * random.standard_normal(inputs.shape)
    scales = np.abs(weights).max(axis=2) / 127
    second = inputs @ inputs.swapaxes(1, 2) / 200
    steps = rounding.nearest(weights, scales)
    kept = np.stack([rounding.extremes(group, 0) for group in steps])
    return weights, scales, second, kept


sizes = st.tuples(st.integers(0, 9999), st.integers(1, 4), st.integers(1, 5), st.integers(1, 80), st.integers(1, 4))


@settings(max_examples=40, deadline=None)
@given(sizes)
def test_no_output_gets_worse(size):
    """Every row's error on the moments is at most that of the nearest weights, and all are whole within +-127."""
    weights, scales, second, kept = problem(*size)
    chosen = rounding.optimal(weights, scales, second, kept)
    near = rounding.nearest(weights, scales)
    before, after = (rounding.errors(weights, steps, scales, second) for steps in (near, chosen))
    assert (after <= before).all()
    assert np.array_equal(chosen, np.rint(chosen))
    assert np.abs(chosen).max() <= 127
    assert np.array_equal(chosen[kept], near[kept])
    assert (np.abs(chosen).max(axis=2) == 127).all()


def test_correlated_inputs_gain_much():
    """Where a few directions carry the inputs, the error falls to less than a quarter."""
    weights, scales, second, kept = problem(1, 2, 8, 96, 3)
    chosen = rounding.optimal(weights, scales, second, kept)
    near = rounding.nearest(weights, scales)
    before, after = (rounding.errors(weights, steps, scales, second).sum() for steps in (near, chosen))
    assert after < before / 4


def test_the_recursion_is_optimal_brain_compression():
    """Column after column, the weights left take the change that undoes most of the error, by the plain formula."""
    weights, scales, second, kept = problem(5, 1, 3, 70, 6)
    damped = second[0] + 0.01 * np.diag(second[0]).mean() * np.eye(70)
    order = list(np.argsort(-np.diag(damped), kind="stable"))
    left, expected = weights[0].copy(), np.empty((3, 70))
    for place, column in enumerate(order):
        steps = np.clip(np.rint(left[:, column] / scales[0]), -127, 127)
        steps = np.where(kept[0, :, column], rounding.nearest(weights, scales)[0, :, column], steps)
        expected[:, column] = steps
        rest = order[place:]
        inverse = np.linalg.inv(damped[np.ix_(rest, rest)])
        error = (left[:, column] - steps * scales[0]) / inverse[0, 0]
        left[:, rest] -= error[:, None] * inverse[0]
    chosen = rounding.optimal(weights, scales, second, kept)[0]
    assert np.array_equal(chosen, expected)


@pytest.mark.parametrize("second", [np.zeros((1, 4, 4)), np.full((1, 4, 4), 1e-300), np.full((1, 4, 4), 1e300)])
def test_useless_moments_leave_the_nearest(second):
    """Inputs that are always zero, and ones beyond reason, round to the nearest."""
    weights = np.linspace(-1, 1, 12).reshape(1, 3, 4)
    scales = np.abs(weights).max(axis=2) / 127
    kept = np.zeros(weights.shape, bool)
    chosen = rounding.optimal(weights, scales, second, kept)
    assert np.abs(chosen - weights / scales[:, :, None]).max() <= 4
    if not second.any():
        assert np.array_equal(chosen, rounding.nearest(weights, scales))


def test_a_channel_of_zeros_stays():
    """Rows without weights have nothing to choose."""
    weights = np.zeros((1, 2, 5))
    chosen = rounding.optimal(weights, np.ones((1, 2)), np.eye(5)[None], np.zeros(weights.shape, bool))
    assert not chosen.any()


def test_one_extreme_a_channel_is_kept():
    """The first weight at +-127 along any axis; a channel that does not reach it has none."""
    steps = np.array([[127.0, -127, 3], [5, 6, 126]])
    assert rounding.extremes(steps, 0).tolist() == [[True, False, False], [False, False, False]]
    assert rounding.extremes(steps, 1).tolist() == [[True, True, False], [False, False, False]]


LAYERS = {
    "plain": ("float[2,4,9,8]", "Conv <pads = [1,2,0,1], strides = [2,1]>", (6, 4, 3, 3)),
    "dilated": ("float[1,4,9,8]", "Conv <dilations = [2,3]>", (5, 4, 2, 2)),
    "depthwise": ("float[1,4,9,8]", "Conv <group = 4, pads = [1,1,1,1]>", (4, 1, 3, 3)),
    "grouped": ("float[1,4,9,8]", "Conv <group = 2, strides = [1,2]>", (6, 2, 1, 3)),
    "line": ("float[1,4,9]", "Conv <pads = [2,0]>", (3, 4, 5)),
    "transposed": ("float[2,4,5,6]", "ConvTranspose <strides = [2,3], pads = [1,0,0,1]>", (4, 3, 3, 4)),
    "transposed far": (
        "float[1,4,5,6]",
        "ConvTranspose <strides = [2,2], dilations = [2,1], output_padding = [1,0], pads = [3,2,2,3], group = 2>",
        (4, 3, 3, 2),
    ),
    "gemm": ("float[3,7]", "Gemm", (7, 5)),
    "gemm turned": ("float[7,3]", "Gemm <transA = 1, transB = 1>", (5, 7)),
    "matmul": ("float[2,3,7]", "MatMul", (7, 5)),
}


def layer(name):
    """A graph of one layer, its node, its weight and an input."""
    kind, call, shape = LAYERS[name]
    random = np.random.default_rng(3)
    weights = random.standard_normal(shape).astype(np.float32)
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({kind} x) => (float y) {{ y = {call} (x, w) }}'
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    network = ir.serde.deserialize_model(proto)
    data = random.standard_normal(network.graph.inputs[0].shape.numpy()).astype(np.float32)
    return network, network.graph[0], weights, data


@pytest.mark.parametrize("name", LAYERS)
def test_moments_know_the_output(name):
    """The mean square of each output channel follows from moments and weights: the columns are those of the layer."""
    network, node, weights, data = layer(name)
    with OnnxRunner(io.to_bytes(network)) as runner:
        made = runner.run({"x": data})["y"]
    axis = 1 if node.op_type != "MatMul" else made.ndim - 1
    others = tuple(index for index in range(made.ndim) if index != axis)
    moments = rounding.Moments(node, weights.shape, wanted=10**6, samples=1)
    moments.add(data)
    rows = rounding.to_rows(node, weights).astype(np.float64)
    size = rounding.errors(rows, np.zeros_like(rows), np.ones(rows.shape[:2]), moments.second(centred=False))
    np.testing.assert_allclose(size.ravel(), np.square(made.astype(np.float64)).mean(axis=others), rtol=1e-4)
    size = rounding.errors(rows, np.zeros_like(rows), np.ones(rows.shape[:2]), moments.second(centred=True))
    np.testing.assert_allclose(size.ravel(), made.astype(np.float64).var(axis=others), rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_rows_come_back(name):
    """Weights survive the way to rows and back."""
    _, node, weights, _ = layer(name)
    assert np.array_equal(rounding.from_rows(node, rounding.to_rows(node, weights), weights.shape), weights)


def test_few_positions_stand_for_all():
    """Drawn positions give moments near those of all, and the same ones on every run."""
    _, node, weights, _ = layer("plain")
    data = np.random.default_rng(0).standard_normal((1, 4, 80, 80)).astype(np.float32)
    found = []
    for wanted in (10**6, 1000, 1000):
        moments = rounding.Moments(node, weights.shape, wanted=wanted, samples=1)
        moments.add(data)
        found.append(moments.second(centred=True))
    assert np.abs(found[0] - found[1]).max() < 0.2
    assert np.array_equal(found[1], found[2])


@pytest.mark.parametrize("unit", [1e-25, 1e25])
def test_extreme_inputs_keep_their_moments(unit):
    """Products beyond float32 are gathered all the same."""
    _, node, weights, data = layer("matmul")
    plain, scaled = (rounding.Moments(node, weights.shape, wanted=99, samples=1) for _ in range(2))
    plain.add(data)
    scaled.add(data * np.float32(unit))
    np.testing.assert_allclose(scaled.second(centred=True), plain.second(centred=True) * unit**2, rtol=1e-5)


def test_what_cannot_be_chosen_says_why():
    """Stacked matrices and automatic padding are left to the nearest."""
    assert rounding.declines(layer("matmul")[1], 3) == "its weight is a stack of matrices"
    node = ir.node("Conv", [], {"auto_pad": "SAME_UPPER"})
    assert rounding.declines(node, 4) == "its padding is automatic"
    assert "output_shape" in rounding.declines(ir.node("ConvTranspose", [], {"output_shape": [4, 4]}), 4)
    assert not rounding.declines(layer("transposed")[1], 4)
