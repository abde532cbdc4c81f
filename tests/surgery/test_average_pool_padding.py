"""What the contract cannot know about `average_pool_padding`."""

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, node, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import attributes, constants
from workbench.surgery import _pool
from workbench.surgery.average_pool_padding import AveragePoolPadding

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True)


def pool(options: str, size: tuple[int, ...] = (6, 7), opset: int = 17) -> ir.Model:
    """One AveragePool over two channels."""
    shape = ",".join(str(extent) for extent in (1, 2, *size))
    out = ",".join("abcde"[: len(size) + 2])
    return graph(f"(float[{shape}] x) => (float[{out}] y) {{ y = AveragePool<{options}>(x) }}", opset=opset)


@st.composite
def windows(draw):
    """One axis: its size, kernel, stride and padding, such that one window fits."""
    kernel = draw(st.integers(1, 5))
    before, after = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1))
    size = draw(st.integers(max(1, kernel - before - after), 12))
    return size, kernel, draw(st.integers(1, 5)), before, after


@PROPERTY
@given(st.lists(windows(), min_size=1, max_size=3), st.booleans(), st.integers(13, 22))
def test_any_padding_averages_the_same(axes, ceil, opset):
    """Over sizes, kernels, strides, padding and rounding, in one to three dimensions, the averages stay."""
    sizes, kernel, strides, before, after = zip(*axes, strict=True)
    options = f"kernel_shape = {list(kernel)}, strides = {list(strides)}, pads = {[*before, *after]}"
    model = pool(f"{options}, ceil_mode = {int(ceil)}", sizes, opset)
    x = random(1, 2, *sizes)
    expected = run(model, {"x": x})["y"]
    edits = AveragePoolPadding()(model)
    if edits.left:
        assert ceil
        assert opset < 22
        assert "which only agree from operator set 22 on" in edits.left[0]
        return
    assert len(edits.changed) == 1
    np.testing.assert_allclose(run(model, {"x": x})["y"], expected, rtol=0, atol=2e-6)
    (first, *_) = model.graph
    assert attributes.integer(first, "count_include_pad", 0) == 1
    assert not AveragePoolPadding()(model)


@pytest.mark.parametrize("opset", range(13, 23))
def test_every_operator_set(opset):
    """From 13, the oldest that passes take, to 22."""
    operate(pool("kernel_shape = [3, 3], pads = [1, 1, 1, 1]", opset=opset), AveragePoolPadding())


def test_without_padding_only_the_attribute_changes():
    """Nothing is padded, so nothing is counted; sizes need not be known."""
    model = graph("(float[n,2,h,w] x) => (float[a,b,c,d] y) { y = AveragePool<kernel_shape = [2, 2]>(x) }")
    edits = AveragePoolPadding()(model)
    assert edits.changed == ("AveragePool -> 'y': counts its padding, of which it has none",)
    assert operators(model) == ["AveragePool"]


def test_padding_that_no_window_reads_only_changes_attributes():
    """A stride may step over the padding; ceil_mode goes, since what it says is in the pads then."""
    model = pool("kernel_shape = [2, 2], strides = [2, 2], pads = [0, 0, 1, 1], ceil_mode = 0", (6, 6))
    assert operate(model, AveragePoolPadding()).log[0][1].changed == (
        "AveragePool -> 'y': counts its padding, which no window reads",
    )
    fits = pool("kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1", (7, 7))
    operate(fits, AveragePoolPadding())
    assert operators(fits) == ["AveragePool"]
    assert attributes.integer(node(fits, "y"), "ceil_mode", 0) == 0


def test_the_map_is_what_a_window_lacks():
    """Nine cells over four in a corner, over six at an edge, one inside."""
    model = pool("kernel_shape = [3, 3], pads = [1, 1, 1, 1]", (3, 4))
    node(model, "y").name = "mean"
    edits = AveragePoolPadding()(model)
    assert edits.changed == ("AveragePool 'mean': counts its padding; a Mul by 1 to 2.25 corrects the 10 windows",)
    assert [(one.op_type, one.name, one.outputs[0].name) for one in model.graph] == [
        ("AveragePool", "mean_counted", "y_counted"),
        ("Mul", "mean", "y"),
    ]
    factors = constants.array(node(model, "y").inputs[1])
    np.testing.assert_array_equal(factors, [[[[2.25, 1.5, 1.5, 2.25], [1.5, 1, 1, 1.5], [2.25, 1.5, 1.5, 2.25]]]])


def test_a_last_window_beyond_the_end_is_padded():
    """ceil_mode lets the last window reach beyond the padding; how that counts is written down."""
    model = pool("kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1", (6, 6))
    result = operate(model, AveragePoolPadding())
    (line,) = result.log[0][1].changed
    assert (
        line
        == "AveragePool -> 'y': counts its padding, ceil_mode is padding; a Mul by 1 to 2.25 corrects the 5 windows"
    )
    first = node(model, "y_counted")
    assert attributes.integers(first, "pads", ()) == (0, 0, 1, 1)
    assert "ceil_mode" not in first.attributes


def test_a_pool_that_counts_already_stays():
    """Also one that rounds up: the chips have ceil_mode."""
    edits = AveragePoolPadding()(
        pool("kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1, ceil_mode = 1")
    )
    assert not edits
    assert not edits.left


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            pool('kernel_shape = [3, 3], auto_pad = "SAME_UPPER"'),
            "it pads by rule (SAME_UPPER); run explicit_padding first",
        ),
        (
            pool('kernel_shape = [3, 3], auto_pad = "VALID"'),
            "it pads by rule (VALID); run explicit_padding first",
        ),
        (pool("kernel_shape = [2, 2], pads = [1, 1, 1, 1], dilations = [2, 2]", opset=19), "it is dilated"),
        (pool("kernel_shape = [3], pads = [5, 5]", (9,)), "it has windows of nothing but padding"),
        (pool("kernel_shape = [3], pads = [1, 1]", (99999,)), "it has 99999 windows along an axis, which are too many"),
        (pool("kernel_shape = [3, 3], pads = [1, 1, 1, 1]", (4096, 4096)), "its windows are too many for a constant"),
        (
            graph(
                """(float[1,2,h,6] x) => (float[a,b,c,d] y) {
                    y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)
                }"""
            ),
            "the size of its input is not static",
        ),
        (
            graph(
                """(float16[1,2,6,6] x) => (float16[a,b,c,d] y) {
                    y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)
                }"""
            ),
            "its input is FLOAT16, not float32",
        ),
        (
            pool("kernel_shape = [2], strides = [5], pads = [1, 0], ceil_mode = 1", (8,)),
            "onnxruntime gives it [2] windows and ONNX [3], which only agree from operator set 22 on",
        ),
    ],
)
def test_what_cannot_be_done_is_left_with_the_reason(model, reason):
    """A rule, a dilation, sizes nobody knows, and sizes two parties see differently."""
    edits = AveragePoolPadding()(model)
    assert not edits
    assert edits.left == (f"AveragePool -> 'y': {reason}",)


@pytest.mark.parametrize(
    "options",
    [
        "kernel_shape = [0]",
        "kernel_shape = [3], strides = [0]",
        "kernel_shape = [3], strides = [1, 1]",
        "kernel_shape = [3], dilations = [0]",
        "kernel_shape = [3], pads = [1, -1]",
        "kernel_shape = [3], pads = [1]",
    ],
)
def test_attributes_that_are_no_pool_are_told(options):
    """No division by a stride of 0, whatever the installed onnx lets through."""

    class Told:
        """Shapes that nobody inferred."""

        def dims(self, value):
            """Nine cells."""
            return (1, 2, 9)

    model = pool(options, (9,), opset=19)
    assert _pool.axes(node(model, "y"), Told()) == "its kernel, strides, dilations and pads are not what ONNX allows"


def test_a_batch_of_any_size_is_fine():
    """The map is the same for every picture and channel."""
    model = graph(
        "(float[n,2,6,6] x) => (float[n,2,6,6] y) { y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x) }"
    )
    x = random(3, 2, 6, 6)
    expected = run(model, {"x": x})["y"]
    AveragePoolPadding()(model)
    np.testing.assert_allclose(run(model, {"x": x})["y"], expected, rtol=0, atol=1e-6)
