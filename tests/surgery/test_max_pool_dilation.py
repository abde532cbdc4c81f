"""What the contract cannot know about `max_pool_dilation`."""

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, node, operate, operators, random, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workbench.graph import attributes, constants, io
from workbench.surgery.max_pool_dilation import MaxPoolDilation

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True)


def pool(options: str, size: tuple[int, ...] = (8, 9), opset: int = 17) -> ir.Model:
    """One MaxPool over two channels."""
    shape = ",".join(str(extent) for extent in (1, 2, *size))
    out = ",".join("abcde"[: len(size) + 2])
    return graph(f"(float[{shape}] x) => (float[{out}] y) {{ y = MaxPool<{options}>(x) }}", opset=opset)


def assert_same_maxima(model: ir.Model, *size: int) -> None:
    """Every maximum is the very number it was, all below zero, and no pool is dilated."""
    x = random(1, 2, *size, low=-9, high=-1)
    before = run(model, {"x": x})["y"]
    edits = MaxPoolDilation()(model)
    assert len(edits.changed) == 1
    assert not edits.left
    for one in model.graph:
        assert all(step == 1 for step in attributes.integers(one, "dilations", ()))
    np.testing.assert_array_equal(run(model, {"x": x})["y"], before)
    for data in model.graph.initializers.values():
        assert constants.array(data).dtype.kind == "i", "a number that stands for padding"
    assert not MaxPoolDilation()(model)


@st.composite
def windows(draw):
    """One axis: its size, kernel, stride, dilation and padding, such that one window fits."""
    kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    before, after = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1))
    least = max(1, (kernel - 1) * dilation + 1 - before - after)
    return draw(st.integers(least, least + 9)), kernel, draw(st.integers(1, 6)), dilation, before, after


@PROPERTY
@given(st.lists(windows(), min_size=1, max_size=3), st.booleans(), st.integers(13, 22))
def test_any_dilation_finds_the_same_maxima(axes, ceil, opset):
    """Over sizes, kernels, strides, dilations, padding and rounding, in one to three dimensions."""
    sizes, kernel, strides, dilations, before, after = zip(*axes, strict=True)
    assume(max(dilations) > 1)
    options = f"kernel_shape = {list(kernel)}, strides = {list(strides)}, dilations = {list(dilations)}"
    model = pool(f"{options}, pads = {[*before, *after]}, ceil_mode = {int(ceil)}", sizes, opset)
    untouched = ir.from_proto(ir.to_proto(model))
    edits = MaxPoolDilation()(untouched)
    if edits.left:
        (line,) = edits.left
        reason = line.removeprefix("MaxPool -> 'y': ")
        rounding = ceil and opset < 22 and reason.endswith("which only agree from operator set 22 on")
        assert rounding or (reason == "it has windows of nothing but padding" and any(before + after))
        return
    assert_same_maxima(model, *sizes)


@pytest.mark.parametrize("opset", range(13, 23))
def test_every_operator_set(opset):
    """From 13, the oldest that passes take, to 22."""
    operate(pool("kernel_shape = [3, 2], dilations = [2, 3], pads = [2, 1, 2, 1]", opset=opset), MaxPoolDilation())


@pytest.mark.parametrize(
    ("options", "text", "made"),
    [
        (
            "kernel_shape = [3, 3], dilations = [2, 2], pads = [2, 2, 2, 2]",
            "dilations [2, 2] become 4 Slice, 4 MaxPool, 2 Concat, 2 Gather",
            [*["Slice", "MaxPool"] * 2, "Concat", "Gather"] * 2,
        ),
        (
            "kernel_shape = [3, 3], dilations = [2, 2], strides = [2, 4]",
            "dilations [2, 2] become 2 Slice, 2 MaxPool",
            ["Slice", "MaxPool"] * 2,
        ),
        (
            "kernel_shape = [2, 3], dilations = [3, 1], strides = [1, 2]",
            "dilations [3, 1] become 3 Slice, 3 MaxPool, Concat, Gather",
            [*["Slice", "MaxPool"] * 3, "Concat", "Gather"],
        ),
        (
            "kernel_shape = [1, 3], dilations = [5, 1]",
            "dilations [5, 1] space out a single cell, so they are 1",
            ["MaxPool"],
        ),
    ],
)
def test_the_account_names_the_form(options, text, made):
    """One pool a rest, an axis at a time; an axis without dilation is pooled along with the first."""
    model = pool(options)
    result = operate(model, MaxPoolDilation())
    assert result.log[0][1].changed == (f"MaxPool -> 'y': {text}",)
    assert operators(model) == made


def test_windows_are_sorted_by_int32_lists():
    """Rests alternate: window 0 is the first of the first pool, window 1 the first of the second."""
    model = pool("kernel_shape = [2], dilations = [3]", (10,))
    operate(model, MaxPoolDilation())
    order = constants.array(node(model, "y").inputs[1])
    assert order.dtype == np.int32
    assert order.tolist() == [0, 3, 5, 1, 4, 6, 2]


def test_names_and_shapes_follow():
    """The last node has the old one's name and output; what lies between has a shape."""
    model = pool("kernel_shape = [3, 3], dilations = [2, 1], strides = [2, 2]")
    node(model, "y").name = "wide"
    MaxPoolDilation()(model)
    assert [(one.name, one.outputs[0].name) for one in model.graph] == [
        ("wide_cells_2_0", "y_cells_2_0"),
        ("wide", "y"),
    ]
    assert list(node(model, "y_cells_2_0").outputs[0].shape) == [1, 2, 4, 9]


def test_a_batch_of_any_size_is_fine():
    """Only rows and columns are taken apart."""
    model = graph(
        """(float[n,2,6,6] x) => (float[n,2,6,6] y) {
            y = MaxPool<kernel_shape = [3, 3], dilations = [2, 2], pads = [2, 2, 2, 2]>(x)
        }"""
    )
    x = random(3, 2, 6, 6)
    expected = run(model, {"x": x})["y"]
    MaxPoolDilation()(model)
    np.testing.assert_array_equal(run(model, {"x": x})["y"], expected)


def test_indices_that_nobody_reads_are_no_hindrance():
    """A second output may be there."""
    model = graph("(float[1,1,6] x) => (float[1,1,2] y) { y, i = MaxPool<kernel_shape = [3], dilations = [2]>(x) }")
    operate(model, MaxPoolDilation())
    assert "MaxPool" in operators(model)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            graph(
                """(float[1,1,6] x) => (float[1,1,2] y, int64[1,1,2] i) {
                    y, i = MaxPool<kernel_shape = [3], dilations = [2]>(x)
                }"""
            ),
            "the indices of its maxima are read",
        ),
        (
            pool("kernel_shape = [2], dilations = [4], pads = [1, 1]", (3,)),
            "it has windows of nothing but padding",
        ),
        (pool("kernel_shape = [2], dilations = [100]", (300,)), "it would take 100 pools"),
        (
            pool('kernel_shape = [3, 3], dilations = [2, 2], auto_pad = "SAME_UPPER"'),
            "it pads by rule (SAME_UPPER); run explicit_padding first",
        ),
        (
            graph(
                "(float[1,2,h,6] x) => (float[a,b,c,d] y) { y = MaxPool<kernel_shape = [3, 3], dilations = [2, 2]>(x) }"
            ),
            "the size of its input is not static",
        ),
        (
            pool("kernel_shape = [1], strides = [5], dilations = [2], ceil_mode = 1", (5,)),
            "onnxruntime gives it [1] windows and ONNX [2], which only agree from operator set 22 on",
        ),
    ],
)
def test_what_cannot_be_done_is_left_with_the_reason(model, reason):
    """Indices, empty windows, a rule, and sizes that nobody knows or that two parties see differently."""
    edits = MaxPoolDilation()(model)
    assert not edits
    assert edits.left == (f"MaxPool -> 'y': {reason}",)


def test_a_plain_pool_stays():
    """Written-out ones, as explicit_attributes leaves them, are no dilation."""
    edits = MaxPoolDilation()(pool("kernel_shape = [3, 3], dilations = [1, 1]"))
    assert not edits
    assert not edits.left


def test_a_file_that_names_no_types_is_mended_without_a_word(caplog):
    """A shape that no file can hold, since the type of its tensor is not known, is none."""
    model = graph(
        "(float[1,2,6,6] x) => (float[1,2,2,2] y) {"
        " inner = MaxPool<kernel_shape = [3, 3], dilations = [2, 2]>(x) y = Relu(inner) }"
    )
    assert MaxPoolDilation()(model)
    io.to_bytes(model)
    assert caplog.text == ""
