"""What the contract cannot know about `swap_input_channels`."""

import numpy as np
import pytest
from _surgery import graph, operate, random

from workbench.errors import RecipeError
from workbench.surgery.swap_input_channels import SwapInputChannels


def test_all_first_convolutions_are_swapped():
    """Two convolutions that read the picture with one set of weights are both swapped, once."""
    model = graph(
        """(float[1,3,4,4] image) => (float[1,2,4,4] y) {
            a = Conv(image, k)
            b = Conv(image, k)
            y = Add(a, b)
        }""",
        k=random(2, 3, 1, 1),
    )
    result = operate(model, SwapInputChannels())
    assert result.inputs[0].color == "BGR"


def test_weights_that_others_use_stay():
    """A convolution further down with the same weights keeps them."""
    kernel = random(3, 3, 1, 1)
    model = graph("(float[1,3,4,4] image) => (float[1,3,4,4] y) { a = Conv(image, k) y = Conv(a, k) }", k=kernel)
    operate(model, SwapInputChannels())
    np.testing.assert_array_equal(model.graph.initializers["k"].const_value.numpy(), kernel)
    np.testing.assert_array_equal(model.graph.initializers["k_swapped"].const_value.numpy(), kernel[:, ::-1])


def test_weights_in_a_constant_node_are_weights():
    """The swapped weights become an initializer, and the Constant node goes when nobody reads it."""
    model = graph(
        """(float[1,3,2,2] image) => (float[1,1,2,2] y) {
            k = Constant<value = float[1,3,1,1] {1, 2, 3}>()
            y = Conv(image, k)
        }"""
    )
    operate(model, SwapInputChannels())
    assert [node.op_type for node in model.graph] == ["Conv"]


def test_it_swaps_once():
    """A second pass in the recipe does not undo the first, and says so."""
    model = graph("(float[1,3,2,2] image) => (float[1,1,2,2] y) { y = Conv(image, k) }", k=random(1, 3, 1, 1))
    result = operate(model, SwapInputChannels(), SwapInputChannels())
    assert result.inputs[0].color == "BGR"
    assert result.log[1][1].left == ("input 'image': it is swapped already",)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ("a = Div(image, c) y = Conv(a, k)", "Div -> 'a' reads it, not a convolution; run lift_normalization first"),
        ("a = Pad(image, p) y = Conv(a, k)", "Pad -> 'a' reads it, not a convolution; run fold_pad first"),
        ("y = Relu(image)", "Relu -> 'y' reads it, not a convolution"),
        ("y = Conv<group = 3>(image, d)", "Conv -> 'y' is grouped, so its outputs would be reordered"),
        ("n = Neg(k) y = Conv(image, n)", "the weights of Conv -> 'y' are not constant"),
        ("y = Neg(k)", "nothing reads it"),
    ],
)
def test_pictures_that_cannot_be_swapped_are_left(nodes, reason):
    """Only the weights of a plain convolution can be reversed without a trace."""
    constants = {
        "c": np.float32(255),
        "p": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "k": random(2, 3, 1, 1),
        "d": random(3, 1, 1, 1),
    }
    model = graph(f"(float[1,3,4,4] image) => (float[i,j,m,n] y) {{ {nodes} }}", **constants)
    edits = SwapInputChannels()(model)
    assert not edits
    assert edits.left == (f"input 'image': {reason}",)


def test_other_inputs_are_passed_over_unless_named():
    """An input of one channel has no colours; asked for by name, it says so."""
    model = graph("(float[1,1,2,2] depth) => (float[1,1,2,2] y) { y = Conv(depth, k) }", k=random(1, 1, 1, 1))
    assert SwapInputChannels()(model).left == ()
    assert SwapInputChannels(inputs=("depth",))(model).left == ("input 'depth': it has no three channels",)
    with pytest.raises(RecipeError, match="no input called 'image'"):
        SwapInputChannels(inputs=("image",))(model)
