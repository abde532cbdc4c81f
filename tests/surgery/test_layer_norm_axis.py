"""What the contract cannot know about `layer_norm_axis`."""

import numpy as np
import pytest
from _chips import blocked
from _surgery import graph, node, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import attributes, io
from workbench.surgery.layer_norm_axis import LayerNormAxis


def norm(axis: int, shape=(2, 6, 4, 5), opset: int = 17, bias: bool = True, outputs: str = "y", scale=None):
    """One layer normalization with a scale for every element from `axis` on."""
    dims = ",".join(map(str, shape))
    behind = scale if scale is not None else shape[axis:]
    weights = {"s": random(*behind, seed=1, low=0.5, high=2)}
    if bias:
        weights["b"] = random(*behind, seed=2)
    text = (
        f"(float[{dims}] x) => (float[{dims}] y) {{"
        f" {outputs} = LayerNormalization<axis = {axis}, epsilon = 0.001>(x, {', '.join(weights)}) }}"
    )
    return graph(text, opset, **weights)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=5).map(tuple),
    place=st.integers(0, 4),
    opset=st.sampled_from([17, 20, 22]),
    bias=st.booleans(),
    back=st.booleans(),
)
def test_every_axis_is_normalized_as_before(shape, place, opset, bias, back):
    """Any axis, counted from the front or the back, any number of axes behind it, with bias and without."""
    axis = place % len(shape)
    model = norm(axis - len(shape) if back else axis, shape, opset, bias)
    x = random(*shape, low=-3, high=5)
    before = run(model, {"x": x})["y"]
    LayerNormAxis()(model)
    np.testing.assert_allclose(run(model, {"x": x})["y"], before, rtol=1e-4, atol=1e-4)
    kept = next(node for node in model.graph if node.op_type == "LayerNormalization")
    assert attributes.integer(kept, "axis", 0) == -1
    assert attributes.decimal(kept, "epsilon", 0) == pytest.approx(0.001)
    assert blocked(model) == []


def test_the_account_tells_both_ways_apart():
    """The last axis only gets its other name; an earlier one is reshaped."""
    last, early = norm(3), norm(1)
    assert operate(last, LayerNormAxis()).log[0][1].changed == ("LayerNormalization -> 'y': axis 3 of 4 is -1",)
    assert operators(last) == ["LayerNormalization"]
    assert operate(early, LayerNormAxis()).log[0][1].changed == (
        "LayerNormalization -> 'y': axis 1 of 4 is -1 between reshapes (2 Reshape, LayerNormalization)",
    )
    assert operators(early) == ["Reshape", "LayerNormalization", "Reshape"]


def test_one_scale_for_a_row_is_repeated():
    """A scale that is broadcast over the first of the axes counts for each of them."""
    model = norm(2, scale=(1, 5))
    operate(model, LayerNormAxis())
    assert node(model, "y").op_type == "Reshape"


def test_the_last_axis_needs_no_size():
    """What only gets its other name may be of any size."""
    model = graph("(float[N,M,4] x) => (float[N,M,4] y) { y = LayerNormalization<axis = 2>(x, s) }", s=random(4))
    edits = LayerNormAxis()(model)
    assert edits.changed == ("LayerNormalization -> 'y': axis 2 of 3 is -1",)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (norm(1, outputs="y, m, d"), None),
        (
            graph(
                "(float[2,3,4] x) => (float[2,3,4] y, float[2,1,1] m) { y, m = LayerNormalization<axis = 1>(x, s) }",
                s=random(3, 4),
            ),
            "its mean or deviation is read",
        ),
        (
            graph("(float[2,N,4] x, float[4] s) => (float[2,N,4] y) { y = LayerNormalization<axis = 1>(x, s) }"),
            "the size of its input is not static",
        ),
        (
            graph("(float[2,3,4] x, float[3,4] s) => (float[2,3,4] y) { y = LayerNormalization<axis = 1>(x, s) }"),
            "'s' is computed at run time",
        ),
        (
            graph("(float[2,3,4] x) => (float[2,3,4] y) { y = LayerNormalization<axis = 2>(x, s) }", s=random(2, 1, 4)),
            None,
        ),
        (
            graph("(float[2,3,4] x) => (float[2,3,4] y) { y = LayerNormalization<axis = 1>(x, s) }", s=random(2, 1, 4)),
            "'s' of shape [2, 1, 4] is not one number an element",
        ),
    ],
)
def test_what_cannot_become_one_axis_is_left(model, reason):
    """A mean that is read, open sizes, parameters of the run or of more axes; what merely looks like it is done."""
    before = io.to_bytes(model)
    edits = LayerNormAxis()(model)
    if reason is None:
        assert edits
        return
    assert edits.left == (f"LayerNormalization -> 'y': {reason}",)
    assert io.to_bytes(model) == before
