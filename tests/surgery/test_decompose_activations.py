"""What the contract cannot know about `decompose_activations`."""

import numpy as np
import onnx.reference
import pytest
from _chips import blocked
from _surgery import graph, operate, operators, run
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workbench.errors import RecipeError
from workbench.graph import io
from workbench.surgery.decompose_activations import DecomposeActivations

FORMS = [
    ("HardSigmoid", 13, ["Mul", "Add", "Clip"]),
    ("HardSigmoid<alpha = 1.0, beta = 0.0>", 22, ["Clip"]),
    ("HardSigmoid<alpha = -0.5, beta = 0.25>", 17, ["Mul", "Add", "Clip"]),
    ("HardSwish", 14, ["Mul", "Add", "Clip", "Mul"]),
    ("HardSwish", 22, ["Mul", "Add", "Clip", "Mul"]),
    ("Gelu", 20, ["Mul", "Erf", "Add", "Mul", "Mul"]),
    ('Gelu<approximate = "tanh">', 20, ["Mul", "Mul", "Add", "Mul", "Sigmoid", "Mul"]),
    ("Mish", 18, ["Softplus", "Tanh", "Mul"]),
    ("Selu", 13, ["Elu", "Mul"]),
    ("Selu<alpha = 2.0, gamma = 0.5>", 22, ["Elu", "Mul"]),
    ("Celu", 13, ["Elu"]),
    ("Celu<alpha = 0.25>", 13, ["Mul", "Elu", "Mul"]),
    ("Celu<alpha = 3.0>", 22, ["Mul", "Elu", "Mul"]),
    ("ThresholdedRelu", 13, ["Greater", "Cast", "Mul"]),
    ("ThresholdedRelu<alpha = -0.5>", 22, ["Greater", "Cast", "Mul"]),
    ("ThresholdedRelu<alpha = 0.0>", 17, ["Relu"]),
    ("Softsign", 22, ["Abs", "Add", "Div"]),
    ("Shrink", 13, ["Abs", "Greater", "Cast", "Mul"]),
    ("Shrink<lambd = 0.25, bias = 0.25>", 13, ["Clip", "Sub"]),
]


def activation(call: str, opset: int):
    """One activation of a vector of 64."""
    return graph(f"(float[64] x) => (float[64] y) {{ y = {call}(x) }}", opset)


@pytest.mark.parametrize(("call", "opset", "expected"), FORMS)
def test_every_form_is_the_same_function_on_every_chip(call, opset, expected):
    """From far below zero to far above, through zero, the spelled out form gives the same numbers."""
    model = activation(call, opset)
    points = np.array([-1e30, -1e4, -80, *np.linspace(-8, 8, 57), 80, 1e4, 1e30, 0], np.float32)
    points = np.sort(points)
    before = run(model, {"x": points})["y"]
    edits = DecomposeActivations()(model)
    assert operators(model) == expected
    np.testing.assert_allclose(run(model, {"x": points})["y"], before, rtol=1e-5, atol=1e-6)
    assert blocked(model) == []
    assert len(edits.changed) == 1


@settings(max_examples=40, deadline=None)
@given(
    x=arrays.arrays(np.float32, 64, elements=st.floats(-50, 50, width=32)),
    call=st.sampled_from([form[:2] for form in FORMS]),
)
def test_any_numbers_stay(x, call):
    """Whatever goes in, what comes out differs by rounding only."""
    model = activation(*call)
    before = run(model, {"x": x})["y"]
    DecomposeActivations()(model)
    np.testing.assert_allclose(run(model, {"x": x})["y"], before, rtol=1e-5, atol=2e-6)


def test_swish_of_the_newest_operator_set():
    """Swish is in ONNX since operator set 24; its function in ONNX's own words is what the formula says."""
    if onnx.defs.onnx_opset_version() < 24:
        pytest.skip("the installed ONNX has no operator set 24")
    for call, expected in (("Swish", ["Sigmoid", "Mul"]), ("Swish<alpha = 1.702>", ["Mul", "Sigmoid", "Mul"])):
        model = activation(call, 24)
        x = np.linspace(-9, 9, 64, dtype=np.float32)
        before = onnx.reference.ReferenceEvaluator(io.to_proto(model)).run(None, {"x": x})[0]
        DecomposeActivations()(model)
        assert operators(model) == expected
        after = onnx.reference.ReferenceEvaluator(io.to_proto(model)).run(None, {"x": x})[0]
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_the_account_says_what_stands_there_now():
    """Only the chosen operators go; a HardSwish alone becomes a HardSigmoid, which every chip has."""
    model = graph("(float[1,2,3,3] x) => (float[1,2,3,3] y) { h = HardSwish(x) g = HardSigmoid(h) y = Softsign(g) }")
    edits = operate(model, DecomposeActivations(operators=("HardSwish", "Softsign"))).log[0][1]
    assert edits.changed == (
        "HardSwish -> 'h': spelled out as HardSigmoid, Mul",
        "Softsign -> 'y': spelled out as Abs, Add, Div",
    )
    assert edits.left == ()
    assert operators(model) == ["HardSigmoid", "Mul", "HardSigmoid", "Abs", "Add", "Div"]
    names = set(model.graph.initializers)
    assert names == {"y_number"}


def test_every_attribute_is_written():
    """Some compilers read what is written only, so Elu has its alpha."""
    model = activation("Selu", 17)
    DecomposeActivations()(model)
    assert model.graph.node(0).attributes["alpha"].as_float() == pytest.approx(1.6732632)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (activation("Celu<alpha = -1.0>", 17), "Celu -> 'y': x / alpha is no number to rely on with alpha -1"),
        (activation("Celu<alpha = 1e-9>", 17), "Celu -> 'y': x / alpha is no number to rely on with alpha 1e-09"),
        (
            activation("Shrink<bias = 0.25>", 17),
            "Shrink -> 'y': bias 0.25 with lambd 0.5 is neither a hard nor a soft threshold",
        ),
        (
            graph("(float16[3] x) => (float16[3] y) { y = HardSwish(x) }"),
            "HardSwish -> 'y': its input is FLOAT16, not float32",
        ),
        (
            graph("(float[3] x) => (float[3] y) { t = custom.Twist(x) y = Softsign(t) }"),
            "Softsign -> 'y': the type of its input is not known",
        ),
        (activation('Gelu<approximate = "erf">', 20), "Gelu -> 'y': approximate 'erf' is neither none nor tanh"),
    ],
)
def test_what_no_formula_covers_is_left(model, reason):
    """A parameter or a type that the formulas are not for keeps its node."""
    before = io.to_bytes(model)
    edits = DecomposeActivations()(model)
    assert edits.left == (reason,)
    assert io.to_bytes(model) == before


def test_a_misspelt_activation_names_the_near_miss():
    """The option takes what the pass knows."""
    with pytest.raises(RecipeError, match="no activation called 'HardSwisch'") as caught:
        DecomposeActivations(operators=("HardSwisch",))(activation("Selu", 17))
    assert caught.value.fix == "did you mean 'HardSwish'?"
    assert caught.value.at == ("operators", 0)
