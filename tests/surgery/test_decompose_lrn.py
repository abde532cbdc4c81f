"""What the contract cannot know about `decompose_lrn`."""

import numpy as np
import pytest
from _chips import blocked
from _surgery import graph, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import io
from workbench.surgery.decompose_lrn import DecomposeLrn


def lrn(options: str, dims: str = "1,6,3,4", opset: int = 17):
    """One LRN."""
    return graph(f"(float[{dims}] x) => (float[{dims}] y) {{ y = LRN<{options}>(x) }}", opset)


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 9),
    size=st.sampled_from([1, 3, 5, 7, 11]),
    alpha=st.sampled_from([1e-4, 0.3, 2.0]),
    beta=st.sampled_from([0.75, 0.5, 1.0, 0.6, 2.0]),
    bias=st.sampled_from([1.0, 2.0, 0.1]),
    opset=st.sampled_from([13, 17, 22]),
    rows=st.integers(1, 4),
)
def test_every_window_is_the_same_normalization(channels, size, alpha, beta, bias, opset, rows):
    """Windows smaller and larger than the channels, the usual exponents and others, over big and small numbers."""
    dims = f"2,{channels},{rows},3"
    model = lrn(f"size = {size}, alpha = {alpha}, beta = {beta}, bias = {bias}", dims, opset)
    x = random(2, channels, rows, 3, low=-30, high=30)
    before = run(model, {"x": x})["y"]
    edits = DecomposeLrn()(model)
    assert len(edits.changed) == 1
    after = run(model, {"x": x})["y"]
    squares = np.square(x.astype(np.float64))
    sums = [squares[:, max(c - size // 2, 0) : c + size // 2 + 1].sum(1) for c in range(channels)]
    np.testing.assert_allclose(after, x / (bias + alpha / size * np.stack(sums, 1)) ** beta, rtol=3e-6, atol=1e-7)
    # onnxruntime moves its window by adding one square and taking another away, which costs it digits.
    np.testing.assert_allclose(after, before, rtol=2e-3, atol=1e-6)
    assert blocked(model) == []


def test_an_even_window_follows_the_operator_reference():
    """ONNX puts the odd channel of an even window behind; onnxruntime takes odd windows only."""
    model = lrn("size = 4, alpha = 1.0, beta = 0.5, bias = 1.0", "1,5,1,1")
    DecomposeLrn()(model)
    x = np.array([1, 2, 3, 4, 5], np.float32).reshape(1, 5, 1, 1)
    squares = [1 + 4 + 9, 1 + 4 + 9 + 16, 4 + 9 + 16 + 25, 9 + 16 + 25, 16 + 25]
    expected = x.reshape(-1) / np.sqrt(1 + np.array(squares) / 4)
    np.testing.assert_allclose(run(model, {"x": x})["y"].reshape(-1), expected, rtol=1e-6)


def test_the_account_names_the_nodes():
    """The usual LRN of AlexNet is six nodes, all attributes of the convolution written out."""
    model = lrn("size = 5, alpha = 0.0001, beta = 0.75, bias = 2.0")
    edits = operate(model, DecomposeLrn()).log[0][1]
    assert edits.changed == ("LRN -> 'y': spelled out as 2 Mul, Conv, 2 Sqrt, Div",)
    assert edits.left == ()
    conv = next(node for node in model.graph if node.op_type == "Conv")
    assert set(conv.attributes) == {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}


def test_another_beta_stays_a_power():
    """An exponent that is no quarter is a Pow by a scalar initializer."""
    model = lrn("size = 3, beta = 0.7")
    operate(model, DecomposeLrn())
    assert operators(model) == ["Mul", "Conv", "Pow", "Div"]


def test_other_sizes_may_be_open():
    """The convolution needs the number of channels only."""
    model = lrn("size = 3", "N,4,H,3")
    DecomposeLrn()(model)
    assert "LRN" not in operators(model)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lrn("size = 3", "1,C,3,3"), "LRN -> 'y': the number of its channels is not static"),
        (lrn("size = 0", "1,4,3,3"), "LRN -> 'y': its window has 0 channels"),
        (lrn("size = 3", "1,4"), "LRN -> 'y': a convolution takes no tensor of 2 axes"),
        (lrn("size = 3", "1,8192,1,1"), "LRN -> 'y': a band over 8192 channels would be a constant of 256 MiB"),
        (
            graph("(double[1,4,3,3] x) => (double[1,4,3,3] y) { y = LRN<size = 3>(x) }"),
            "LRN -> 'y': its input is DOUBLE, not float32",
        ),
    ],
)
def test_what_a_convolution_cannot_take_is_left(model, reason):
    """Open or too many channels, no spatial axes, another type."""
    before = io.to_bytes(model)
    edits = DecomposeLrn()(model)
    assert edits.left == (reason,)
    assert io.to_bytes(model) == before
