"""Facts about what 16 bits cost: counts by hand."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from workbench.quant.cost import cost, long_sums
from workbench.quant.plan import plan
from workbench.quant.ranges import Range


def model(text, **constants):
    """A graph of opset 17 from its text and the arrays its text only names."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    for name, data in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data, np.float32), name))
    return ir.serde.deserialize_model(proto)


def decide(network, *u16, **highs):
    """A plan with ranges from 0 to the given ends."""
    return plan(network, {name: Range(0.0, float(high)) for name, high in highs.items()}, u16)


TWO = """g (float[1,2,4,4] x) => (float[1,3,4,4] y) {
    c = Conv (x, w)
    r = Relu (c)
    y = Conv <group = 1, pads = [1,1,1,1]> (r, v)
}"""
WEIGHTS = {"w": np.ones((5, 2, 1, 1)), "v": np.ones((3, 5, 3, 3))}
FIRST, SECOND = 5 * 16 * 2, 3 * 16 * 5 * 9  # multiplications


@pytest.mark.parametrize(
    ("u16", "values", "macs"),
    [
        ((), 0, 0),
        (("x",), 32, FIRST),
        (("r",), 80, FIRST + SECOND),
        (("y",), 48, SECOND),
        (("x", "y"), 80, FIRST + SECOND),
    ],
)
def test_layers_that_read_or_make_16_bits_count(u16, values, macs):
    """A convolution counts when its input, or what its Relu makes, is at 16 bits."""
    network = model(TWO, **WEIGHTS)
    found = cost(network, decide(network, *u16, x=1, r=1, y=1))
    assert (found.tensors, found.tensors_u16) == (3, len(u16))
    assert (found.values, found.values_u16) == (32 + 80 + 48, values)
    assert (found.macs, found.macs_u16) == (FIRST + SECOND, macs)
    assert found.bytes == 160 + values


def test_shares_and_the_line_for_people():
    """Shares are of tensors, of bytes as stored, and of multiplications."""
    network = model(TWO, **WEIGHTS)
    found = cost(network, decide(network, "y", x=1, r=1, y=1))
    assert found.tensor_share == pytest.approx(1 / 3)
    assert found.byte_share == pytest.approx(96 / 208)
    assert found.mac_share == pytest.approx(SECOND / (FIRST + SECOND))
    assert str(found) == ("1 of 3 tensors (33.3%) at 16 bits, 46.2% of the activation bytes, 93.1% of the MACs")
    assert found.to_json()["macs_u16"] == SECOND


@pytest.mark.parametrize(
    ("text", "weight", "macs"),
    [
        ("g (float[1,4,3,3] x) => (float[1,6,6,6] y) {"
         " y = ConvTranspose <group = 2, strides = [2,2], kernel_shape = [2,2]> (x, w) }", (4, 3, 2, 2), 36 * 12),
        ("g (float[1,4,5,5] x) => (float[1,4,5,5] y) {"
         " y = Conv <group = 4, pads = [1,1,1,1]> (x, w) }", (4, 1, 3, 3), 100 * 9),
        ("g (float[2,7] x) => (float[2,3] y) { y = Gemm <transB = 1> (x, w) }", (3, 7), 42),
        ("g (float[7,2] x) => (float[2,3] y) { y = Gemm <transA = 1> (x, w) }", (7, 3), 42),
        ("g (float[5,2,7] x) => (float[5,2,3] y) { y = MatMul (x, w) }", (7, 3), 210),
        ("g (float[1,4,5,5] x) => (float[1,4,5,5] y) { y = Relu (x) w2 = Neg (w) }", (1,), 0),
    ],
)  # fmt: skip
def test_multiplications_by_kind_of_layer(text, weight, macs):
    """Groups, transposed kernels and matrices are counted as they are computed."""
    network = model(text, w=np.ones(weight))
    found = cost(network, decide(network, x=1, y=1, w2=1))
    assert found.macs == macs


def test_a_network_without_layers_costs_nothing():
    """No multiplication at all is a share of 0, not a division by zero."""
    network = model("g (float[1,2] x) => (float[1,2] y) { y = Relu (x) }")
    assert cost(network, decide(network, "x", x=1, y=1)).mac_share == 0


def test_sums_that_could_pass_32_bits_are_named():
    """130 extreme weights on a 16-bit input beside a large bias are listed, by the node's label; 8 bits never are."""
    text = "g (float[1,300,1,1] x) => (float[1,1,1,1] y) { [head] y = Conv (x, w, b) }"
    network = model(text, w=np.ones((1, 300, 1, 1)), b=[0.5])
    assert long_sums(network, decide(network, x=1, y=300)) == ()
    assert long_sums(network, decide(network, "x", x=1, y=300)) == ("Conv 'head'",)
    small = np.full((1, 300, 1, 1), 0.01)
    small[0, 0] = 1
    assert long_sums(model(text, w=small, b=[0.5]), decide(network, "x", x=1, y=300)) == ()
