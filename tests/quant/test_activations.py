"""Facts about what counts as an activation, and which models cannot be quantized."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
import pytest

from workbench.errors import UnsupportedError
from workbench.quant.activations import activations


def model(text, opset=17):
    """A graph from its text."""
    return ir.serde.deserialize_model(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}'))


def test_floats_in_graph_order():
    """Inputs come first, then float outputs in graph order; integers and constants are no activations."""
    found = activations(
        model("""g (float[1,4] x) => (float[1,4] y, int64[1,4] best) {
            one = Constant <value = float {1.0}> ()
            a = Relu (x)
            best = ArgMax (a)
            y = Add (a, one)
        }""")
    )
    assert list(found) == ["x", "a", "y"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g (float[n,4] x) => (float[n,4] y) { y = Relu (x) }", "'x' has a dynamic shape"),
        (
            "g (float[1,4] x) => (int64[a,b] y) { r = Relu (x)  y = NonZero (r) z = Gather (r, y) q = Relu (z) }",
            "'z' has a dynamic shape",
        ),
        (
            "g (float[1,4] x, float s, uint8 z) => (uint8[1,4] y) { y = QuantizeLinear (x, s, z) }",
            "quantized already",
        ),
        ("g (float[1,4] x) => (double[1,4] y) { y = Cast <to = 11> (x) }", "'y' is double"),
        (
            """g (bool c, float[1] x) => (float[1] y) {
                y = If (c) <then_branch = t () => (float[1] p) { p = Relu (x) },
                            else_branch = e () => (float[1] q) { q = Abs (x) }>
            }""",
            "If has a graph inside",
        ),
    ],
)
def test_what_cannot_be_quantized_is_named(text, words):
    """Dynamic shapes, quantized models, other float types and subgraphs are errors that name the tensor or node."""
    with pytest.raises(UnsupportedError, match=words):
        activations(model(text))
