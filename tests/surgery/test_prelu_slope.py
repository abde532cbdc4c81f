"""What the contract cannot know about `prelu_slope`."""

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, node, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import constants
from workbench.surgery.prelu_slope import PreluSlope

PROPERTY = settings(max_examples=80, deadline=None, derandomize=True)


def prelu(*slope: int, size: tuple[int, ...] = (2, 3, 4, 5), opset: int = 17) -> ir.Model:
    """A PRelu whose slope has the shape `slope`."""
    shape = ",".join(str(extent) for extent in size)
    return graph(
        f"(float[{shape}] x) => (float[{shape}] y) {{ y = PRelu(x, leak) }}",
        opset=opset,
        leak=random(*slope, seed=1),
    )


@PROPERTY
@given(
    st.integers(0, 4),
    st.tuples(*[st.booleans()] * 4),
    st.tuples(*[st.integers(1, 5)] * 4),
    st.integers(13, 22),
)
def test_any_slope_that_broadcasts_keeps_the_numbers(rank, ones, size, opset):
    """Over all shapes that ONNX allows; what is left reads its slope per channel and nowhere else."""
    shape = [1 if one else extent for one, extent in zip(ones, size, strict=True)][4 - rank :]
    model = prelu(*shape, size=size, opset=opset)
    x = random(*size)
    expected = run(model, {"x": x})["y"]
    edits = PreluSlope()(model)
    assert bool(edits) == (shape != [1, size[1], 1, 1])
    assert not edits.left
    np.testing.assert_array_equal(run(model, {"x": x})["y"], expected)
    for one in model.graph:
        assert one.op_type != "PRelu" or constants.array(one.inputs[1]).shape == (1, size[1], 1, 1)
    assert not PreluSlope()(model)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1,), (), (1, 1, 1, 1)])
def test_a_slope_per_channel_gets_four_axes(shape):
    """One number for all channels is written once a channel."""
    model = prelu(*shape)
    assert PreluSlope()(model).changed == (f"PRelu -> 'y': its slope, of shape {list(shape)}, is [1, 3, 1, 1]",)
    assert list(model.graph.initializers) == ["leak"]


def test_equal_numbers_need_no_axes():
    """A slope stored per pixel that only differs between channels is one per channel."""
    model = graph(
        "(float[1,2,2,2] x) => (float[1,2,2,2] y) { y = PRelu(x, leak) }",
        leak=np.repeat(np.array([0.25, 0.5], np.float32), 4).reshape(1, 2, 2, 2),
    )
    operate(model, PreluSlope())
    kept = constants.array(node(model, "y").inputs[1])
    np.testing.assert_array_equal(kept, np.array([0.25, 0.5], np.float32).reshape(1, 2, 1, 1))


def test_a_slope_along_the_width_is_not_taken_for_channels():
    """As many columns as channels: ONNX means the columns, the vendor's table would mean the channels."""
    model = prelu(3, size=(1, 3, 4, 3))
    node(model, "y").name = "leaky"
    result = operate(model, PreluSlope())
    assert result.log[0][1].changed == ("PRelu 'leaky': its slope, of shape [3], goes with Relu, Min, Mul, Add",)
    assert operators(model) == ["Relu", "Min", "Mul", "Add"]
    assert node(model, "y").name == "leaky"


def test_a_slope_from_run_time_goes():
    """The formula does not care where the slope comes from."""
    model = graph("(float[1,3,4,4] x, float[3,1,1] leak) => (float[1,3,4,4] y) { s = Neg(leak) y = PRelu(x, s) }")
    result = operate(model, PreluSlope())
    assert result.log[0][1].changed == ("PRelu -> 'y': its slope, computed at run time, goes with Relu, Min, Mul, Add",)


def test_a_shared_slope_stays_for_others():
    """A weight that others read keeps its shape for them; what a caller may replace is no constant."""
    model = graph(
        "(float[1,3,4,4] x) => (float[1,3,4,4] y, float[1,3,4,4] z) { y = PRelu(x, leak) z = Mul(x, leak) }",
        leak=random(3, 1, 1),
    )
    operate(model, PreluSlope())
    assert {name: tuple(value.shape) for name, value in model.graph.initializers.items()} == {
        "leak": (3, 1, 1),
        "leak_2": (1, 3, 1, 1),
    }


def test_large_numbers_are_exact():
    """One addend is always 0, so nothing is rounded away."""
    model = prelu(4, 5)
    x = random(2, 3, 4, 5) * np.float32(3e38)
    expected = run(model, {"x": x})["y"]
    PreluSlope()(model)
    np.testing.assert_array_equal(run(model, {"x": x})["y"], expected)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            prelu(3, 1, size=(1, 3, 4)),
            "its input has 3 axes, and the chips tell channels among four only",
        ),
        (
            graph("(float[n,c,4,4] x) => (float[n,c,4,4] y) { y = PRelu(x, leak) }", leak=random(1)),
            "the number of its channels is not static",
        ),
        (prelu(1, 5, 1, 1), "its slope of shape [1, 5, 1, 1] does not fit its input"),
        (prelu(1, 2, 3, 4, 5), "its slope of shape [1, 2, 3, 4, 5] does not fit its input"),
        (
            graph(
                "(float16[1,3,4,4] x) => (float16[1,3,4,4] y) { y = PRelu(x, leak) }", leak=random(4).astype(np.float16)
            ),
            "its input is FLOAT16, not float32",
        ),
    ],
)
def test_what_cannot_be_done_is_left_with_the_reason(model, reason):
    """Other ranks, channels nobody counts, other types."""
    edits = PreluSlope()(model)
    assert not edits
    assert edits.left == (f"PRelu -> 'y': {reason}",)


def test_rows_and_columns_may_be_unknown():
    """Only the channels are counted."""
    model = graph("(float[n,3,h,w] x) => (float[n,3,h,w] y) { y = PRelu(x, leak) }", leak=random(3, 1, 1))
    x = random(1, 3, 2, 2)
    expected = run(model, {"x": x})["y"]
    assert PreluSlope()(model)
    np.testing.assert_array_equal(run(model, {"x": x})["y"], expected)
