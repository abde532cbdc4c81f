"""What the contract cannot know about `fold_batchnorm`."""

import numpy as np
import pytest
from _surgery import graph, operate, operators, random

from workbench.surgery.fold_batchnorm import FoldBatchnorm


def normalization(channels: int) -> dict[str, np.ndarray]:
    """Parameters g, b, m, v of a BatchNormalization."""
    return {
        "g": random(channels, seed=11, low=-1.5, high=1.5),
        "b": random(channels, seed=12),
        "m": random(channels, seed=13),
        "v": random(channels, seed=14, low=0.2, high=3),
    }


def layer(nodes: str, channels: int = 4, inputs: str = "float[1,4,5,5] x", **weights):
    """A graph of `nodes` ending in y; `end` is normalized when a node says so."""
    return graph(f"({inputs}) => (float[i,j,m_,n] y) {{ {nodes} }}", **normalization(channels), **weights)


NORM = "y = BatchNormalization(c, g, b, m, v)"


@pytest.mark.parametrize(
    ("nodes", "channels", "weights"),
    [
        ("c = Conv(x, k)", 6, {"k": random(6, 4, 3, 3)}),
        ("c = Conv(x, k, a)", 6, {"k": random(6, 4, 3, 3), "a": random(6)}),
        ("c = Conv<group = 4>(x, k)", 4, {"k": random(4, 1, 3, 3)}),
        ("c = Conv<group = 2>(x, k, a)", 6, {"k": random(6, 2, 3, 3), "a": random(6)}),
        ("c = ConvTranspose<strides = [2, 2]>(x, k)", 3, {"k": random(4, 3, 2, 2)}),
        ("c = ConvTranspose<group = 2>(x, k, a)", 6, {"k": random(4, 3, 2, 2), "a": random(6)}),
        ("c = ConvTranspose<group = 4>(x, k)", 4, {"k": random(4, 1, 3, 3)}),
    ],
)
def test_every_kind_of_convolution(nodes, channels, weights):
    """Plain, grouped, depthwise and transposed, with bias and without: one convolution is left."""
    model = layer(f"{nodes} {NORM}", channels, **weights)
    operate(model, FoldBatchnorm())
    assert len(operators(model)) == 1
    assert set(model.graph.initializers) == {"k", "a" if "a" in weights else "k.bias"}


@pytest.mark.parametrize(
    ("gemm", "weights"),
    [
        ("Gemm(x, k)", {"k": random(4, 3)}),
        ("Gemm<transB = 1>(x, k, a)", {"k": random(3, 4), "a": random(3)}),
        ("Gemm<alpha = 0.5, beta = 2.0>(x, k, a)", {"k": random(4, 3), "a": random(1, 3)}),
        ("Gemm<beta = 3.0>(x, k, a)", {"k": random(4, 3), "a": random(2, 1)}),
        ("Gemm<beta = 3.0>(x, k, a)", {"k": random(4, 3), "a": np.float32(0.5)}),
    ],
)
def test_every_form_of_gemm(gemm, weights):
    """alpha, beta, a transposed matrix and every shape of bias are seen through."""
    text = f"(float[2,4] x) => (float[2,3] y) {{ c = {gemm} {NORM} }}"
    model = graph(text, **normalization(3), **weights)
    operate(model, FoldBatchnorm())
    assert operators(model) == ["Gemm"]


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ("d = Mul(c, s) y = Add(d, t)", {"s": random(1, 4, 1, 1), "t": random(4, 1, 1, seed=1)}),
        ("y = Sub(t, c)", {"t": random(1, 4, 1, 1)}),
        ("y = Mul(s, c)", {"s": np.float32(-0.5)}),
        ("d = Sub(c, t) y = Div(d, s)", {"s": random(4, 1, 1, low=0.5), "t": random(1, 1, 1, 1)}),
        ("d = Mul(c, s) e = BatchNormalization(d, g, b, m, v) y = Add(e, s)", {"s": random(1, 4, 1, 1)}),
    ],
)
def test_arithmetic_per_channel_is_the_same_thing(nodes, constants):
    """Exporters that take a normalization apart leave Mul and Add; a whole chain is folded at once."""
    model = layer(f"c = Conv(x, k) {nodes}", k=random(4, 4, 3, 3), **constants)
    operate(model, FoldBatchnorm())
    assert operators(model) == ["Conv"]
    assert [value.name for value in model.graph.outputs] == ["y"]


@pytest.mark.parametrize(
    "nodes",
    [
        "y = Add(c, t)",  # one value a column is not one a channel
        "y = Div(t, c)",
        "y = Add(c, c)",
        "d = Relu(c) y = Mul(d, s)",
    ],
)
def test_other_arithmetic_stays(nodes):
    """What is not a scale and a shift per channel is not touched, and needs no mention."""
    model = layer(f"c = Conv(x, k) {nodes}", k=random(4, 4, 3, 3), t=random(1, 1, 1, 3, low=1), s=np.float32(2))
    edits = FoldBatchnorm()(model)
    assert not edits
    assert edits.left == ()


def test_a_result_that_is_read_twice_stays():
    """The plain result is still wanted, so both tensors are."""
    model = layer(f"c = Conv(x, k) n = {NORM[4:]} y = Add(n, c)", k=random(4, 4, 1, 1))
    edits = FoldBatchnorm()(model)
    assert edits.left == ("BatchNormalization -> 'n': 'c' is also read by Add -> 'y'",)


def test_a_result_that_is_an_output_stays():
    """A graph output keeps its numbers."""
    model = graph(
        f"(float[1,4,5,5] x) => (float[1,4,5,5] c, float[1,4,5,5] y) {{ c = Conv(x, k) {NORM} }}",
        **normalization(4),
        k=random(4, 4, 1, 1),
    )
    edits = FoldBatchnorm()(model)
    assert edits.left == ("BatchNormalization -> 'y': 'c' is also read by the graph's output",)


def test_shared_weights_stay():
    """Weights that another layer uses cannot be scaled for one of them."""
    model = layer(f"h = Conv(x, k) c = Conv(h, k) {NORM}", k=random(4, 4, 1, 1))
    edits = FoldBatchnorm()(model)
    assert edits.left == ("BatchNormalization -> 'y': Conv -> 'c' shares its weights 'k' with Conv -> 'h'",)


def test_a_shared_bias_is_copied():
    """Exporters store equal biases once; the layer gets its own, and the others keep theirs."""
    model = layer(
        f"h = Conv(x, k, a) r = Relu(h) c = Conv(r, l, a) {NORM}",
        k=random(4, 4, 1, 1),
        l=random(4, 4, 1, 1),
        a=random(4),
    )
    operate(model, FoldBatchnorm())
    np.testing.assert_array_equal(model.graph.initializers["a"].const_value.numpy(), random(4))
    assert "l.bias" in model.graph.initializers


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (f"p = Conv(x, h) c = Concat<axis = 1>(p, p) {NORM}", "it follows Concat -> 'c', not a convolution or Gemm"),
        ("y = BatchNormalization(x, g, b, m, v)", "it follows input 'x', not a convolution or Gemm"),
        (f"n = Neg(k) c = Conv(x, n) {NORM}", "it follows Conv -> 'c', not a convolution or Gemm"),
        (f"n = Neg(g) c = Conv(x, k, n) {NORM}", "Conv -> 'c' has a bias that is computed at run time"),
        (
            "n = Neg(g) c = Conv(x, k) y = BatchNormalization(c, n, b, m, v)",
            "its parameters are not constants, one a channel",
        ),
        ("c = Conv(x, k) y, s, t = BatchNormalization<training_mode = 1>(c, g, b, m, v)", "it is in training mode"),
        ("c = Conv(x, k) y = BatchNormalization(c, g, b, m, w)", "its variance is not positive"),
    ],
)
def test_normalizations_that_stay_say_why(nodes, reason):
    """Each one left is named with what is in the way."""
    model = layer(nodes, k=random(4, 4, 1, 1), h=random(2, 4, 1, 1), w=np.float32([1, 1, -1, 1]))
    edits = FoldBatchnorm()(model)
    assert not edits
    assert any(line == f"BatchNormalization -> 'y': {reason}" for line in edits.left), edits.left


def test_a_division_by_zero_is_not_baked_into_weights():
    """What gives infinities at run time keeps doing so there."""
    model = layer("c = Conv(x, k) y = Div(c, z)", k=random(4, 4, 1, 1), z=np.float32(0))
    assert FoldBatchnorm()(model).left == ("Div -> 'y': it divides by zero",)


def test_double_precision_between_the_steps():
    """A chain that shrinks and grows again by a factor of 1e30 loses nothing on the way."""
    model = layer(
        "c = Conv(x, k) d = Mul(c, small) y = Mul(d, large)",
        k=random(4, 4, 1, 1),
        small=np.float32(1e-30),
        large=np.float32(1e30),
    )
    kernel = model.graph.initializers["k"].const_value.numpy().copy()
    operate(model, FoldBatchnorm())
    np.testing.assert_allclose(model.graph.initializers["k"].const_value.numpy(), kernel, rtol=1e-6)
