"""Facts about which tensors share a grid, which have none, and which need a range."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import ToolError, UnsupportedError
from workbench.quant.plan import plan, widened
from workbench.quant.ranges import Range


def model(text, **constants):
    """A graph of opset 17 from its text and the arrays its text only names."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    for name, data in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data, np.float32), name))
    return ir.serde.deserialize_model(proto)


def spans(**highs):
    """Ranges from 0 to the given ends."""
    return {name: Range(0.0, float(high)) for name, high in highs.items()}


EYE = np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)


def test_concat_joins_everything_that_meets_in_it():
    """Inputs and output of nested Concats, and what is moved around them, are one set with the widest range."""
    found = plan(
        model("""g (float[1,2,4,4] a, float[1,2,4,4] b) => (float[1,8,2,2] y, float[1,2,4,4] z) {
            c = Concat <axis = 1> (a, b)
            d = Concat <axis = 1> (c, c)
            y = MaxPool <kernel_shape = [2,2], strides = [2,2]> (d)
            z = Relu (b)
        }"""),
        spans(a=1, b=20, c=20, d=20, y=19, z=20),
    )
    assert {found.owner[name] for name in "abcdy"} == {"a"}
    assert len({found.grids[name] for name in "abcdy"}) == 1
    assert found.grids["a"].scale == float(np.float32(20 / 255))
    assert found.owner["z"] == "z"


@pytest.mark.parametrize(
    ("node", "shape", "shared"),
    [
        ("Transpose <perm = [0,2,3,1]> (r)", "1,4,4,2", True),
        ("Flatten (r)", "1,32", True),
        ("Identity (r)", "1,2,4,4", True),
        ("Resize <mode = \"nearest\"> (r, , scales)", "1,2,8,8", True),
        ("Resize <mode = \"linear\"> (r, , scales)", "1,2,8,8", False),
        ("AveragePool <kernel_shape = [1,1]> (r)", "1,2,4,4", False),
        ("Sigmoid (r)", "1,2,4,4", False),
    ],
)  # fmt: skip
def test_moving_shares_and_computing_does_not(node, shape, shared):
    """An operator that only moves values shares its input's grid; one that computes has its own."""
    text = f"g (float[1,2,4,4] x) => (float[{shape}] y) {{ r = Relu (x)  y = {node} }}"
    found = plan(model(text, scales=[1, 1, 2, 2]), spans(x=3, r=3, y=2))
    assert (found.owner["y"] == "r") is shared


def test_a_convolution_takes_its_activations_in():
    """Between a convolution and a chain of Clip and Relu there is no grid, and no range is needed."""
    found = plan(
        model(
            """g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
                c = Conv (x, w)
                k = Clip (c, zero, six)
                y = Relu (k)
            }""",
            w=EYE,
            zero=np.float32(0),
            six=np.float32(6),
        ),
        spans(x=1, y=1),
    )
    assert found.fused == {"c", "k"}
    assert set(found.grids) == {"x", "y"}


def test_a_tensor_with_other_readers_keeps_its_grid():
    """A convolution's output that something else reads, or that is a graph output, stands on a grid of its own."""
    branch = "g (float[1,2,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) { c = Conv (x, w) y = Relu (c) z = Neg (c) }"
    output = "g (float[1,2,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] c) { c = Conv (x, w) y = Relu (c) }"
    for text in (branch, output):
        assert plan(model(text, w=EYE), spans(x=1, y=1, z=1, c=1)).fused == set()


def test_the_residual_sum_is_not_taken_in():
    """Only operators with weights take a Relu in; the one behind an Add has its own grid."""
    text = "g (float[1,2,4,4] x) => (float[1,2,4,4] y) { s = Add (x, x) y = Relu (s) }"
    assert plan(model(text), spans(x=1, s=2, y=2)).fused == set()


def test_constant_operands_have_grids():
    """The constant of an Add is quantized by what it holds; a Clip's bound and a Resize's scales are parameters."""
    found = plan(
        model(
            """g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
                s = Add (x, offset)
                y = Clip (s, zero, six)
            }""",
            offset=np.full((1, 2, 1, 1), 51.0),
            zero=np.float32(0),
            six=np.float32(6),
        ),
        spans(x=1, s=2, y=2),
    )
    assert found.grids["offset"].scale == float(np.float32(51 / 255))
    assert not {"zero", "six"} & set(found.grids)


def test_matmul_inputs_are_centred_on_zero():
    """Both inputs of a MatMul get signed grids with zero point 0, also through a Transpose."""
    found = plan(
        model("g (float[2,3] x, float[2,3] z) => (float[2,2] y) { t = Transpose (z) y = MatMul (x, t) }"),
        spans(x=1, z=2, t=2, y=5),
    )
    assert all(found.grids[name].signed and found.grids[name].zero_point == 0 for name in "xzt")
    assert not found.grids["y"].signed


def test_a_missing_range_is_named():
    """A tensor without a range is an error that names it and where it comes from."""
    text = "g (float[1,2,4,4] x) => (float[1,2,4,4] y) { r = Relu (x) y = Neg (r) }"
    with pytest.raises(UnsupportedError, match="tensor 'r' has no range") as caught:
        plan(model(text), spans(x=1, y=1))
    assert "Relu" in caught.value.where


def test_a_constant_of_nan_is_named():
    """A NaN in a constant is found before anything is quantized with it."""
    with pytest.raises(ToolError, match="constant 'k' holds NaN"):
        plan(model("g (float[1,2] x) => (float[1,2] y) { y = Add (x, k) }", k=[np.nan, 1]), spans(x=1, y=1))


JOINED = """g (float[1,2,4,4] x, float[1,2,4,4] z) => (float[1,2,4,4] y, float[1,4,2,2] q) {
    c = Conv (x, w)
    r = Relu (c)
    k = Concat <axis = 1> (r, z)
    q = MaxPool <kernel_shape = [2,2], strides = [2,2]> (k)
    s = Add (r, offset)
    y = Mul (s, gain)
}"""
CONSTANTS = {"w": EYE, "offset": np.ones((1, 2, 1, 1)), "gain": np.float32(0.5)}
SPANS = {"x": 1, "z": 3, "r": 2, "k": 3, "q": 3, "s": 4, "y": 2}


def bits_of(*u16):
    """Bits by tensor for a choice of tensors at 16."""
    return {name: grid.bits for name, grid in plan(model(JOINED, **CONSTANTS), spans(**SPANS), u16).grids.items()}


def test_without_a_choice_all_have_8_bits():
    """16 bits are for who asks."""
    assert set(bits_of().values()) == {8}


def test_a_choice_widens_all_that_share_the_grid():
    """What meets in a Concat, and what is moved from it, gets 16 bits together; the plan and `widened` say so."""
    decided = plan(model(JOINED, **CONSTANTS), spans(**SPANS), {"q"})
    assert decided.u16 == {"z", "r", "k", "q"}
    assert widened(decided, ["q"]) == ("z", "r", "k", "q")
    assert {name for name in decided.u16 if decided.grids[name] == decided.grids["r"]} == decided.u16
    assert decided.grids["r"].bits == 16
    assert decided.grids["r"].scale == float(np.float32(3 / 65535))


def test_constants_follow_the_activations_they_meet():
    """A constant operand beside a tensor at 16 bits, read or made, has 16 bits; others keep 8."""
    assert {name for name, bits in bits_of("y").items() if bits == 16} == {"y", "gain"}
    assert {name for name, bits in bits_of("s").items() if bits == 16} == {"s", "offset", "gain"}
    assert {name for name, bits in bits_of("x").items() if bits == 16} == {"x"}


def test_a_constant_does_not_widen_activations():
    """A constant that shares its grid with activations, in a Concat, stays with them at 8 bits."""
    text = (
        "g (float[1,2] x) => (float[1,4] y, float[1,2] z) { y = Concat <axis = 1> (x, k) n = Neg (x) z = Add (n, k) }"
    )
    decided = plan(model(text, k=[[1, 2]]), spans(x=1, y=2, n=1, z=3), {"z"})
    assert decided.u16 == {"z"}
    assert decided.grids["k"].bits == decided.grids["y"].bits == 8


@settings(deadline=None)
@given(st.sets(st.sampled_from(sorted(SPANS))))
def test_a_choice_and_what_follows_are_one_set(chosen):
    """The 16-bit tensors are the union of the sets of the chosen ones; asking for all of them changes nothing."""
    network = model(JOINED, **CONSTANTS)
    decided = plan(network, spans(**SPANS), chosen)
    alone = [widened(decided, [name]) for name in sorted(chosen)]
    assert decided.u16 == set().union(*alone)
    assert plan(network, spans(**SPANS), decided.u16) == decided
    for name, grid in decided.grids.items():
        if name not in decided.operands:
            assert (grid.bits == 16) == (name in decided.u16)


@pytest.mark.parametrize(
    ("name", "what", "fix"),
    [
        ("sx", "no activation called 'sx'", "did you mean 'x'?"),
        ("R", "no activation called 'R'", "did you mean 'r'?"),
        ("c", "tensor 'c' is inside the operator that makes 'r', and never on a grid", "name 'r'"),
        ("offset", "tensor 'offset' is a constant; it follows the activations it meets", "name one of those"),
        ("w", "no activation called 'w'", "the model has 7; one of: k, q, r, s, x, y, z..."),
    ],
)
def test_a_wrong_name_is_told(name, what, fix):
    """A name that has no grid of its own is an error that says why and what to name instead."""
    with pytest.raises(UnsupportedError) as caught:
        bits_of("q", name)
    assert (caught.value.what, caught.value.fix) == (what, fix)


def test_the_end_of_a_long_operator_is_named():
    """Inside Conv, Clip and Relu every tensor points to the last one."""
    decided = plan(
        model(
            "g (float[1,2,4,4] x) => (float[1,2,4,4] y) { c = Conv (x, w) k = Clip (c, low, high) y = Relu (k) }",
            w=EYE,
            low=np.float32(0),
            high=np.float32(6),
        ),
        spans(x=1, y=6),
    )
    assert decided.ends == {"c": "y", "k": "y"}
