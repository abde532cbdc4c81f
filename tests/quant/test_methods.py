"""Facts about the four calibration methods: what they keep, and that the models they make run."""

from __future__ import annotations

from typing import get_args

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workbench.engine.progress import Silent
from workbench.graph import io
from workbench.quant import scheme
from workbench.quant.histogram import Histogram
from workbench.quant.methods import Method, choose, choose_range, mean_square_error
from workbench.quant.observe import observe_histograms
from workbench.quant.qdq import write_qdq
from workbench.quant.ranges import Range
from workbench.recipe.schema import Quantization
from workbench.runtimes.onnxruntime import OnnxRunner

METHODS = get_args(Method)
FLOATS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(-4, 4, width=32),
    st.sampled_from([0.0, 1e-30, -1e-30, 1e-45, 1e30, -1e30, 3.4e38, 6.0]),
)
VALUES = arrays.arrays(np.float32, st.integers(1, 60), elements=FLOATS)
ORDINARY = arrays.arrays(np.float32, st.integers(1, 300), elements=st.floats(-100, 100, width=32))


def told(values):
    """Histogram and extremes of `values`."""
    return Histogram.of(values), Range(float(values.min()), float(values.max()))


def laplace(count=100_000, seed=0):
    """Long tails on both sides, as activations have them."""
    return np.random.default_rng(seed).laplace(0.3, 1, count).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@given(values=VALUES)
@settings(deadline=None)
def test_ranges_hold_0_and_stay_within_the_values(method, values):
    """Any finite values, from 1e-45 to 3e38, give a range between the extremes stretched to 0, with 0 inside."""
    histogram, span = told(values)
    found = choose_range(histogram, span, method)
    assert min(span.low, 0.0) <= found.low <= 0.0 <= found.high <= max(span.high, 0.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 1e-30, -1e-30, 1.7, -6.0, 1e30, -1e30])
def test_a_constant_keeps_its_range(method, value):
    """A tensor of one value is held from 0 to that value: clipping could only lose it."""
    histogram, span = told(np.full(1000, value, np.float32))
    assert choose_range(histogram, span, method) == Range(min(span.low, 0.0), max(span.high, 0.0))


def test_minmax_is_exact():
    """MinMax is the extremes, not the edges of bins."""
    values = laplace()
    assert choose_range(*told(values), "MinMax") == Range(float(values.min()), float(values.max()))


@given(values=ORDINARY, percentile=st.floats(0, 100))
@settings(deadline=None)
def test_percentile_is_numpys_within_a_bin(values, percentile):
    """Each end is the order statistic of the full data, as numpy finds it, within the width of a bin."""
    histogram, span = told(values)
    found = choose_range(histogram, span, "Percentile", percentile=percentile)
    left_out = min(int(round(values.size * (100 - percentile) / 200, 3)), (values.size - 1) // 2)
    ordered = np.sort(values.astype(np.float64))
    low, high = ordered[left_out], ordered[-1 - left_out]
    assert 0 <= min(low, 0.0) - found.low <= histogram.width
    assert 0 <= found.high - max(high, 0.0) <= histogram.width


@pytest.mark.parametrize("percentile", [90, 99, 99.9, 99.99])
def test_percentile_on_many_values(percentile):
    """100,000 values: numpy's quantiles of the full data, within the width of a bin."""
    values = laplace()
    histogram, span = told(values)
    found = choose_range(histogram, span, "Percentile", percentile=percentile)
    tail = (100 - percentile) / 200
    assert found.low == pytest.approx(np.quantile(values, tail), abs=1.01 * histogram.width)
    assert found.high == pytest.approx(np.quantile(values, 1 - tail), abs=1.01 * histogram.width)


def test_percentile_100_is_minmax():
    """Leaving nothing out leaves the exact extremes."""
    values = laplace()
    assert choose_range(*told(values), "Percentile", percentile=100) == choose_range(*told(values), "MinMax")


def measured(values, span):
    """Mean square error of the real values on the grid of `span`."""
    grid = scheme.activation_grid(span)
    return float(np.mean((grid.dequantize(grid.quantize(values)).astype(np.float64) - values) ** 2))


@given(values=VALUES)
@settings(deadline=None)
def test_mse_is_never_worse_than_minmax(values):
    """By the error it minimizes, the range of MSE is at most as bad as that of MinMax."""
    histogram, span = told(values)
    mse, full = (
        mean_square_error(histogram, span, scheme.activation_grid(choose_range(histogram, span, method)))
        for method in ("MSE", "MinMax")
    )
    assert mse <= full


@pytest.mark.parametrize("values", [laplace(), np.maximum(laplace(), 0), np.clip(3 * laplace(), 0, 6), laplace(500)])
def test_mse_foresees_the_measured_error(values):
    """The error of the real values is what the histogram says, and MSE is not worse than MinMax by it."""
    histogram, span = told(values)
    found = choose_range(histogram, span, "MSE")
    foreseen = mean_square_error(histogram, span, scheme.activation_grid(found))
    assert measured(values, found) == pytest.approx(foreseen, rel=0.1)
    assert measured(values, found) <= measured(values, choose_range(histogram, span, "MinMax"))


@pytest.mark.parametrize("method", ["Percentile", "MSE", "KL"])
def test_an_outlier_is_clipped(method):
    """One value three times as far as all others is left out, and the bulk is held."""
    values = np.append(np.random.default_rng(0).normal(0, 1, 100_000).clip(-3, 3), 9).astype(np.float32)
    found = choose_range(*told(values), method)
    assert 2.0 < found.high < 8.0
    assert -3.0 <= found.low < -2.0


def test_zeros_after_a_relu_do_not_decide():
    """Exact zeros are on every grid: adding a million of them changes neither MSE nor KL."""
    values = np.abs(laplace())
    more = np.append(values, np.zeros(1_000_000, np.float32))
    for method in ("MSE", "KL"):
        assert choose_range(*told(more), method) == choose_range(*told(values), method)


NETWORK = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,8,8] x) => (float[1,2,8,8] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = Relu (a)
    c = Sigmoid (b)
    d = Concat <axis = 1> (b, c)
    y = Conv (d, v)
}"""


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_model_that_runs(method):
    """The quantized model loads, runs and follows the float one, whatever method chose its ranges."""
    rng = np.random.default_rng(3)
    proto = onnx.parser.parse_model(NETWORK)
    for name, shape in (("w", (4, 3, 3, 3)), ("v", (2, 8, 1, 1))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(0, 0.3, shape).astype("f4"), name))
    model = proto.SerializeToString()
    feeds = [{"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(6)]
    ranges = choose(observe_histograms(model, feeds[:4], progress=Silent()), method, percentile=99.0)
    assert ranges.samples == 4
    quantized = io.to_bytes(write_qdq(io.from_bytes(model), ranges))
    with OnnxRunner(model) as runner, OnnxRunner(quantized) as other:
        for feed in feeds[4:]:
            ours, theirs = runner.run(feed)["y"].ravel(), other.run(feed)["y"].ravel()
            assert np.dot(ours, theirs) / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("inputs", "weights"), [(0, 1), (1e-38, 1), (1e-30, 1), (1e30, 1), (1, 0), (1, 1e-30), (1, 1e30), (1, "dead")]
)
def test_extreme_networks_are_held(method, inputs, weights):
    """Constant tensors, a dead channel and ranges of 1e-38 to 1e30 give models that run and follow the float one."""
    rng = np.random.default_rng(3)
    proto = onnx.parser.parse_model(NETWORK)
    first = rng.normal(0, 0.3, (4, 3, 3, 3))
    if weights == "dead":
        first[1] = 0
    else:
        first *= weights
    for name, values in (("w", first), ("v", rng.normal(0, 0.3, (2, 8, 1, 1)))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values.astype("f4"), name))
    model = proto.SerializeToString()
    feeds = [{"x": (inputs * rng.standard_normal((1, 3, 8, 8))).astype(np.float32)} for _ in range(2)]
    seen = observe_histograms(model, feeds, progress=Silent())
    quantized = io.to_bytes(write_qdq(io.from_bytes(model), choose(seen, method)))
    with OnnxRunner(model) as runner, OnnxRunner(quantized) as other:
        ours, theirs = (one.run(feeds[0])["y"].ravel().astype(np.float64) for one in (runner, other))
    assert np.dot(ours, theirs) / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99


def test_a_recipe_may_name_every_method():
    """The schema knows the methods that there are."""
    assert get_args(Quantization.model_fields["method"].annotation) == METHODS
