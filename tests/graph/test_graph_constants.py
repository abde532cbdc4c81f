"""Reading and writing constants."""

import numpy as np
import pytest
from _surgery import graph, node, random

from workbench.graph import constants, walk


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value = float[2] {1, 2}", np.array([1, 2], np.float32)),
        ("value_float = 0.5", np.float32(0.5)),
        ("value_floats = [0.5, 2.0]", np.array([0.5, 2], np.float32)),
        ("value_int = 7", np.int64(7)),
        ("value_ints = [7, 8]", np.array([7, 8], np.int64)),
    ],
)
def test_constant_nodes_are_read(attribute, expected):
    """Each way a Constant node may hold numbers gives the right type."""
    model = graph(f"(float[2] x) => (float[2] y) {{ c = Constant<{attribute}>() y = Identity(x) }}")
    found = constants.array(walk.tensors(model.graph)["c"])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_a_default_is_no_constant():
    """An initializer that is also an input may be replaced by the caller."""
    model = graph("(float[2] x, float[2] k) => (float[2] y) { y = Add(x, k) }", k=np.ones(2, np.float32))
    assert constants.array(model.graph.inputs[1]) is None
    assert constants.array(model.graph.inputs[0]) is None
    assert constants.array(None) is None


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), 3), ((1,), 3), ((3, 1, 1), 3), ((1, 3, 1, 1), 3), ((3,), None), ((1, 3), None), ((2, 1, 1, 1), None),
     ((1, 1, 3, 1, 1), None), ((1, 2, 1, 1), None)],
)  # fmt: skip
def test_per_channel_means_along_axis_one(shape, expected):
    """Only what broadcasts along the channels, and enlarges nothing, is one value a channel."""
    model = graph("(float[1,3,3,3] x) => (float[i,j,m,n] y) { y = Identity(x) }", k=random(*shape))
    found = constants.per_channel(model.graph.initializers["k"], 3, 4)
    assert (None if found is None else found.size) == expected


def test_other_types_are_not_per_channel():
    """Integers and half floats are not what float32 arithmetic folds."""
    model = graph("(float[1] x) => (float[1] y) { y = Identity(x) }", k=np.int64(2), h=np.float16(2))
    assert [constants.per_channel(model.graph.initializers[name], 3, 4) for name in "kh"] == [None, None]


def test_an_own_constant_is_overwritten():
    """A weight that one node reads keeps its name."""
    model = graph("(float[2] x) => (float[2] y) { y = Add(x, k) }", k=np.zeros(2, np.float32))
    constants.put(model.graph, node(model, "y"), 1, np.ones(2, np.float32), "new")
    assert list(model.graph.initializers) == ["k"]
    np.testing.assert_array_equal(constants.array(model.graph.initializers["k"]), [1, 1])


def test_a_shared_constant_is_copied():
    """Other readers keep the old numbers; the new name avoids those that are taken."""
    model = graph("(float[2] x) => (float[2] y) { new = Add(x, k) y = Add(new, k) }", k=np.zeros(2, np.float32))
    constants.put(model.graph, node(model, "y"), 1, np.ones(2, np.float32), "new")
    assert list(model.graph.initializers) == ["k", "new_2"]
    np.testing.assert_array_equal(constants.array(model.graph.initializers["k"]), [0, 0])


def test_a_missing_input_is_added():
    """A convolution without bias gets one."""
    model = graph("(float[1,1,2,2] x) => (float[1,1,2,2] y) { y = Conv(x, k) }", k=random(1, 1, 1, 1))
    constants.put(model.graph, node(model, "y"), 2, np.ones(1, np.float32), "bias")
    assert [value.name for value in node(model, "y").inputs] == ["x", "k", "bias"]
