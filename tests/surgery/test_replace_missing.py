"""What the contract cannot know about `replace_missing`."""

import numpy as np
import pytest
from _chips import blocked
from _surgery import graph, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import RecipeError
from workbench.graph import io
from workbench.surgery.replace_missing import ReplaceMissing

EXACT = [
    ("y = Neg(x)", ["Mul"]),
    ("y = Floor(x)", ["Mul", "Ceil", "Mul"]),
    ("y = Reciprocal(x)", ["Div"]),
    ("y = Sign(x)", ["Greater", "Less", "Cast", "Cast", "Sub"]),
    ("y = Sum(x, z, x)", ["Add", "Add"]),
    ("y = Sum(x)", ["Identity"]),
    ("y = Mean(x)", ["Identity"]),
    ("y = Dropout(x)", ["Identity"]),
    ("b = Less(x, z) y = Where(b, x, z)", ["Less", "Cast", "Mul", "Sub", "Mul", "Add"]),
]


def vector(nodes: str, opset: int = 17, **weights):
    """Two vectors of 48, and what `nodes` make of them."""
    return graph(f"(float[48] x, float[48] z) => (float[48] y) {{ {nodes} }}", opset, **weights)


@settings(max_examples=40, deadline=None)
@given(case=st.sampled_from(EXACT), opset=st.sampled_from([13, 17, 18, 22]), seed=st.integers(0, 20))
def test_moves_and_signs_are_equal_to_the_last_bit(case, opset, seed):
    """Whole numbers, zero, tiny and huge numbers: nothing is rounded that was not."""
    model = vector(case[0], opset)
    x = np.concatenate(
        [np.float32([0, -0.0, 1e-40, -1e-40, 1e30, -1e30, 7, -7]), random(40, seed=seed, high=9, low=-9)]
    )
    feeds = {"x": x, "z": random(48, seed=seed + 1)}
    before = run(model, feeds)["y"]
    assert ReplaceMissing()(model)
    np.testing.assert_array_equal(run(model, feeds)["y"], before)
    assert operators(model) == case[1]
    assert blocked(model) == []


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("y = Mean(x, z, x)", ["Add", "Add", "Mul"]),
        ("y = Cos(x)", ["Add", "Sin"]),
    ],
)
def test_others_differ_by_rounding(nodes, expected):
    """A mean is a sum times a factor, a cosine the sine a quarter turn on."""
    model = vector(nodes)
    feeds = {"x": random(48, low=-20, high=20), "z": random(48, seed=1)}
    before = run(model, feeds)["y"]
    ReplaceMissing()(model)
    np.testing.assert_allclose(run(model, feeds)["y"], before, rtol=1e-5, atol=3e-6)
    assert operators(model) == expected
    assert blocked(model) == []


@pytest.mark.parametrize("operator", ["And", "Or", "Xor", "Not"])
def test_truth_tables(operator):
    """All four rows of each, as numbers compared with a half."""
    inner = "Not(p)" if operator == "Not" else f"{operator}(p, q)"
    model = graph(
        f"(float[4] a, float[4] b) => (bool[4] y) {{ p = Greater(a, zero) q = Greater(b, zero) y = {inner} }}",
        zero=np.float32(0),
    )
    feeds = {"a": np.float32([-1, -1, 1, 1]), "b": np.float32([-1, 1, -1, 1])}
    before = run(model, feeds)["y"]
    assert ReplaceMissing()(model)
    np.testing.assert_array_equal(run(model, feeds)["y"], before)
    assert operator not in operators(model)
    assert blocked(model) == []


@settings(max_examples=40, deadline=None)
@given(
    operator=st.sampled_from(["ReduceSum", "ReduceMin", "ReduceL1", "ReduceSumSquare"]),
    axes=st.sampled_from([None, [0], [1], [-1], [1, 2], [-2, -1], [0, 1, 2]]),
    keep=st.integers(0, 1),
    opset=st.sampled_from([13, 17, 18, 22]),
)
def test_every_reduction_keeps_its_numbers(operator, axes, keep, opset):
    """Over axes from either end, all of them, kept and dropped, with axes as attribute and as input."""
    as_input = opset >= 18 or operator == "ReduceSum"
    written = f", axes = {axes}" if axes is not None and not as_input else ""
    weights = {"axes": np.array(axes, np.int64)} if axes is not None and as_input else {}
    rank = 3 if keep else 3 - len(axes or [0, 1, 2])
    out = f"float[{','.join('abc'[:rank])}]" if rank else "float"
    call = f"{operator}<keepdims = {keep}{written}>(x{', axes' if weights else ''})"
    model = graph(f"(float[2,5,3] x) => ({out} y) {{ y = {call} }}", opset, **weights)
    x = random(2, 5, 3, low=-3, high=3)
    before = run(model, {"x": x})["y"]
    assert ReplaceMissing()(model)
    after = run(model, {"x": x})["y"]
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=3e-6)
    assert blocked(model) == []


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("order", [1, 2])
def test_lengths_over_a_picture_and_along_an_axis(order, opset):
    """GlobalLpPool is a length over the picture; LpNormalization divides by one, and leaves zeros zero."""
    pool = graph(f"(float[2,4,3,5] x) => (float[a,b,c,d] y) {{ y = GlobalLpPool<p = {order}>(x) }}", opset)
    norm = graph(f"(float[2,4,3] x) => (float[2,4,3] y) {{ y = LpNormalization<axis = 1, p = {order}>(x) }}", opset)
    for model, shape in ((pool, (2, 4, 3, 5)), (norm, (2, 4, 3))):
        x = random(*shape)
        x[0, ..., 0] = 0
        before = run(model, {"x": x})["y"]
        assert ReplaceMissing()(model)
        np.testing.assert_allclose(run(model, {"x": x})["y"], before, rtol=1e-5, atol=1e-6)
        assert blocked(model) == []


@settings(max_examples=20, deadline=None)
@given(repeats=st.lists(st.integers(1, 3), min_size=3, max_size=3), opset=st.sampled_from([13, 22]))
def test_every_tile_is_a_chain_of_concats(repeats, opset):
    """One Concat for each axis that is repeated, and none when nothing is."""
    model = graph("(float[1,2,3] x) => (float[a,b,c] y) { y = Tile(x, r) }", opset, r=np.array(repeats, np.int64))
    x = random(1, 2, 3)
    before = run(model, {"x": x})["y"]
    ReplaceMissing()(model)
    np.testing.assert_array_equal(run(model, {"x": x})["y"], before)
    repeated = sum(count > 1 for count in repeats)
    assert operators(model) == (["Concat"] * repeated or ["Identity"])
    assert blocked(model) == []


def test_only_the_chosen_go():
    """A chip that lacks Neg and has Where keeps its Where."""
    model = graph(
        "(float[1,3,2,2] x) => (float[1,3,2,2] y) { n = Neg(x) b = Less(x, n) w = Where(b, x, n) y = Floor(w) }"
    )
    edits = operate(model, ReplaceMissing(operators=("Neg", "Floor"))).log[0][1]
    assert edits.changed == ("Neg -> 'n': now Mul", "Floor -> 'y': now 2 Mul, Ceil")
    assert edits.left == ()
    assert operators(model) == ["Mul", "Less", "Where", "Mul", "Ceil", "Mul"]


def test_whole_numbers_are_negated_as_such():
    """Neg of an index stays a whole number."""
    model = graph("(int32[3] x) => (int32[3] y) { y = Neg(x) }")
    ReplaceMissing()(model)
    np.testing.assert_array_equal(run(model, {"x": np.int32([1, -2, 0])})["y"], [-1, 2, 0])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (graph("(float16[3] x) => (float16[3] y) { y = Floor(x) }"), "Floor -> 'y': it is of type FLOAT16"),
        (
            graph("(float[3] x, bool[3] b) => (float[3] y) { y = Where(b, x, k) }", k=np.float32(-np.inf)),
            "Where -> 'y': 'k' is not finite, and 0 times it is no number",
        ),
        (
            graph("(float[N,3] x) => (float[M,3] y) { y = ReduceSum(x, axes) }", axes=np.array([0], np.int64)),
            "ReduceSum -> 'y': the size of its input is not static",
        ),
        (
            graph("(float[3] x, int64[1] a) => (float[1] y) { y = ReduceSum(x, a) }"),
            "ReduceSum -> 'y': its axes are computed at run time",
        ),
        (
            graph("(float[3] x) => (float[3] y) { y = ReduceSum<noop_with_empty_axes = 1>(x) }"),
            "ReduceSum -> 'y': it has no axes",
        ),
        (
            graph("(float[1,2,3] x) => (float[1,2,1] y) { y = GlobalLpPool<p = 3>(x) }"),
            "GlobalLpPool -> 'y': its order is 3, not 1 or 2",
        ),
        (
            graph("(float[1,3] x) => (float[1,3] y) { y = LpNormalization(x) }"),
            "LpNormalization -> 'y': along the last axis every chip has it",
        ),
        (
            graph("(float x) => (float y) { y = LpNormalization<axis = 0>(x) }"),
            "LpNormalization -> 'y': the size of its input is not static",
        ),
        (
            graph("(float[1] x) => (float[65] y) { y = Tile(x, r) }", r=np.array([65], np.int64)),
            "Tile -> 'y': it makes 65 copies, and a Concat of more than 64 is no help",
        ),
        (
            graph("(float[1] x, int64[1] r) => (float[N] y) { y = Tile(x, r) }"),
            "Tile -> 'y': its repeats are computed at run time",
        ),
        (
            graph("(float[3] x) => (float[3] y, bool[3] m) { y, m = Dropout(x) }"),
            "Dropout -> 'y': its mask is read",
        ),
        (
            graph("(float[3] x, bool t) => (float[3] y) { y = Dropout(x, , t) }"),
            "Dropout -> 'y': it may be in training",
        ),
        (
            graph("(float[3] x) => (float[3] y) { t = custom.Twist(x) y = Neg(t) }"),
            "Neg -> 'y': the type of its input is not known",
        ),
    ],
)
def test_what_has_no_equal_is_left(model, reason):
    """Types, sizes and options that no formula covers keep their node."""
    before = io.to_bytes(model)
    edits = ReplaceMissing()(model)
    assert edits.left == (reason,)
    assert io.to_bytes(model) == before


def test_an_operator_without_an_equal_is_refused_by_name():
    """LogSoftmax needs a logarithm, which no chip has."""
    with pytest.raises(RecipeError, match="no replaceable operator called 'LogSoftmax'") as caught:
        ReplaceMissing(operators=("LogSoftmax",))(vector("y = Neg(x)"))
    assert caught.value.at == ("operators", 0)


@pytest.mark.parametrize("opset", [13, 18])
def test_one_number_is_reduced_without_a_word(opset, caplog):
    """A number has no axes: it is its own sum, and no list without a type is written."""
    model = graph("(float x) => (float y) { y = ReduceSum(x) }", opset)
    operate(model, ReplaceMissing())
    assert caplog.text == ""
