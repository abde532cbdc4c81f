"""What the contract cannot know about `remove_identity_arithmetic`."""

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, node, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.surgery.remove_identity_arithmetic import RemoveIdentityArithmetic

ONE, ZERO, MINUS = np.float32(1), np.float32(0), np.float32(-0.0)
PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


def between(middle: str, behind: str = "y = Neg(b)", opset: int = 17, **constants: np.ndarray) -> ir.Model:
    """A graph of four axes with `middle`, which makes ``b`` of ``a``, between two layers."""
    text = f"(float[1,2,3,3] x) => (float[1,2,3,3] y) {{ a = Abs(x) {middle} {behind} }}"
    return graph(text, opset=opset, **{"one": ONE, "zero": ZERO, "minus": MINUS} | constants)


@pytest.mark.parametrize("opset", [13, 14, 17, 18, 22])
@pytest.mark.parametrize(
    ("middle", "does"),
    [
        ("b = Mul(a, one)", "Mul -> 'b': multiplies by 1, removed"),
        ("b = Mul(one, a)", "Mul -> 'b': multiplies by 1, removed"),
        ("b = Div(a, one)", "Div -> 'b': divides by 1, removed"),
        ("b = Pow(a, one)", "Pow -> 'b': raises to the power of 1, removed"),
        ("b = Add(a, zero)", "Add -> 'b': adds 0, removed"),
        ("b = Add(minus, a)", "Add -> 'b': adds 0, removed"),
        ("b = Sub(a, zero)", "Sub -> 'b': subtracts 0, removed"),
        ("b = Sub(a, minus)", "Sub -> 'b': subtracts 0, removed"),
    ],
)
def test_what_changes_nothing_goes(middle, does, opset):
    """Five operators, from either side where they commute; the account says what each did."""
    model = between(middle, opset=opset)
    result = operate(model, RemoveIdentityArithmetic())
    assert result.log[0][1].changed == (does,)
    assert operators(model) == ["Abs", "Neg"]
    assert result.now_called("b") == "a"
    assert not set(model.graph.initializers) - {"one", "zero", "minus"}


@pytest.mark.parametrize(
    "middle",
    ["b = Div(one, a)", "b = Sub(zero, a)", "b = Pow(one, a)", "b = Mul(a, zero)", "b = Add(a, one)", "b = Mul(a, a)"],
)
def test_what_changes_something_stays(middle):
    """One over x is not x, nor is zero minus x."""
    edits = RemoveIdentityArithmetic()(between(middle))
    assert not edits
    assert not edits.left


SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, 1.5], np.float32)


@PROPERTY
@given(
    st.sampled_from([("Mul", 1.0), ("Div", 1.0), ("Pow", 1.0), ("Add", -0.0), ("Sub", 0.0)]),
    st.lists(st.floats(width=32), min_size=1, max_size=9),
)
def test_every_bit_stays(what, numbers):
    """Signed zeros, infinities, denormal numbers and not-a-number come out as they went in: so says onnxruntime."""
    operator, number = what
    x = np.concatenate([SPECIAL, np.array(numbers, np.float32)])
    model = graph(
        f"(float[{x.size}] x) => (float[{x.size}] y) {{ a = Identity(x) b = {operator}(a, c) y = Identity(b) }}",
        c=np.float32(number),
    )
    before = run(model, {"x": x})["y"]
    assert RemoveIdentityArithmetic()(model)
    after = run(model, {"x": x})["y"]
    np.testing.assert_array_equal(before, after)
    regular = ~np.isnan(after)
    np.testing.assert_array_equal(before[regular].view(np.int32), after[regular].view(np.int32))


@PROPERTY
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.lists(st.integers(1, 3), max_size=5),
    st.sampled_from(["Mul", "Add", "Sub", "Div"]),
)
def test_a_constant_may_not_widen_its_operand(operand, other, operator):
    """Over all shapes: what goes had the shape of its result."""
    try:
        result = np.broadcast_shapes(operand, other)
    except ValueError:
        return
    shape, out = (",".join(str(size) for size in sizes) for sizes in (operand, result))
    model = graph(
        f"(float[{shape}] x) => (float[{out}] y) {{ a = Abs(x) b = {operator}(a, c) y = Neg(b) }}",
        c=np.full(other, 1 if operator in ("Mul", "Div") else 0, np.float32),
    )
    edits = RemoveIdentityArithmetic()(model)
    assert bool(edits) == (tuple(operand) == result)
    if not edits:
        (line,) = edits.left
        assert line.endswith("but its other operand may broadcast to another shape")
    x = random(*operand)
    np.testing.assert_array_equal(run(model, {"x": x})["y"], np.broadcast_to(-np.abs(x), result))


def test_a_vector_of_ones_counts():
    """One number a channel, all of them 1; one that is not keeps the node."""
    ones = np.ones((2, 1, 1), np.float32)
    assert RemoveIdentityArithmetic()(between("b = Mul(a, c)", c=ones))
    ones[1] = np.nextafter(ONE, np.float32(2))
    assert not RemoveIdentityArithmetic()(between("b = Mul(a, c)", c=ones))


def test_a_chain_goes_in_one_run_and_the_output_keeps_its_name():
    """The layer before them all takes over the name of the graph output, and the account follows."""
    model = graph(
        "(float[1,2,3,3] x) => (float[1,2,3,3] y) { a = Abs(x) b = Mul(a, one) c = Sub(b, zero) y = Div(c, one) }",
        one=ONE,
        zero=ZERO,
    )
    result = operate(model, RemoveIdentityArithmetic())
    assert operators(model) == ["Abs"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert {name: result.now_called(name) for name in "abc"} == {"a": "y", "b": "y", "c": "y"}
    assert not model.graph.initializers


def test_other_readers_of_a_renamed_tensor_read_on():
    """The operand of an output may be read elsewhere, too."""
    model = graph(
        "(float[1,2,3,3] x) => (float[1,2,3,3] y, float[1,2,3,3] z) { a = Abs(x) y = Mul(a, one) z = Neg(a) }", one=ONE
    )
    result = operate(model, RemoveIdentityArithmetic())
    assert node(model, "z").inputs[0].name == "y"
    assert result.now_called("a") == "y"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "(float[2] x) => (float[2] y) { y = Mul(x, one) }",
            "'y' is a graph output and input 'x' cannot take over its name",
        ),
        (
            "(float[2] x) => (float[2] a, float[2] y) { a = Abs(x) y = Mul(a, one) }",
            "'y' is a graph output and Abs -> 'a' cannot take over its name",
        ),
        (
            "(float[2] x) => (float[1,2] y) { a = Abs(x) b = Mul(a, row) y = Neg(b) }",
            "it multiplies by 1, but its other operand may broadcast to another shape",
        ),
    ],
)
def test_a_name_that_nobody_can_take_over_keeps_the_node(text, reason):
    """An input is no output, and a tensor has one name."""
    edits = RemoveIdentityArithmetic()(graph(text, one=ONE, row=np.ones((1, 2), np.float32)))
    assert not edits
    (line,) = edits.left
    assert line.endswith(f": {reason}")


@pytest.mark.parametrize(
    ("behind", "reader"),
    [
        ("y = Div(x, b)", "Div -> 'y'"),
        (
            "c = Neg(b) d = Concat<axis = 0>(c, x) e, f = Split<axis = 0>(d) g = Reciprocal(e) y = Neg(g)",
            "Reciprocal -> 'g'",
        ),
        ("y = Pow(b, minus_one)", "Pow -> 'y'"),
        ("y = custom.Twist(b)", "Twist -> 'y'"),
    ],
)
@pytest.mark.parametrize("middle", ["b = Add(a, zero)", "b = Sub(a, minus)"])
def test_minus_zero_is_another_divisor(middle, behind, reader):
    """1 / -0 is -inf and 1 / 0 is inf, so adding 0 counts where something behind divides."""
    model = between(middle, behind, minus_one=np.float32(-1))
    edits = RemoveIdentityArithmetic()(model)
    assert not edits
    (line,) = edits.left
    assert line.endswith(f"-> 'b': it makes 0 of -0, and {reader} can tell them apart")


def test_minus_zero_is_the_same_number_elsewhere():
    """To be divided is no danger; and -0 itself can be added everywhere."""
    assert RemoveIdentityArithmetic()(between("b = Add(a, zero)", "y = Div(b, x)"))
    assert RemoveIdentityArithmetic()(between("b = Add(a, minus)", "y = Div(x, b)"))
    assert RemoveIdentityArithmetic()(between("b = Sub(a, zero)", "y = Div(x, b)"))


def test_whole_numbers_have_no_minus_zero():
    """Integers are removed wherever they are."""
    model = graph(
        "(int32[2] x) => (int32[2] y) { a = Abs(x) b = Add(a, none) c = Div(b, one) y = Div(x, c) }",
        none=np.int32(0),
        one=np.int32(1),
    )
    assert len(RemoveIdentityArithmetic()(model).changed) == 2


def test_a_branch_that_reads_it_counts_as_a_reader_that_knows():
    """What a subgraph does with a zero is not looked into."""
    model = graph(
        """(float[2] x, bool flag) => (float[2] y) {
            a = Abs(x)
            b = Add(a, zero)
            y = If(flag) <then_branch = t () => (float[2] u) { u = Neg(b) },
                          else_branch = e () => (float[2] v) { v = Neg(x) }>
        }""",
        zero=ZERO,
    )
    edits = RemoveIdentityArithmetic()(model)
    assert not edits
    assert edits.left == (
        "If -> 'y': passes do not enter subgraphs",
        "Add -> 'b': it makes 0 of -0, and Neg -> 'u' can tell them apart",
    )


def test_a_default_that_a_caller_may_replace_is_no_constant():
    """An initializer that is a graph input, too, may be another number tomorrow."""
    model = graph("(float[2] x, float one) => (float[2] y) { a = Abs(x) b = Mul(a, one) y = Neg(b) }", one=ONE)
    assert not RemoveIdentityArithmetic()(model)
