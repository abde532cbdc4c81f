"""What the contract cannot know about `merge_relu_after_clip`."""

import numpy as np
import pytest
from _surgery import graph, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.surgery.merge_relu_after_clip import MergeReluAfterClip

ZERO, SIX = np.float32(0), np.float32(6)


def relu6(nodes: str, outputs: str = "float[1,2,3,3] y", **more):
    """A graph with the bounds of ReLU6 at hand."""
    return graph(f"(float[1,2,3,3] x) => ({outputs}) {{ {nodes} }}", zero=ZERO, six=SIX, **more)


def test_a_chain_collapses_in_one_run():
    """Relu, Relu, Clip, Relu, Relu is one Clip."""
    model = relu6("a = Relu(x) b = Relu(a) c = Clip(b, zero, six) d = Relu(c) e = Relu(d) y = Neg(e)")
    operate(model, MergeReluAfterClip())
    assert operators(model) == ["Clip", "Neg"]


def test_the_output_keeps_its_name_when_its_relu_goes():
    """The Clip takes over the name of the graph output."""
    model = relu6("c = Clip(x, zero, six) y = Relu(c)")
    result = operate(model, MergeReluAfterClip())
    assert operators(model) == ["Clip"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert result.now_called("c") == "y"


def test_a_chain_leads_to_the_name_that_is_left():
    """Every removed tensor is known by the name of the output that has its values."""
    model = relu6("c = Clip(x, zero, six) d = Relu(c) e = Relu(d) y = Relu(e)")
    result = operate(model, MergeReluAfterClip())
    assert {name: result.now_called(name) for name in "cde"} == dict.fromkeys("cde", "y")


def test_two_outputs_need_two_tensors():
    """When Clip and Relu are both outputs, both stay, and the reason is given."""
    model = relu6("c = Clip(x, zero, six) y = Relu(c)", "float[1,2,3,3] c, float[1,2,3,3] y")
    edits = MergeReluAfterClip()(model)
    assert not edits
    assert edits.left == ("Relu -> 'y': 'y' is a graph output and Clip -> 'c' cannot take over its name",)


def test_a_relu_that_others_read_stays():
    """A Relu before a Clip has its own work when something else reads it."""
    model = relu6("r = Relu(x) c = Clip(r, zero, six) n = Neg(r) y = Add(c, n)")
    edits = MergeReluAfterClip()(model)
    assert edits.left == ("Relu -> 'r': Clip -> 'c', Neg -> 'n' read it",)


def test_a_relu_that_is_an_output_stays():
    """A graph output is read from outside."""
    model = relu6("r = Relu(x) y = Clip(r, zero, six)", "float[1,2,3,3] r, float[1,2,3,3] y")
    assert not MergeReluAfterClip()(model)


@pytest.mark.parametrize("clip", ["Clip(x, low, six)", "Clip(x, , six)", "Clip(x)"])
def test_a_clip_that_lets_negatives_through_keeps_its_relu(clip):
    """A minimum below zero, or none, does not do the work of a Relu."""
    model = relu6(f"c = {clip} r = Relu(c) y = Neg(r)", low=np.float32(-1))
    edits = MergeReluAfterClip()(model)
    assert edits.left == ("Relu -> 'r': Clip -> 'c' has no constant bounds of 0 or more",)


def test_a_minimum_from_a_constant_node_counts():
    """Exporters write bounds as Constant nodes as well; an unused one goes with its reader."""
    model = graph(
        """(float[1,2] x) => (float[1,2] y) {
            zero = Constant<value_float = 0.0>()
            c = Clip(x, zero)
            r = Relu(c)
            y = Neg(r)
        }"""
    )
    operate(model, MergeReluAfterClip())
    assert operators(model) == ["Constant", "Clip", "Neg"]


def test_a_minimum_that_a_caller_may_replace_is_no_constant():
    """An initializer that is a graph input too is only a default."""
    model = graph("(float[1,2] x, float low) => (float[1,2] y) { c = Clip(x, low) y = Relu(c) }", low=ZERO)
    assert not MergeReluAfterClip()(model)


def test_several_readers_follow():
    """All readers of the Relu, inside branches too, read the Clip afterwards."""
    model = graph(
        """(float[1,2] x, bool flag) => (float[1,2] y) {
            c = Clip(x, zero)
            r = Relu(c)
            i = If(flag) <then_branch = t () => (float[1,2] u) { u = Neg(r) },
                          else_branch = e () => (float[1,2] v) { v = Abs(r) }>
            y = Add(i, r)
        }""",
        zero=ZERO,
    )
    edits = MergeReluAfterClip()(model)
    assert edits.left == ("If -> 'i': passes do not enter subgraphs",)
    x = random(1, 2)
    np.testing.assert_array_equal(run(model, {"x": x, "flag": np.array(True)})["y"], np.zeros((1, 2), np.float32))


@settings(max_examples=20, deadline=None)
@given(low=st.floats(0, 4, width=32), high=st.floats(-2, 8, width=32), after=st.booleans())
def test_every_pair_of_bounds_keeps_its_numbers(low, high, after):
    """Whatever the bounds, even crossed ones, minimum at least zero is all it takes."""
    nodes = (
        "c = Clip(x, low, high) r = Relu(c) y = Neg(r)" if after else "r = Relu(x) c = Clip(r, low, high) y = Neg(c)"
    )
    text = f"(float[1,16] x) => (float[1,16] y) {{ {nodes} }}"
    bounds = {"low": np.float32(low), "high": np.float32(high)}
    x = {"x": np.linspace(-8, 8, 16, dtype=np.float32)[np.newaxis]}
    model = graph(text, **bounds)
    before = run(model, x)["y"]
    # Clip is min(max(x, low), high): with an upper bound below zero a Relu behind it still has work to do.
    assert bool(MergeReluAfterClip()(model)) is (high >= 0 or not after)
    np.testing.assert_array_equal(run(model, x)["y"], before)
