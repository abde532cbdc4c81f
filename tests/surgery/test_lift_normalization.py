"""What the contract cannot know about `lift_normalization`."""

import numpy as np
import pytest
from _surgery import graph, operate, operators, random
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import RecipeError
from workbench.surgery.lift_normalization import LiftNormalization


def chain(nodes: str, output: str = "float[1,3,2,2] y", **constants):
    """A graph that begins with `nodes` and ends with a Relu of `end`."""
    return graph(f"(float[1,3,2,2] image) => ({output}) {{ {nodes} y = Relu(end) }}", **constants)


def f(*values: float) -> np.ndarray:
    """A float32 constant, a number or one a channel."""
    return np.array(values[0], np.float32) if len(values) == 1 else np.array(values, np.float32).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("nodes", "constants", "mean", "std"),
    [
        ("a = Div(image, c) end = Sub(a, d)", {"c": f(127.5), "d": f(1)}, (127.5,), (127.5,)),
        ("a = Sub(image, c) end = Div(a, d)", {"c": f(128), "d": f(256)}, (128,), (256,)),
        ("a = Mul(c, image) end = Add(d, a)", {"c": f(0.5), "d": f(-2)}, (4,), (2,)),
        ("a = Sub(image, c) end = Div(a, d)", {"c": f(1, 2, 3), "d": f(2, 4, 8)}, (1, 2, 3), (2, 4, 8)),
        ("end = Add(image, c)", {"c": f(0)}, (0,), (1,)),
        ("a = Sub(c, image) end = Sub(d, a)", {"c": f(5), "d": f(1)}, (4,), (1,)),
        ("a = Mul(image, c) b = Mul(a, c) end = Sub(b, d)", {"c": f(-2), "d": f(8)}, (2,), (0.25,)),
    ],
)
def test_forms_of_normalization(nodes, constants, mean, std):
    """Every way to write a * x + b with a > 0 becomes its mean and std, and the numbers stay."""
    model = chain(nodes, **constants)
    result = operate(model, LiftNormalization())
    assert operators(model) == ["Relu"]
    assert result.inputs[0].mean == mean
    assert result.inputs[0].std == std
    assert not model.graph.initializers


@settings(max_examples=25, deadline=None)
@given(
    scale=st.lists(st.floats(0.001953125, 4, width=32), min_size=3, max_size=3),
    shift=st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=3),
)
def test_any_positive_normalization_keeps_the_numbers(scale, shift):
    """Per-channel constants of any size end up in the recipe without losing a digit that counts."""
    operate(chain("a = Mul(image, c) end = Add(a, d)", c=f(*scale), d=f(*shift)), LiftNormalization())


def test_the_beginning_is_lifted_when_the_rest_cannot_be():
    """A negative scale stops the chain; what came before it leaves the graph all the same."""
    model = chain("a = Div(image, c) end = Sub(one, a)", c=f(255), one=f(1))
    result = operate(model, LiftNormalization())
    assert operators(model) == ["Sub", "Relu"]
    assert result.inputs[0].std == (255,)
    edits = result.log[0][1]
    assert edits.left == ("Sub -> 'end': it scales by a number that is not positive, and a std must be",)


@pytest.mark.parametrize(
    ("nodes", "constants", "left"),
    [
        ("end = Div(c, image)", {"c": f(1)}, ()),
        ("end = Mul(image, image)", {}, ()),
        ("end = Mul(image, c)", {"c": random(1, 3, 2, 2)}, ()),
        ("end = Mul(image, c)", {"c": random(1, 1, 2, 1)}, ()),
        (
            "end = Mul(image, c)",
            {"c": f(1, 0, 1)},
            ("Mul -> 'end': it scales by a number that is not positive, and a std must be",),
        ),
        ("end = Div(image, c)", {"c": f(0)}, ("Div -> 'end': it divides by zero",)),
        (
            "a = Div(image, c) end = Add(a, image)",
            {"c": f(2)},
            ("Div -> 'a': 'image' also feeds Div -> 'a', Add -> 'end'",),
        ),
    ],
)
def test_what_is_no_normalization_stays(nodes, constants, left):
    """Other arithmetic on the input is the network's own, and near misses say why."""
    edits = LiftNormalization()(chain(nodes, **constants))
    assert not edits
    assert edits.left == left


def test_a_normalized_picture_that_is_an_output_stays():
    """An output must be computed in the graph."""
    model = chain("end = Div(image, c)", "float[1,3,2,2] end, float[1,3,2,2] y", c=f(255))
    edits = LiftNormalization()(model)
    assert edits.left == ("Div -> 'end': its result is a graph output",)


def test_constants_that_others_read_stay():
    """Only what the lifted nodes alone read goes with them."""
    model = graph(
        "(float[1,3,2,2] image) => (float[1,3,2,2] y) { a = Div(image, c) r = Relu(a) y = Mul(r, c) }", c=f(255)
    )
    operate(model, LiftNormalization())
    assert list(model.graph.initializers) == ["c"]


def test_only_the_inputs_asked_for():
    """A second picture keeps its own normalization."""
    text = """(float[1,3,2,2] p, float[1,3,2,2] q) => (float[1,3,2,2] y) {
        a = Div(p, c) b = Div(q, c) r = Relu(a) s = Relu(b) y = Add(r, s)
    }"""
    model = graph(text, c=f(255))
    result = operate(model, LiftNormalization(inputs=("q",)))
    assert [spec.std for spec in result.inputs] == [(1,), (255,)]
    with pytest.raises(RecipeError, match="no input called 'qq'"):
        LiftNormalization(inputs=("qq",))(model)
