"""Facts about which channels share a factor, and which keep their scale and why."""

from __future__ import annotations

import re

import numpy as np
import pytest
from _surgery import graph

from workbench.errors import UnsupportedError
from workbench.quant.channels import spaces

W = np.ones((4, 3, 1, 1), np.float32)
V = np.ones((2, 4, 1, 1), np.float32)
SIX, ZERO = np.array(6, np.float32), np.array(0, np.float32)


def inner(body, channels=4, **weights):
    """The groups of c and r in ``x -> Conv -> c, body, r -> Conv -> y``, and all spaces; only x and y are pinned."""
    weights.setdefault("v", np.ones((2, channels, 1, 1), np.float32))
    text = f"(float[1,3,4,4] x) => (float[1,2,h,k] y) {{ c = Conv (x, w)  {body}  y = Conv (r, v) }}"
    found = spaces(graph(text, w=W, **weights))
    return found.ids["c"].tolist(), found.ids["r"].tolist(), found


@pytest.mark.parametrize(
    "node",
    [
        "Relu (c)",
        "LeakyRelu (c)",
        "Identity (c)",
        "Neg (c)",
        "MaxPool <kernel_shape = [2,2]> (c)",
        "AveragePool <kernel_shape = [2,2]> (c)",
        "GlobalAveragePool (c)",
        "GlobalMaxPool (c)",
        "ReduceMean <axes = [2,3]> (c)",
        'Resize <mode = "linear"> (c, , scales)',
        "Dropout (c)",
        "Pad (c, pads)",
        'Pad <mode = "reflect"> (c, pads)',
        "PRelu (c, slope)",
        "Clip (c, zero)",
        "Clip (c)",
        "Mul (c, slope)",
        "Mul (six, c)",
        "Div (c, six)",
        "Add (c, slope)",
        "Max (c, six)",
        "Transpose <perm = [0,1,3,2]> (c)",
    ],
)
def test_homogeneous_operators_keep_their_channels(node):
    """Each channel of the result shares its factor with the same channel of the input, and with no other."""
    constants = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "slope": np.ones((4, 1, 1), np.float32),
        "zero": ZERO,
        "six": SIX,
    }
    before, after, found = inner(f"r = {node}", **{name: data for name, data in constants.items() if name in node})
    assert before == after
    assert len(set(before)) == 4
    assert not set(before) & set(found.pinned)


@pytest.mark.parametrize("bounds", ["zero, six", "six", ", six"])
def test_a_clip_with_a_bound_ties_its_channels(bounds):
    """A Clip has one bound for all channels, so they share one factor, and it is not pinned."""
    before, after, found = inner(f"r = Clip (c, {bounds})", zero=ZERO, six=SIX)
    assert set(before) == set(after)
    assert len(set(before)) == 1
    assert before[0] not in found.pinned


def test_a_bound_of_the_largest_float_is_none():
    """Exporters write 3.4e38 for no bound: the channels stay apart."""
    before, _, _ = inner("r = Clip (c, zero, huge)", zero=ZERO, huge=np.array(np.finfo(np.float32).max))
    assert len(set(before)) == 4


def test_a_sum_joins_its_operands():
    """Both operands of a sum and the sum share factors channel by channel."""
    before, after, found = inner("b = Conv (x, w2)  r = Add (c, b)", w2=W)
    assert before == after == found.ids["b"].tolist()


def test_a_broadcast_operand_is_one_group():
    """An operand with one channel ties all those that it is added to."""
    before, after, _ = inner("b = Conv (x, w2)  r = Add (c, b)", w2=W[:1])
    assert len(set(before)) == 1
    assert set(after) == set(before)


def test_a_concat_lines_its_inputs_up():
    """The groups of a Concat are those of its inputs, one after the other, nested and repeated."""
    body = "b = Conv (x, w2)  d = Concat <axis = 1> (c, b)  r = Concat <axis = -3> (d, c)"
    before, after, found = inner(body, channels=10, w2=W[:2])
    assert after == before + found.ids["b"].tolist() + before


def test_split_slice_and_gather_pick_channels():
    """What takes some channels shares their groups."""
    body = """s, t = Split <axis = 1> (c, sizes)  u = Slice (c, from, to, axes, steps)
        g = Gather <axis = 1> (c, picked)  r = Concat <axis = 1> (s, t, u, g)"""
    before, after, _ = inner(
        body,
        channels=8,
        sizes=np.array([1, 3]),
        **{"from": np.array([3])},
        to=np.array([-9]),
        axes=np.array([1]),
        steps=np.array([-2]),
        picked=np.array([0, -1]),
    )
    assert after == [*before, before[3], before[1], before[0], before[3]]


def test_flatten_repeats_each_channel():
    """Values of a channel that become columns keep its group, as the rows of the matrix behind can take it."""
    text = "(float[1,3,2,2] x) => (float[1,5] y) { c = Conv (x, w)  r = Flatten (c)  y = Gemm (r, m) }"
    found = spaces(graph(text, w=W, m=np.ones((16, 5), np.float32)))
    assert found.ids["r"].tolist() == np.repeat(found.ids["c"], 4).tolist()
    assert not set(found.ids["r"].tolist()) & set(found.pinned)


def test_a_reshape_that_mixes_ties_what_meets():
    """Channels that come to lie in one channel share a factor."""
    before, after, _ = inner("m = Reshape (c, s)  r = Relu (m)", channels=2, s=np.array([1, 2, 8, 4]))
    assert before[0] == before[1] == after[0]
    assert before[2] == before[3] == after[1]
    assert after[0] != after[1]


@pytest.mark.parametrize("node", ["Transpose <perm = [0,3,2,1]> (c)", "DepthToSpace <blocksize = 2> (c)"])
def test_moving_channels_makes_one_group(node):
    """Where channels change places the whole tensor has one factor, and may still have one."""
    before, after, found = inner(f"r = {node}", channels=1 if "Depth" in node else 4)
    assert len(set(before + after)) == 1
    assert before[0] not in found.pinned


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("r = Sigmoid (c)", "Sigmoid -> 'r': no factor passes through it"),
        ("r = Mul (c, c)", "Mul -> 'r': it multiplies two activations"),
        ("r = Div (six, c)", "Div -> 'r': it divides by an activation"),
        ("r = Pad (c, pads, six)", "Pad -> 'r': it does not fill with zeros"),
        ("r = custom.Thing (c)", "the type of tensor 'r' is unknown"),
        ("k = ReduceMax <keepdims = 0> (c)  r = Clip (c, zero, k)", "Clip -> 'r': its bounds are computed"),
        ("r = Conv (c, u)  q = Conv (r, u)", "Conv -> 'r': it shares its weights 'u'"),
    ],
)
def test_what_cannot_pass_a_factor_on_is_pinned(body, reason):
    """Anything else keeps its scale, and the reason names the node."""
    constants = {
        "zero": ZERO,
        "six": SIX,
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "u": np.ones((4, 4, 1, 1), np.float32),
    }
    given = {name: data for name, data in constants.items() if name in re.split(r"\W+", body)}
    if "custom" in body:
        with pytest.raises(UnsupportedError, match=reason):
            inner(body, **given)
        return
    before, _, found = inner(body, **given)
    assert set(before) <= set(found.pinned)
    assert reason in found.pinned[before[0]]


def test_a_gate_leaves_the_features_free():
    """In a product with a tensor that keeps its scale, the other operand's factors pass."""
    body = "b = Conv (x, w2)  p = GlobalAveragePool (b)  g = Sigmoid (p)  r = Mul (c, g)"
    before, after, found = inner(body, w2=W)
    assert before == after
    assert not set(before) & set(found.pinned)
    assert set(found.ids["g"].tolist()) <= set(found.pinned)


def test_the_ends_of_the_graph_are_pinned():
    """Inputs and outputs keep their scale, also an output in the middle, and what is tied to it."""
    text = (
        "(float[1,3,4,4] x) => (float[1,4,4,4] r, float[1,2,4,4] y) { c = Conv (x, w)  r = Relu (c)  y = Conv (r, v) }"
    )
    found = spaces(graph(text, w=W, v=V))
    reasons = {name: {found.pinned.get(group) for group in ids.tolist()} for name, ids in found.ids.items()}
    assert reasons == {
        "x": {"'x' is a graph input"},
        "c": {"'r' is a graph output"},
        "r": {"'r' is a graph output"},
        "y": {"'y' is a graph output"},
    }
