"""What the contract cannot know about `expand_pow`."""

import numpy as np
import pytest
from _chips import blocked
from _surgery import graph, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import io
from workbench.surgery.expand_pow import ExpandPow


def power(exponent, opset: int = 17):
    """A vector of 32 to the power of `exponent`."""
    return graph("(float[1,32] x) => (float[1,32] y) { y = Pow(x, p) }", opset, p=np.asarray(exponent))


QUARTERS = [number / 4 for number in range(-32, 33)]


@settings(max_examples=70, deadline=None)
@given(
    exponent=st.sampled_from(QUARTERS),
    opset=st.sampled_from([13, 15, 17, 22]),
    kind=st.sampled_from([np.float32, np.float64, np.int32, np.int64]),
    wide=st.sampled_from([(), (1,), (1, 1), (1, 32)]),
)
def test_every_quarter_is_the_same_power(exponent, opset, kind, wide):
    """Negative, zero and positive exponents of any type and harmless shape, for bases over eight decades."""
    model = power(np.full(wide, exponent, kind), opset)
    x = np.geomspace(1e-4, 1e4, 32, dtype=np.float32)[None]
    before = run(model, {"x": x})["y"]
    assert ExpandPow()(model)
    after = run(model, {"x": x})["y"]
    np.testing.assert_allclose(after, before, rtol=3e-6)
    assert "Pow" not in operators(model)
    assert blocked(model) == []


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, -1, -2, 0.5, -0.5, 0.75])
def test_edges_of_the_domain_stay_as_they_were(exponent):
    """Negative bases, zero and infinity give what Pow gives, NaN included, but for the three cases the pass names."""
    model = power(np.float32(exponent))
    x = np.resize(np.array([-np.inf, -3, -0.5, 0, 0.5, 3, np.inf], np.float32), (1, 32))
    if exponent in (0.5, 0.75, -0.5):
        x = np.maximum(x, -3)
    before = run(model, {"x": x})["y"]
    ExpandPow()(model)
    np.testing.assert_allclose(run(model, {"x": x})["y"], before, rtol=1e-6)


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        (2.0, ["Mul"]),
        (3.0, ["Mul", "Mul"]),
        (4.0, ["Mul", "Mul"]),
        (0.5, ["Sqrt"]),
        (0.75, ["Sqrt", "Sqrt", "Mul"]),
        (1.5, ["Sqrt", "Mul"]),
        (-1.0, ["Div"]),
        (-0.5, ["Sqrt", "Div"]),
        (0.0, ["Clip"]),
        (1.0, ["Identity"]),
        (8.25, ["Pow"]),
        (2.2, ["Pow"]),
    ],
)
def test_how_it_is_written_out(exponent, expected):
    """As few nodes as there can be; other exponents keep their Pow."""
    model = power(np.float32(exponent))
    ExpandPow()(model)
    assert operators(model) == expected


def test_a_first_power_inside_the_graph_disappears():
    """Its readers read the base, and an output keeps its name."""
    model = graph(
        "(float[1,4] x) => (float[1,4] y, float[1,4] z) { a = Relu(x) b = Pow(a, one) y = Neg(b) c = Exp(x)"
        " z = Pow(c, one) }",
        one=np.float32(1),
    )
    edits = operate(model, ExpandPow()).log[0][1]
    assert operators(model) == ["Relu", "Neg", "Exp"]
    assert edits.changed == ("Pow -> 'b': removed, it is its base", "Pow -> 'z': removed, it is its base")
    assert edits.renamed == {"b": "a", "c": "z"}


def test_whole_numbers_stay_whole():
    """A squared index is a product of indices; its roots and inverses are not written out."""
    model = graph(
        "(int32[3] i, float[3] x) => (int32[3] y, int32[3] z, float[3] o) { y = Pow(i, two) z = Pow(i, half)"
        " o = Relu(x) }",
        two=np.float32(2),
        half=np.float32(0.5),
    )
    edits = ExpandPow()(model)
    assert operators(model) == ["Mul", "Pow", "Relu"]
    assert edits.changed == ("Pow -> 'y': power 2 is Mul",)


def test_another_exponent_becomes_a_scalar_once():
    """The chips take an exponent that is a scalar initializer, not one in a Constant node or with axes."""
    model = graph(
        "(float[1,4] x) => (float[1,4] y, float[1,4] z) { k = Constant<value = float[1] {2.2}>() y = Pow(x, k)"
        " a = Abs(x) z = Pow(a, p) }",
        p=np.full((1, 1), 1.7, np.float32),
    )
    edits = operate(model, ExpandPow()).log[0][1]
    assert edits.changed == (
        "Pow -> 'y': its exponent 2.2 is a scalar initializer",
        "Pow -> 'z': its exponent 1.7 is a scalar initializer",
    )
    assert [value.const_value.shape.rank() for value in model.graph.initializers.values()] == [0, 0]
    assert blocked(model) == []
    assert not ExpandPow()(model)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            power(np.linspace(1, 3, 32, dtype=np.float32)),
            "Pow -> 'y': its exponent is not one number but differs from element to element",
        ),
        (
            graph("(float[3] x, float[3] p) => (float[3] y) { y = Pow(x, p) }"),
            "Pow -> 'y': its exponent is computed at run time",
        ),
        (
            graph("(float[3] x) => (float[2,3] y) { y = Pow(x, p) }", p=np.full((2, 1), 2, np.float32)),
            "Pow -> 'y': its exponent of shape [2, 1] broadcasts the base, or the base's shape is not known",
        ),
        (
            graph("(float[N] x) => (float[M] y) { y = Pow(x, p) }", p=np.full(3, 2, np.float32)),
            "Pow -> 'y': its exponent of shape [3] broadcasts the base, or the base's shape is not known",
        ),
    ],
)
def test_what_is_no_power_by_one_number_is_left(model, reason):
    """Exponents that differ or come from the run, and those that make the base larger."""
    before = io.to_bytes(model)
    edits = ExpandPow()(model)
    assert edits.left == (reason,)
    assert io.to_bytes(model) == before


def test_a_base_of_unknown_size_is_squared():
    """A product needs no shape."""
    model = graph("(float[N,4] x) => (float[N,4] y) { y = Pow(x, p) }", p=np.float32(2))
    ExpandPow()(model)
    assert operators(model) == ["Mul"]
    np.testing.assert_allclose(run(model, {"x": random(2, 4)})["y"], random(2, 4) ** 2, rtol=1e-6)


def test_a_chain_of_first_powers_leads_to_the_name_that_is_left():
    """Every removed tensor is known by the name that its values have in the end, the output's."""
    model = graph(
        "(float[1,3] x) => (float[1,3] y) { r = Relu(x) a = Pow(r, one) b = Pow(a, one) y = Pow(b, one) }",
        one=np.float32(1),
    )
    result = operate(model, ExpandPow())
    assert operators(model) == ["Relu"]
    assert {name: result.now_called(name) for name in "rab"} == dict.fromkeys("rab", "y")
