"""What the contract cannot know about `conv_transpose_limits`."""

import numpy as np
import pytest
from _chips import blocked
from _surgery import graph, node, operate, random, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workbench.graph import attributes, io
from workbench.surgery.conv_transpose_limits import ConvTransposeLimits


def layer(options: str, kernel=(3, 3), size=(4, 5), group: int = 1, bias: bool = True, opset: int = 17):
    """One transposed convolution from two channels to four."""
    weights = {"k": random(2, 4 // group, *kernel), **({"a": random(4)} if bias else {})}
    return graph(
        f"(float[1,2,{size[0]},{size[1]}] x) => (float[p,q,r,s] y) {{"
        f" y = ConvTranspose<group = {group}, {options}>(x, {', '.join(weights)}) }}",
        opset,
        **weights,
    )


def both(numbers) -> str:
    """A list in ONNX's text form."""
    return f"[{', '.join(map(str, numbers))}]"


@settings(max_examples=50, deadline=None)
@given(data=st.data(), opset=st.sampled_from([13, 17, 22]), group=st.sampled_from([1, 2]), bias=st.booleans())
def test_every_layer_keeps_its_numbers(data, opset, group, bias):
    """Over kernels, strides, dilations, pads and output_padding of both axes: every cell stays, the bare ones too."""
    pair = lambda low, high: tuple(data.draw(st.integers(low, high)) for _ in range(2))  # noqa: E731
    kernel, strides, dilations, begin, end = pair(1, 3), pair(1, 3), pair(1, 3), pair(0, 2), pair(0, 2)
    extra = tuple(data.draw(st.integers(0, stride - 1)) for stride in strides)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    lengths = [
        s * (n - 1) + o + k - b - e for n, s, o, k, b, e in zip((4, 5), strides, extra, spans, begin, end, strict=True)
    ]
    assume(min(lengths) > 0)
    model = layer(
        f"strides = {both(strides)}, dilations = {both(dilations)}, pads = {both((*begin, *end))},"
        f" output_padding = {both(extra)}",
        kernel,
        group=group,
        bias=bias,
        opset=opset,
    )
    x = random(1, 2, 4, 5)
    before = run(model, {"x": x})["y"]
    ConvTransposeLimits()(model)
    after = run(model, {"x": x})["y"]
    assert list(after.shape[2:]) == lengths
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
    assert blocked(model) == []


@settings(max_examples=30, deadline=None)
@given(data=st.data(), mode=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER"]), opset=st.sampled_from([13, 22]))
def test_every_output_shape_becomes_the_pads_onnxruntime_uses(data, mode, opset):
    """From the full length down, for each rule of the odd pixel."""
    strides, kernel = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))), (3, data.draw(st.integers(1, 4)))
    full = [s * (n - 1) + k for n, s, k in zip((4, 5), strides, kernel, strict=True)]
    # ONNX infers nonsense for an output_shape below the input's size, and no decoder has one.
    wanted = [data.draw(st.integers(max(n, length - 4), length)) for n, length in zip((4, 5), full, strict=True)]
    rule = "" if mode == "NOTSET" else f', auto_pad = "{mode}"'
    model = layer(f"strides = {both(strides)}, output_shape = {both(wanted)}{rule}", kernel, opset=opset)
    x = random(1, 2, 4, 5)
    before = run(model, {"x": x})["y"]
    assert ConvTransposeLimits()(model)
    after = run(model, {"x": x})["y"]
    assert list(after.shape[2:]) == wanted
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
    assert blocked(model) == []


def test_the_account_says_what_became_of_the_kernel():
    """Both rewrites of the weights are told, and the options are written out."""
    model = layer("strides = [2, 2], dilations = [2, 1], output_padding = [1, 1], pads = [1, 1, 1, 0]")
    edits = operate(model, ConvTransposeLimits()).log[0][1]
    assert edits.changed == (
        "ConvTranspose -> 'y': dilations [2, 1] are zeros in its kernel, now [5, 3],"
        " output_padding [1, 1] is zeros at the end of its kernel, now [5, 4]",
    )
    made = node(model, "y")
    assert attributes.integers(made, "pads", ()) == (1, 1, 1, 0)
    assert attributes.integers(made, "output_padding", ()) == (1, 0)
    assert attributes.integers(made, "kernel_shape", ()) == (5, 4)


def test_output_padding_within_the_pads_stays():
    """The usual decoder, kernel 3, stride 2, pads 1, output_padding 1, is what the chips take."""
    model = layer("strides = [2, 2], output_padding = [1, 1], pads = [1, 1, 1, 1]")
    before = io.to_bytes(model)
    edits = ConvTransposeLimits()(model)
    assert not edits
    assert edits.left == ()
    assert io.to_bytes(model) == before


def test_weights_of_others_stay():
    """Weights that two layers read are copied for the one that is widened."""
    model = graph(
        "(float[1,2,3,3] x) => (float[1,2,6,6] y, float[1,2,5,5] z) {"
        " y = ConvTranspose<strides = [2, 2], output_padding = [1, 1]>(x, k)"
        " z = ConvTranspose<strides = [2, 2]>(x, k) }",
        k=random(2, 2, 1, 1),
    )
    operate(model, ConvTransposeLimits())
    assert set(model.graph.initializers) == {"k", "k_wide"}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (layer("output_shape = [9, 9]"), "its output_shape [9, 9] is longer than what its kernel reaches"),
        (
            graph(
                "(float[1,2,4,4] x) => (float[a,b] y) { y = ConvTranspose<output_shape = [2, 2]>(x, k) }",
                k=random(2, 2, 3, 3),
            ),
            "ONNX infers no shape for the output_shape [2, 2], which is less than the input's size",
        ),
        (layer("dilations = [60000, 60000]"), "its kernel would be of 120001 x 120001 cells, most of them zeros"),
        (layer('auto_pad = "SAME_UPPER"'), "auto_pad SAME_UPPER decides its pads; run explicit_padding first"),
        (
            graph(
                "(float[1,2,H,4] x) => (float[1,2,6,6] y) { y = ConvTranspose<output_shape = [6, 6]>(x, k) }",
                k=random(2, 2, 3, 3),
            ),
            "the size of its input or kernel is not static",
        ),
        (
            graph(
                "(float[1,2,4,4] x, float[2,2,1,1] k) => (float[1,2,8,8] y) {"
                " y = ConvTranspose<strides = [2, 2], output_padding = [1, 1]>(x, k) }"
            ),
            "its weights are computed at run time",
        ),
    ],
)
def test_what_is_not_known_is_left(model, reason):
    """Outputs longer than the kernel reaches, rules of padding, open sizes, weights of the run."""
    before = io.to_bytes(model)
    edits = ConvTransposeLimits()(model)
    assert edits.left == (f"ConvTranspose -> 'y': {reason}",)
    assert io.to_bytes(model) == before
