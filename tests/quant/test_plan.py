"""Facts about which tensors share a grid, which have none, and which need a range."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from workbench.errors import ToolError, UnsupportedError
from workbench.quant.plan import plan
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
