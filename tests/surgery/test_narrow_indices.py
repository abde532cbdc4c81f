"""What the contract cannot know about `narrow_indices`."""

import numpy as np
import onnx_ir as ir
import pytest
from _chips import blocked
from _surgery import graph, operators, random, run

from workbench.graph import io, shapes, walk
from workbench.surgery.narrow_indices import NarrowIndices

END = np.iinfo(np.int64).max


def ints(*numbers: int) -> np.ndarray:
    """An int64 list."""
    return np.array(numbers, np.int64)


def kinds(model) -> dict[str, str]:
    """The type of every tensor by name, as the nodes make it."""
    copy = io.from_bytes(io.to_bytes(model))
    shapes.refresh(copy)
    return {name: str(value.dtype) for name, value in walk.tensors(copy.graph).items()}


def narrowed(model, **feeds):
    """Run the pass, compare every output, and return what it says."""
    before = run(model, feeds)
    edits = NarrowIndices()(model)
    after = run(model, feeds)
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-6)
        assert after[name].dtype == value.dtype
    assert not NarrowIndices()(model)
    return edits


OPERATORS = [
    "y = Gather(x, i)",
    "y = Gather<axis = 1>(x, i)",
    "r = Reshape(i, square) y = GatherElements(x, r)",
    "r = Reshape(i, square) u = Cast<to = 1>(r) y = ScatterElements(x, r, u)",
    "y = Slice(x, zero, i, i)",
    "e = Expand(i, square) a = Add(e, e) y = Cast<to = 1>(a)",
    "a = Sub(i, one) m = Mul(a, two) d = Div(m, two) e = Mod(d, two) y = Cast<to = 1>(e)",
    "a = Min(i, one) b = Max(a, two) y = Cast<to = 1>(b)",
    "a = Less(i, two) b = Where(a, i, two) c = Equal(b, one) y = Cast<to = 1>(c)",
    "a = Greater(i, zero) b = GreaterOrEqual(i, zero) c = LessOrEqual(i, zero) d = And(a, b) e = Or(c, d)"
    " y = Cast<to = 1>(e)",
    "a = Neg(i) b = Abs(a) s = Sign(a) c = Add(b, s) y = Cast<to = 1>(c)",
    "a = Clip(i, least, most) y = Cast<to = 1>(a)",
    "a = Concat<axis = 0>(i, two, i) b, c = Split<axis = 0>(a, parts) y = Cast<to = 1>(b)",
    "a = Transpose(i) b = Unsqueeze(a, first) c = Squeeze(b, first) d = Flatten(c) y = Cast<to = 1>(d)",
    "a = Tile(i, one) b = Pad(a, ends, least) y = Cast<to = 1>(b)",
    "a = ReduceMax(i) b = ReduceMin(i) c = ReduceSum(i) d = Add(a, b) e = Add(c, d) y = Cast<to = 1>(e)",
    "a = CumSum(i, least) b = Identity(a) y = Cast<to = 1>(b)",
    "a = Pow(i, two) y = Cast<to = 1>(a)",
    "v, a = TopK<axis = 0>(i, one) b = Add(v, a) y = Cast<to = 1>(b)",
    "n = NonZero(x) a = Transpose(n) b = Add(a, one) y = Cast<to = 1>(b)",
    "s = Shape(x) a = Gather(s, least) b = Mul(a, one) y = Cast<to = 1>(b)",
    "a = Range(least, most, step) b = Add(a, a) y = Cast<to = 1>(b)",
    "a = ConstantOfShape<value = int64[1] {7}>(two) b = Mul(a, i) y = Cast<to = 1>(b)",
    "a = ArgMax<axis = 1, keepdims = 0>(x) y = Gather<axis = 1>(x, a)",
]


CONSTANTS = {
    "zero": ints(0, 0),
    "one": ints(1),
    "two": ints(2, 2),
    "first": ints(0),
    "square": ints(2, 1),
    "parts": ints(2, 4),
    "ends": ints(0, 1),
    "least": np.int64(0),
    "most": np.int64(3),
    "step": np.int64(1),
}


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("nodes", OPERATORS)
def test_every_operator_counts_the_same_in_int32(nodes, opset):
    """What ONNX allows to be int32 runs as int32 in onnxruntime and gives the same numbers."""
    model = graph(f"(float[2,2] x, float[2] f) => (float y) {{ i = Cast<to = 7>(f) {nodes} }}", opset, **CONSTANTS)
    (out,) = model.graph.outputs
    out.shape = None  # each case has a shape of its own
    out.shape = ir.Shape(shapes.infer(model)["y"])
    edits = narrowed(model, x=random(2, 2), f=np.float32([1, 0]))
    assert edits


def test_the_account_names_readers_and_makers():
    """Constants are told with who reads them, Casts with what they cast to, and ArgMax gets a Cast behind it."""
    model = graph(
        "(float[1,4,5] x) => (float[1,4,2] y, float[1,4,1] row, float[1,4,5] z) { y = Gather<axis = 2>(x, columns)"
        " best = ArgMax<axis = 2>(x) up = Div(best, width) left = Mod(best, width) sum = Add(up, left)"
        " row = Cast<to = 1>(sum) i = Cast<to = 7>(x) b = Less(i, width) w = Where(b, i, width) z = Cast<to = 1>(w) }",
        columns=ints(0, 3),
        width=np.int64(5),
    )
    edits = narrowed(model, x=random(1, 4, 5, low=0, high=9))
    assert edits.changed == (
        "constant 'columns': int32 for Gather -> 'y'",
        "ArgMax -> 'best': a Cast to int32 for Div -> 'up', Mod -> 'left'",
        "constant 'width': int32 for Div -> 'up', Mod -> 'left', Less -> 'b', Where -> 'w'",
        "Cast -> 'i': to int32",
    )
    assert edits.left == ()
    assert {name for name, kind in kinds(model).items() if kind == "INT64"} == {"best"}


def test_bounds_beyond_int32_mean_to_the_end():
    """Exporters write the largest int64 for an open end, and the smallest for an open begin of a step back."""
    model = graph(
        "(float[6] x) => (float[4] y, float[6] z) { y = Slice(x, two, end) z = Slice(x, end, begin, axis, back) }",
        two=ints(2),
        end=ints(END),
        begin=ints(-END),
        axis=ints(0),
        back=ints(-1),
    )
    edits = narrowed(model, x=random(6))
    assert len(edits.changed) == 5
    assert model.graph.initializers["end_int32"].const_value.numpy().tolist() == [2**31 - 1]


def test_float64_becomes_float32():
    """A detour through float64 is one through float32; constants are rounded."""
    model = graph(
        "(float[4] x) => (float[4] y) { d = Cast<to = 11>(x) h = Mul(d, half) y = Cast<to = 1>(h) }",
        half=np.float64(0.1),
    )
    assert blocked(model)
    edits = narrowed(model, x=random(4))
    assert edits.changed == ("constant 'half': float for Mul -> 'h'", "Cast -> 'd': to float")
    assert blocked(model) == []


def test_one_constant_for_two_readers():
    """A constant that is a shape and an index stays for the one and is copied for the other."""
    model = graph("(float[4] x) => (float[2,2] y, float[2] z) { y = Reshape(x, k) z = Gather(x, k) }", k=ints(2, 2))
    edits = narrowed(model, x=random(4))
    assert edits.changed == ("constant 'k': int32 for Gather -> 'z'",)
    assert edits.left == ("constant 'k': ONNX has the shape of Reshape -> 'y' as int64 only",)
    assert set(model.graph.initializers) == {"k", "k_int32"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "(float[2] x) => (float[A,B] y) { i = Cast<to = 7>(x) s = Add(i, i) y = Expand(x, s) }",
            "Cast -> 'i': ONNX has the shape of Expand -> 'y' as int64 only",
        ),
        (
            "(float[4] x) => (int64[4] i) { i = Cast<to = 7>(x) }",
            "Cast -> 'i': 'i' is an output, and its type is promised",
        ),
        (
            "(float[4] x, int64[2] i) => (float[2] y) { y = Gather(x, i) }",
            "Gather -> 'y': input 'i' is int64, and its type is promised",
        ),
        (
            "(float[4] x) => (float[4] y) { i = Cast<to = 7>(x) a = Add(i, huge) y = Cast<to = 1>(a) }",
            "Cast -> 'i': 'huge' holds numbers beyond int32",
        ),
        (
            "(float[4] x) => (float[4] y) { i = Cast<to = 7>(x) a = Add(i, one) t = custom.Twist(a)"
            " y = Cast<to = 1>(a) }",
            "Cast -> 'i': nobody knows what Twist -> 't' takes",
        ),
        (
            "(float[2,2] x) => (float[2,2] y) { i = EyeLike<dtype = 7>(x) a = Neg(i) y = Cast<to = 1>(a) }",
            "EyeLike -> 'i': an attribute of EyeLike -> 'i' decides its type",
        ),
        (
            "(float[4] x, bool f) => (float[4] y) { i = Cast<to = 7>(x) a = Neg(i) o = If(f) <"
            " then_branch = yes () => (float[4] t) { t = Cast<to = 1>(a) },"
            " else_branch = no () => (float[4] e) { e = Cast<to = 1>(a) } > y = Neg(o) }",
            "Cast -> 'i': a subgraph reads 'a'",
        ),
    ],
)
def test_what_must_stay_int64_is_left(text, reason):
    """Shapes, promised types, numbers that do not fit, and readers that nobody knows keep their whole group."""
    model = graph(text, one=ints(1), huge=ints(2**31))
    before = io.to_bytes(model)
    edits = NarrowIndices()(model)
    assert not edits
    assert reason in edits.left
    assert io.to_bytes(model) == before


def test_indices_of_scatternd_stay():
    """ONNX has them as int64 only, as the pads of a Pad; the line says so."""
    model = graph(
        "(float[4] x) => (float[6] y) { s = ScatterND(x, i, u) y = Pad(s, p) }",
        i=np.array([[1]], np.int64),
        u=random(1),
        p=ints(1, 1),
    )
    edits = NarrowIndices()(model)
    assert edits.left == (
        "constant 'i': ONNX has the indices of ScatterND -> 's' as int64 only",
        "constant 'p': ONNX has the pads of Pad -> 'y' as int64 only",
    )


def test_constant_nodes_count_as_constants():
    """An index in a Constant node becomes an initializer in int32; the node goes."""
    model = graph("(float[4] x) => (float[2] y) { k = Constant<value_ints = [0, 2]>() y = Gather(x, k) }")
    narrowed(model, x=random(4))
    assert operators(model) == ["Gather"]
    assert list(model.graph.initializers) == ["k_int32"]


def test_a_far_bound_of_a_backward_slice_stays_far():
    """Only the largest number of a type means "to the end" when a Slice counts backwards."""
    text = "(float[1,2,6] x) => (float[1,2,n] y) {{ y = Slice(x, first, {end}, axis, step) }}"
    for end, count in (("end", 4), ("far", 0)):
        model = graph(text.format(end=end), first=ints(-3), end=ints(END), far=ints(2**62), axis=ints(2), step=ints(-1))
        x = random(1, 2, 6)
        before = run(model, {"x": x})["y"]
        assert NarrowIndices()(model)
        after = run(model, {"x": x})["y"]
        assert before.shape == (1, 2, count)
        np.testing.assert_array_equal(after, before)
