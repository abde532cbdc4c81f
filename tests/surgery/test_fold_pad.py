"""What the contract cannot know about `fold_pad`."""

import numpy as np
import pytest
from _surgery import graph, node, operate, operators, random

from workbench.graph import attributes
from workbench.surgery.fold_pad import FoldPad


def pads(*amounts: int) -> np.ndarray:
    """Amounts of a Pad over four axes."""
    return np.array(amounts, np.int64)


UNEVEN = pads(0, 0, 1, 0, 0, 0, 2, 1)


def padded(consumer: str, before: str = "a = Neg(x)", pad: str = "p = Pad(a, amounts)", amounts=UNEVEN, **more):
    """A graph whose Pad feeds `consumer`."""
    text = f"(float[1,2,6,6] x) => (float[b,c,h,w] y) {{ {before} {pad} {consumer} }}"
    return graph(text, amounts=amounts, **more)


def test_padding_adds_to_the_convolutions_own():
    """Top, left, bottom, right are added each to its own."""
    model = padded("y = Conv<pads = [1, 0, 0, 3]>(p, k)", k=random(3, 2, 3, 3))
    operate(model, FoldPad())
    assert attributes.integers(node(model, "y"), "pads", ()) == (2, 0, 2, 4)


def test_valid_becomes_numbers():
    """VALID beside pads would contradict them, so it goes."""
    model = padded('y = Conv<auto_pad = "VALID", strides = [2, 2]>(p, k)', k=random(3, 2, 3, 3))
    operate(model, FoldPad())
    assert "auto_pad" not in node(model, "y").attributes


def test_all_readers_pad_for_themselves():
    """One Pad that two convolutions read is folded into both, and its constants go."""
    model = padded("c = Conv(p, k) d = Conv(p, m) y = Add(c, d)", k=random(3, 2, 3, 3), m=random(3, 2, 3, 3, seed=1))
    operate(model, FoldPad())
    assert operators(model) == ["Neg", "Conv", "Conv", "Add"]
    assert "amounts" not in model.graph.initializers


def test_one_reader_that_cannot_keeps_the_pad_for_all():
    """Folding for one reader while the Pad stays for another would only add work."""
    model = padded("c = Conv(p, k) r = Relu(p) s = Conv(r, k) y = Add(c, s)", k=random(3, 2, 3, 3))
    assert FoldPad()(model).left == ("Pad -> 'p': Relu -> 'r' reads it too",)


def test_axes_and_an_explicit_zero_are_understood():
    """Since opset 18 a Pad may name its axes, counted from the end too."""
    model = graph(
        "(float[1,2,6,6] x) => (float[b,c,h,w] y) { p = Pad(x, amounts, zero, axes) y = Conv(p, k) }",
        opset=18,
        amounts=np.array([1, 0, 2, 3], np.int64),
        zero=np.float32(0),
        axes=np.array([-1, 2], np.int64),
        k=random(3, 2, 3, 3),
    )
    operate(model, FoldPad())
    assert attributes.integers(node(model, "y"), "pads", ()) == (0, 1, 3, 2)


@pytest.mark.parametrize(
    ("pad", "amounts", "reason"),
    [
        ('p = Pad<mode = "reflect">(a, amounts)', UNEVEN, "it repeats pixels instead of padding zeros"),
        ("p = Pad(a, amounts, one)", UNEVEN, "it pads another value than 0"),
        ("p = Pad(a, amounts)", pads(0, 1, 0, 0, 0, 0, 0, 0), "it pads more than height and width"),
        ("p = Pad(a, amounts)", pads(1, 0, 0, 0, 0, 0, 0, 0), "it pads more than height and width"),
        ("p = Pad(a, amounts)", pads(0, 0, -1, 0, 0, 0, 0, 0), "it crops"),
        ("t = Add(amounts, amounts) p = Pad(a, t)", UNEVEN, "its amounts are computed at run time"),
    ],
)
def test_other_pads_stay(pad, amounts, reason):
    """Only zeros around the picture are what a convolution pads by itself."""
    channels = 2 + int(amounts[1])
    model = padded("y = Conv(p, k)", pad=pad, amounts=amounts, one=np.float32(1), k=random(3, channels, 3, 3))
    assert FoldPad()(model).left == (f"Pad -> 'p': {reason}",)


def test_a_convolution_that_pads_by_rule_waits():
    """SAME depends on the padded size, so it must become numbers first."""
    model = padded('y = Conv<auto_pad = "SAME_UPPER">(p, k)', k=random(3, 2, 3, 3))
    (line,) = FoldPad()(model).left
    assert line == "Pad -> 'p': Conv -> 'y' pads by rule (SAME_UPPER); run explicit_padding first"


def test_a_pad_that_is_an_output_stays():
    """A graph output is read from outside."""
    model = graph(
        "(float[1,2,6,6] x) => (float[1,2,9,7] p, float[1,3,7,5] y) { p = Pad(x, amounts) y = Conv(p, k) }",
        amounts=UNEVEN,
        k=random(3, 2, 3, 3),
    )
    assert FoldPad()(model).left == ("Pad -> 'p': it is a graph output",)


def test_a_pad_of_weights_stays():
    """What is padded must be the picture, not the kernel."""
    model = graph(
        "(float[1,2,6,6] x, float[3,2,2,2] k) => (float[b,c,h,w] y) { p = Pad(k, amounts) y = Conv(x, p) }",
        amounts=pads(0, 0, 0, 0, 0, 0, 1, 1),
    )
    assert FoldPad()(model).left == ("Pad -> 'p': Conv -> 'y' reads it too",)


@pytest.mark.parametrize("own", ["", "pads = [1, 1, 1, 1], count_include_pad = 1,"])
def test_an_average_pool_counts_folded_zeros(own):
    """Zeros that were data are counted, so from then on the pool counts its padding."""
    model = padded(f"y = AveragePool<{own} kernel_shape = [4, 4], strides = [2, 2]>(p)")
    operate(model, FoldPad())
    assert attributes.integer(node(model, "y"), "count_include_pad", 0) == 1


def test_an_average_pool_cannot_count_half_its_padding():
    """Own padding that is not counted cannot be mixed with zeros that are."""
    model = padded("y = AveragePool<pads = [1, 1, 1, 1], kernel_shape = [4, 4]>(p)")
    (line,) = FoldPad()(model).left
    assert line == "Pad -> 'p': AveragePool -> 'y' does not count its own padding, but would have to count this"


@pytest.mark.parametrize(
    "before",
    [
        "a = Relu(x)",
        "a = Sigmoid(x)",
        "a = Clip(x, low, high)",
        "r = Relu(x) a = MaxPool<kernel_shape = [2, 2], pads = [1, 1, 0, 0]>(r)",
        "r = Relu(x) s = Sigmoid(x) a = Add(r, s)",
        "r = Relu(x) a = Mul(r, high)",
    ],
)
def test_a_max_pool_of_non_negative_numbers_pads_itself(before):
    """Where nothing is below zero, a padded zero never wins over the real entry of a window."""
    model = padded(
        "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(p)", before, low=np.float32(0), high=np.float32(0.5)
    )
    operate(model, FoldPad())
    assert "Pad" not in operators(model)


@pytest.mark.parametrize(
    "before",
    ["a = Neg(x)", "a = Clip(x, low, high)", "a = Clip(x, high, low)", "r = Relu(x) a = Add(r, low)"],
)
def test_a_max_pool_of_other_numbers_keeps_its_pad(before):
    """Below zero the padded zero is the maximum, and minus infinity is not."""
    model = padded("y = MaxPool<kernel_shape = [3, 3]>(p)", before, low=np.float32(-1), high=np.float32(0.5))
    (line,) = FoldPad()(model).left
    assert line == "Pad -> 'p': MaxPool -> 'y' would pad minus infinity, which differs where its input is negative"


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        ("y = MaxPool<kernel_shape = [2, 2]>(p)", "would have windows that hold nothing but padding"),
        ("y = MaxPool<kernel_shape = [3, 3], ceil_mode = 1>(p)", "rounds its size up"),
        ("y = MaxPool<kernel_shape = [3, 3], dilations = [2, 2]>(p)", "is dilated"),
        ("y, i = MaxPool<kernel_shape = [3, 3]>(p)", "returns indices into the padded picture"),
    ],
)
def test_pools_whose_windows_would_differ_keep_their_pad(pool, reason):
    """Padding inside a pool is not always the padding before it."""
    (line,) = FoldPad()(padded(pool, "a = Relu(x)")).left
    assert reason in line
