"""What the contract cannot know about `cut_outputs`."""

import numpy as np
import pytest
from _surgery import graph, operate, operators, random, run

from workbench.errors import RecipeError, UnsupportedError
from workbench.graph import shapes
from workbench.surgery.cut_outputs import CutOutputs

TWO_HEADS = """(float[1,2,3,3] x) => (float[1,2,3,3] y, float[1,2,3,3] z) {
    trunk = Conv(x, w)
    left = Relu(trunk)
    right = Neg(trunk)
    y = Sigmoid(left)
    z = Mul(right, scale)
}"""


def heads():
    """One trunk, two heads."""
    return graph(TWO_HEADS, w=random(2, 2, 1, 1), scale=random(1, 2, 1, 1))


def test_outputs_come_in_the_order_asked_for():
    """The order is the recipe's, not the graph's."""
    model = heads()
    operate(model, CutOutputs(tensors=("right", "left")))
    assert [value.name for value in model.graph.outputs] == ["right", "left"]
    assert operators(model) == ["Conv", "Relu", "Neg"]


def test_weights_of_dead_nodes_go_too():
    """A cut file does not carry what nobody reads."""
    model = heads()
    CutOutputs(tensors=("left",))(model)
    assert list(model.graph.initializers) == ["w"]


def test_an_output_may_stay_an_output():
    """An output that is named again keeps its place by name; order alone is a change."""
    model = heads()
    operate(model, CutOutputs(tensors=("z", "y")))
    assert [value.name for value in model.graph.outputs] == ["z", "y"]


def test_a_tensor_and_what_follows_from_it_can_both_be_outputs():
    """Nothing that feeds an output is dead."""
    model = heads()
    operate(model, CutOutputs(tensors=("trunk", "y")))
    assert operators(model) == ["Conv", "Relu", "Sigmoid"]


def test_new_outputs_have_a_shape():
    """The shape of an inner tensor is inferred."""
    model = heads()
    CutOutputs(tensors=("trunk",))(model)
    assert list(model.graph.outputs[0].shape) == [1, 2, 3, 3]


def test_dead_nodes_and_weights_are_a_change_by_themselves():
    """A graph with the right outputs and something dead in it is cleaned, and says so."""
    model = graph(
        "(float[1,2,3,3] x) => (float[1,2,3,3] y) { y = Relu(x) unused = Neg(y) }", spare=random(4), other=random(2)
    )
    edits = CutOutputs(tensors=("y",))(model)
    assert edits.changed == (
        "Neg -> 'unused': removed, no output needs it",
        "constant 'spare': removed, nothing reads it",
        "constant 'other': removed, nothing reads it",
    )


def test_what_a_subgraph_reads_is_alive():
    """A tensor that only the branch of an If reads feeds the output all the same."""
    model = graph(
        """(float[1,2] x, bool flag) => (float[1,2] y, float[1,2] z) {
            deep = Neg(x)
            y = If(flag) <then_branch = t () => (float[1,2] u) { u = Relu(deep) },
                          else_branch = e () => (float[1,2] v) { v = Abs(x) }>
            z = Sigmoid(deep)
        }"""
    )
    CutOutputs(tensors=("y",))(model)
    assert operators(model) == ["Neg", "If"]
    feeds = {"x": random(1, 2), "flag": np.array(True)}
    np.testing.assert_array_equal(run(model, feeds)["y"], np.maximum(-feeds["x"], 0))


def test_a_dead_if_takes_its_readings_with_it():
    """A node whose only reader was a removed branch is dead too."""
    model = graph(
        """(float[1,2] x, bool flag) => (float[1,2] y, float[1,2] z) {
            deep = Neg(x)
            y = If(flag) <then_branch = t () => (float[1,2] u) { u = Relu(deep) },
                          else_branch = e () => (float[1,2] v) { v = Abs(x) }>
            z = Sigmoid(x)
        }"""
    )
    edits = CutOutputs(tensors=("z",))(model)
    assert operators(model) == ["Sigmoid"]
    assert edits.left == ("input 'flag': no output depends on it, but inputs stay",)


@pytest.mark.parametrize(
    ("tensors", "complaint", "fix"),
    [
        (("lefft",), "no tensor called 'lefft'", "did you mean 'left'"),
        (("x",), "'x' is an input, not a result", "a tensor that a node makes"),
        (("w",), "'w' is a constant, not a result", "a tensor that a node makes"),
        (("left", "left"), "tensor 'left' is named twice", "once"),
    ],
)
def test_impossible_cuts_are_named(tensors, complaint, fix):
    """Each mistake says what is wrong and what to do."""
    with pytest.raises(RecipeError, match=complaint) as caught:
        CutOutputs(tensors=tensors)(heads())
    assert fix in caught.value.fix
    assert caught.value.at == ("tensors", len(tensors) - 1)


def test_a_tensor_inside_a_subgraph_cannot_be_an_output():
    """It exists only while its branch runs."""
    model = graph(
        """(float[1,2] x, bool flag) => (float[1,2] y) {
            y = If(flag) <then_branch = t () => (float[1,2] u) { inner = Relu(x) u = Neg(inner) },
                          else_branch = e () => (float[1,2] v) { v = Abs(x) }>
        }"""
    )
    with pytest.raises(RecipeError, match="'inner' lies inside a subgraph"):
        CutOutputs(tensors=("inner",))(model)


def test_a_tensor_of_unknown_shape_cannot_be_an_output():
    """Behind an operator of another domain nothing can be inferred."""
    model = graph("(float[1,2] x) => (float[1,2] y) { odd = custom.Twist(x) y = Relu(odd) }")
    with pytest.raises(UnsupportedError, match="the shape of 'odd' cannot be inferred"):
        CutOutputs(tensors=("odd",))(model)
    assert "odd" not in shapes.infer(model)
