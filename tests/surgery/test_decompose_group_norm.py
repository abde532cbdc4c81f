"""What the contract cannot know about `decompose_group_norm`."""

import numpy as np
import pytest
from _chips import blocked
from _surgery import graph, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import io
from workbench.surgery.decompose_group_norm import DecomposeGroupNorm


def norm(groups: int, shape, opset: int = 21, parameters: int = 0, options: str = "", **weights):
    """One group normalization with `parameters` scales and biases; as many as the operator set asks for when 0."""
    count = parameters or (shape[1] if opset >= 21 else groups)
    dims = ",".join(map(str, shape))
    given = {"s": random(count, seed=1, low=0.5, high=2), "b": random(count, seed=2), **weights}
    text = (
        f"(float[{dims}] x) => (float[{dims}] y) {{ y = GroupNormalization<num_groups = {groups}{options}>(x, s, b) }}"
    )
    return graph(text, opset, **given)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 4),
    rows=st.integers(1, 3),
    batch=st.integers(1, 2),
    rest=st.sampled_from([(5,), (2, 3), (2, 1, 3), (4, 1)]),
    opset=st.sampled_from([18, 20, 21, 22]),
)
def test_every_group_is_normalized_as_before(groups, rows, batch, rest, opset):
    """Both forms of scale, any number of axes, far from zero too."""
    shape = (batch, groups * rows, *rest)
    model = norm(groups, shape, opset)
    x = random(*shape, low=-3, high=5)
    before = run(model, {"x": x})["y"]
    DecomposeGroupNorm()(model)
    after = run(model, {"x": x})["y"]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    grouped = x.astype(np.float64).reshape(batch, groups, -1)
    normal = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + 1e-5)
    scale, bias = (np.repeat(random(groups, seed=k, low=lo, high=hi), rows) for k, lo, hi in ((1, 0.5, 2), (2, -1, 1)))
    if opset >= 21:
        scale, bias = random(groups * rows, seed=1, low=0.5, high=2), random(groups * rows, seed=2)
    axes = (-1, *(1,) * len(rest))
    expected = normal.reshape(shape) * scale.reshape(axes) + bias.reshape(axes)
    np.testing.assert_allclose(after, expected, rtol=2e-4, atol=2e-4)
    assert blocked(model) == []


def test_a_scale_per_channel_is_multiplied_behind():
    """The groups have no scale of their own, so the channels are scaled where they are channels again."""
    model = norm(2, (1, 6, 4, 3))
    edits = operate(model, DecomposeGroupNorm()).log[0][1]
    assert edits.changed == ("GroupNormalization -> 'y': spelled out as 2 Reshape, InstanceNormalization, Mul, Add",)
    assert operators(model) == ["Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"]


def test_a_scale_per_group_is_the_instance_normalizations_own():
    """Operator set 18 has one scale a group: three nodes are enough."""
    model = norm(2, (1, 6, 4, 3), opset=18)
    operate(model, DecomposeGroupNorm())
    assert operators(model) == ["Reshape", "InstanceNormalization", "Reshape"]


def test_a_scale_of_one_and_a_bias_of_zero_are_left_out():
    """What does nothing is not written."""
    model = norm(2, (1, 6, 2, 2), s=np.ones(6, np.float32), b=np.zeros(6, np.float32), options=", epsilon = 0.01")
    operate(model, DecomposeGroupNorm())
    assert operators(model) == ["Reshape", "InstanceNormalization", "Reshape"]
    assert model.graph.node(1).attributes["epsilon"].as_float() == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (norm(2, (1, 4, "H", 3)), "the size of its input is not static"),
        (norm(3, (1, 4, 2, 3)), "3 groups do not share the channels of [1, 4, 2, 3]"),
        (
            graph(
                "(float[1,4,2] x) => (float[1,4,2] y) { y = GroupNormalization<num_groups = 2>(x, s, s) }",
                21,
                s=random(3),
            ),
            "3 scales and 3 biases are neither one for each of 2 groups nor of 4 channels",
        ),
        (
            graph(
                "(float[1,4,2] x, float[4] s) => (float[1,4,2] y) { y = GroupNormalization<num_groups = 2>(x, s, b) }",
                21,
                b=random(4),
            ),
            "its scale or bias is not a float32 constant",
        ),
        (
            graph(
                "(float16[1,4,2] x, float16[4] s) => (float16[1,4,2] y) {"
                " y = GroupNormalization<num_groups = 2>(x, s, s) }",
                21,
            ),
            "its input is FLOAT16, not float32",
        ),
    ],
)
def test_what_cannot_be_regrouped_is_left(model, reason):
    """Open sizes, groups that do not fit, parameters of the run, another type."""
    before = io.to_bytes(model)
    edits = DecomposeGroupNorm()(model)
    assert edits.left == (f"GroupNormalization -> 'y': {reason}",)
    assert io.to_bytes(model) == before
