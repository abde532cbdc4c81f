"""Pad without a list of axes: the same padding."""

import numpy as np
import pytest
from _surgery import graph, node, operate

from workbench.graph import constants
from workbench.surgery.pad_every_axis import PadEveryAxis


@pytest.mark.parametrize(
    ("axes", "amounts", "full", "size"),
    [
        ([2, 3], [1, 0, 2, 3], [0, 0, 1, 0, 0, 0, 2, 3], "1,2,6,6"),
        ([-1], [1, 2], [0, 0, 0, 1, 0, 0, 0, 2], "1,2,3,6"),
        ([3, 1], [1, 0, 2, 1], [0, 0, 0, 1, 0, 1, 0, 2], "1,3,3,6"),
    ],
)
@pytest.mark.parametrize("mode", ["constant", "edge"])
def test_axes_are_spread_over_all(axes, amounts, full, size, mode):
    """In any order and counted from either end; the other axes get 0."""
    text = f'(float[1,2,3,3] x) => (float[{size}] y) {{ y = Pad<mode = "{mode}">(x, p, , a) }}'
    model = graph(text, 18, p=np.array(amounts), a=np.array(axes))
    operate(model, PadEveryAxis())
    pad = node(model, "y")

    assert constants.array(pad.inputs[1]).tolist() == full
    assert len(pad.inputs) == 2
    assert "a" not in model.graph.initializers


def test_the_value_stays():
    """A constant other than 0 is still what is padded with."""
    text = "(float[1,2,3,3] x) => (float[1,2,3,4] y) { y = Pad(x, p, v, a) }"
    model = graph(text, 18, p=np.array([0, 1]), v=np.float32(7), a=np.array([3]))
    operate(model, PadEveryAxis())

    assert len(node(model, "y").inputs) == 3


def test_what_is_shared_or_computed():
    """Amounts that two Pads share are copied; those of the run are left, with the reason."""
    text = """(float[1,2,3,3] x, int64[2] q) => (float[1,2,3,4] y, float[1,2,4,3] z, float[A,B,C,D] w) {
        y = Pad(x, p, , a) z = Pad(x, p, , b) w = Pad(x, q, , a)
    }"""
    model = graph(text, 18, p=np.array([0, 1]), a=np.array([3]), b=np.array([2]))
    edits = PadEveryAxis()(model)

    assert len(edits.changed) == 2
    assert edits.left == ("Pad -> 'w': its amounts, its axes or their number are not known before it runs",)
    found = [constants.array(node(model, name).inputs[1]).tolist() for name in "yz"]
    assert found == [[0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 1, 0]]
