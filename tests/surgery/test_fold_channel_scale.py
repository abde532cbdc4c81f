"""What the contract cannot know about `fold_channel_scale`."""

import numpy as np
import pytest
from _surgery import graph, node, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import constants
from workbench.surgery.fold_channel_scale import FoldChannelScale

ZERO, SIX = np.float32(0), np.float32(6)
SCALE = np.array([0.5, -2, 3], np.float32).reshape(3, 1, 1, 1)
HEAD = "(float[1,3,4,4] x) => (float[1,2,4,4] y)"
POINTWISE = random(2, 3, 1, 1, seed=1)
WIDE = random(2, 3, 3, 3, seed=2)


def head(nodes: str, **more):
    """A graph from three channels to two, with a scale, and weights of one pixel and of nine."""
    return graph(f"{HEAD} {{ {nodes} }}", **{"s": SCALE, "w": POINTWISE, "wide": WIDE, "zero": ZERO, "six": SIX} | more)


def test_a_pure_scale_folds_whatever_its_sign():
    """Without an activation behind, a negative scale stays negative, and zero padding stays zero."""
    model = head("n = Neg(x) c = Conv<group = 3>(n, s) y = Conv<pads = [1, 1, 1, 1]>(c, wide)")
    operate(model, FoldChannelScale())
    assert operators(model) == ["Neg", "Conv"]
    kept = constants.array(node(model, "y").inputs[1])
    np.testing.assert_array_equal(kept, WIDE * SCALE.reshape(1, 3, 1, 1))


@pytest.mark.parametrize(
    "source",
    [
        "p = Relu(x)",
        "p = Clip(x, zero, six)",
        "p = Sigmoid(x)",
        "r = Relu(x) p = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(r)",
        "r = Relu(x) p = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(r)",
        "r = Relu(x) h = Sigmoid(x) p = Add(r, h)",
        'r = Relu(x) p = Resize<mode = "linear">(r, , ones)',
        'r = Relu(x) p = Resize<mode = "nearest">(r, , ones)',
        "f, g = Split<axis = 1>(x, parts) r = Relu(f) h = Sigmoid(g) p = Concat<axis = 1>(r, h)",
    ],
)
def test_a_relu_goes_when_nothing_negative_comes_in(source):
    """Relu(s * p) is max(s, 0) * p for p >= 0, however p comes to be that."""
    more = {"ones": np.ones(4, np.float32), "parts": np.array([1, 2], np.int64)}
    model = head(f"{source} c = Conv<group = 3>(p, s) r2 = Relu(c) y = Conv(r2, w)", **more)
    count = len(operators(model))
    operate(model, FoldChannelScale())
    assert len(operators(model)) == count - 2
    kept = constants.array(node(model, "y").inputs[1])
    np.testing.assert_array_equal(kept, POINTWISE * np.maximum(SCALE, 0).reshape(1, 3, 1, 1))


@pytest.mark.parametrize(
    "source",
    [
        "p = Neg(x)",
        "r = Relu(x) p = Sub(r, x)",
        "r = Relu(x) p = Add(r, x)",
        'r = Relu(x) p = Resize<mode = "cubic">(r, , ones)',
        'r = Relu(x) p = Resize<mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize",'
        " extrapolation_value = -1.0>(r, roi, ones)",
        "p = Clip(x, , six)",
    ],
)
def test_a_relu_with_work_to_do_stays(source):
    """Where something negative may come in, a Relu bends, and nothing changes."""
    more = {"ones": np.ones(4, np.float32), "roi": np.array([0, 0, 0, 0, 1, 1, 2, 2], np.float32)}
    model = head(f"{source} c = Conv<group = 3>(p, s) r2 = Relu(c) y = Conv(r2, w)", **more)
    edits = FoldChannelScale()(model)
    assert not edits
    (line,) = edits.left
    assert line.startswith("Conv -> 'c': Relu -> 'r2' cuts it, and ")
    assert " -> 'p' gives values from -" in line


def test_an_upper_bound_that_is_never_reached_does_not_matter():
    """Sigmoid gives at most 1, so 3 of it is at most 3 and a Clip at 6 does nothing."""
    model = head("p = Sigmoid(x) c = Conv<group = 3>(p, s) l = Clip(c, zero, six) y = Conv(l, w)")
    operate(model, FoldChannelScale())
    assert operators(model) == ["Sigmoid", "Conv"]


def test_an_upper_bound_that_may_be_reached_stays():
    """Three times a ReLU6 goes beyond 6."""
    model = head("p = Clip(x, zero, six) c = Conv<group = 3>(p, s) l = Clip(c, zero, six) y = Conv(l, w)")
    edits = FoldChannelScale()(model)
    assert edits.left == ("Conv -> 'c': Clip -> 'l' cuts it, and Clip -> 'p' gives values from 0 to 6",)


def test_crossed_bounds_are_left_alone():
    """A Clip whose minimum exceeds its maximum is nothing to reason about."""
    model = head("p = Sigmoid(x) c = Conv<group = 3>(p, s) l = Clip(c, six, zero) y = Conv(l, w)")
    assert not FoldChannelScale()(model)


def test_a_channel_that_is_always_cut_becomes_its_bound():
    """Where a Clip at 2..6 always leaves 2, an unpadded reader takes the 2 into its bias."""
    two = np.float32(2)
    model = head("p = Sigmoid(x) c = Conv<group = 3>(p, s) l = Clip(c, two, six) y = Conv(l, w)", s=SCALE / 3, two=two)
    operate(model, FoldChannelScale())
    assert operators(model) == ["Sigmoid", "Conv"]
    bias = constants.array(node(model, "y").inputs[2])
    np.testing.assert_allclose(bias, 2 * POINTWISE.sum(axis=(1, 2, 3)), rtol=1e-6)


def test_a_shift_goes_into_the_bias_of_an_unpadded_reader():
    """W(s * x + t) + b is (W s) x + (W t + b)."""
    more = {"t": random(3, seed=3), "b": random(2, seed=4)}
    text = "(float[1,3,4,4] x) => (float[1,2,2,2] y) { n = Neg(x) c = Conv<group = 3>(n, s, t) y = Conv(c, wide, b) }"
    model = graph(text, s=SCALE, wide=WIDE, **more)
    operate(model, FoldChannelScale())
    assert operators(model) == ["Neg", "Conv"]


@pytest.mark.parametrize("padding", ["pads = [1, 1, 1, 1]", 'auto_pad = "SAME_UPPER"'])
def test_a_shift_before_a_padded_reader_stays(padding):
    """The padded border is 0 and would have been the shift."""
    model = head(f"n = Neg(x) c = Conv<group = 3>(n, s, t) y = Conv<{padding}>(c, wide)", t=random(3))
    edits = FoldChannelScale()(model)
    assert edits.left == ("Conv -> 'c': Conv -> 'y' pads with zeros, which its shift would change",)


def test_a_bias_of_zero_is_none():
    """Exporters write a bias of zeros; it is no reason to stop, and the reader gets none either."""
    zeros = np.zeros(3, np.float32)
    model = head("p = Relu(x) c = Conv<group = 3>(p, s, t) r = Relu(c) y = Conv<pads = [1, 1, 1, 1]>(r, wide)", t=zeros)
    operate(model, FoldChannelScale())
    assert operators(model) == ["Relu", "Conv"]
    assert len(node(model, "y").inputs) == 2


def test_all_readers_or_none():
    """Every reader is scaled; one that is no convolution keeps the scale for all."""
    nodes = "n = Neg(x) c = Conv<group = 3>(n, s) a = Conv(c, w) d = Conv<pads = [1, 1, 1, 1]>(c, wide) "
    model = head(nodes + "y = Add(a, d)")
    operate(model, FoldChannelScale())
    assert operators(model) == ["Neg", "Conv", "Conv", "Add"]
    text = f"(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,3,4,4] z) {{ {nodes} y = Add(a, d) z = Abs(c) }}"
    model = graph(text, s=SCALE, w=POINTWISE, wide=WIDE)
    assert FoldChannelScale()(model).left == ("Conv -> 'c': Abs -> 'z' reads it",)


def test_a_graph_output_keeps_its_values():
    """What is read from outside cannot be scaled elsewhere."""
    text = "(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,3,4,4] c) { c = Conv<group = 3>(x, s) y = Conv(c, w) }"
    edits = FoldChannelScale()(graph(text, s=SCALE, w=POINTWISE))
    assert edits.left == ("Conv -> 'c': 'c' is a graph output",)


def test_a_reader_inside_a_branch_is_left_alone():
    """Passes do not enter subgraphs, so what those read has to stay."""
    text = """(float[1,3,4,4] x, bool flag) => (float[1,2,4,4] y) {
        c = Conv<group = 3>(x, s)
        y = If(flag) <then_branch = t () => (float[1,2,4,4] u) { u = Conv(c, w) },
                      else_branch = e () => (float[1,2,4,4] v) { v = Conv(x, w) }>
    }"""
    edits = FoldChannelScale()(graph(text, s=SCALE, w=POINTWISE))
    assert edits.left == ("If -> 'y': passes do not enter subgraphs", "Conv -> 'c': Conv -> 'u' reads it")


def test_a_chain_collapses_in_one_run():
    """Two scales with a Relu each fold into one convolution."""
    model = head(
        "p = Relu(x) c = Conv<group = 3>(p, s) r = Relu(c) d = Conv<group = 3>(r, s2) q = Relu(d) y = Conv(q, w)",
        s2=SCALE[::-1].copy(),
    )
    operate(model, FoldChannelScale())
    assert operators(model) == ["Relu", "Conv"]


def test_the_convolution_before_takes_what_the_readers_cannot():
    """Scale and shift go into the layer before, whatever is behind, and the output keeps its name."""
    text = "(float[1,3,4,4] x) => (float[1,3,4,4] y) { a = Conv(x, v) y = Conv<group = 3>(a, s, t) }"
    model = graph(text, v=random(3, 3, 1, 1), s=SCALE, t=random(3, seed=5))
    operate(model, FoldChannelScale())
    assert operators(model) == ["Conv"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    model = head("a = Conv(x, v) c = Conv<group = 3>(a, s) r = Relu(c) y = Conv(r, w)", v=random(3, 3, 1, 1))
    operate(model, FoldChannelScale())
    assert operators(model) == ["Conv", "Relu", "Conv"]


@pytest.mark.parametrize(
    ("nodes", "more", "reason"),
    [
        ("c = Conv<group = 3, pads = [1, 1, 1, 1]>(x, s) y = Conv(c, wide)", {}, "it pads"),
        ("c = Conv<group = 3>(x, s, w) y = Conv(c, w)", {"w": POINTWISE}, "its weights are not float32, one a channel"),
        ("c = Conv<group = 3>(x, s) y = Conv(c, w)", {"s": SCALE * np.float32(np.inf)}, "its weights are not finite"),
        (
            "c = Conv<group = 3>(x, s) y = Conv(c, w)",
            {"s": SCALE * np.float32(1e30), "w": POINTWISE * np.float32(1e30)},
            "Conv -> 'y' would have weights too large for float32",
        ),
        (
            "c = Conv<group = 3>(x, s) a = Conv(c, w) d = Conv(x, w) y = Add(a, d)",
            {},
            "Conv -> 'a' shares its weights 'w'",
        ),
        (
            "n = Neg(w) c = Conv<group = 3>(x, s) y = Conv(c, n)",
            {},
            "Conv -> 'y' has weights that are not constant float32",
        ),
        (
            "n = Neg(b) c = Conv<group = 3>(x, s) y = Conv(c, w, n)",
            {"b": np.ones(2, np.float32)},
            "Conv -> 'y' has a bias that is not constant float32, one a channel",
        ),
    ],
)
def test_it_says_what_is_in_the_way(nodes, more, reason):
    """Padding, strange numbers, shared and computed weights keep the scale where it is."""
    edits = FoldChannelScale()(head(nodes, **more))
    assert not edits
    assert edits.left == (f"Conv -> 'c': {reason}",)


def test_a_stride_is_no_scale():
    """A 1x1 convolution with a stride picks pixels."""
    text = "(float[1,3,4,4] x) => (float[1,2,2,2] y) { c = Conv<group = 3, strides = [2, 2]>(x, s) y = Conv(c, w) }"
    assert FoldChannelScale()(graph(text, s=SCALE, w=POINTWISE)).left == ("Conv -> 'c': it skips pixels",)


def test_a_reader_that_does_not_fit_is_named():
    """A graph whose channels do not add up passes shape inference; it is left alone."""
    model = head("c = Conv<group = 3>(x, s) y = Conv(c, odd)", odd=random(2, 2, 1, 1))
    edits = FoldChannelScale()(model)
    assert edits.left == ("Conv -> 'c': Conv -> 'y' takes another number of channels",)


@settings(max_examples=25, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 3, 6]),
    wider=st.sampled_from([1, 2]),
    bend=st.sampled_from(["Identity", "Relu"]),
    before=st.sampled_from(["Identity", "Relu", "Sigmoid"]),
    shifted=st.booleans(),
    pad=st.sampled_from([0, 1]),
    seed=st.integers(0, 99),
)
def test_numbers_stay(groups, wider, bend, before, shifted, pad, seed):
    """Whatever folds or does not, the result is equal to 1e-5 of its largest value, in groups of every size."""
    size = 2 + 2 * pad
    text = f"""(float[1,6,4,4] x) => (float[1,{6 * wider},{size},{size}] y) {{
        p = {before}(x)
        c = Conv<group = 6>(p, s, t)
        r = {bend}(c)
        y = Conv<group = {groups}, pads = [{pad}, {pad}, {pad}, {pad}]>(r, w)
    }}""".replace("r = Identity(c)", "").replace("(r, w)", "(c, w)" if bend == "Identity" else "(r, w)")
    scale = random(6, 1, 1, 1, seed=seed, low=-3, high=3)
    shift = random(6, seed=seed + 1) * np.float32(shifted)
    model = graph(text, s=scale, t=shift, w=random(6 * wider, 6 // groups, 3, 3, seed=seed + 2))
    x = {"x": random(1, 6, 4, 4, seed=seed + 3, low=-2, high=2)}
    expected = run(model, x)["y"]
    edits = FoldChannelScale()(model)
    if not shifted and (bend == "Identity" or before != "Identity"):
        assert edits.changed == ("Conv -> 'c': folded into Conv -> 'y'",)
    np.testing.assert_allclose(run(model, x)["y"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
