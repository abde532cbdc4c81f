"""What the contract cannot know about `explicit_attributes`."""

import numpy as np
import onnx
import pytest
from _surgery import graph, node, operate, random

from workbench.errors import RecipeError
from workbench.graph import attributes, io
from workbench.surgery.explicit_attributes import ExplicitAttributes


def test_the_operators_a_compiler_trips_over():
    """Elu, LeakyRelu and TopK have everything written out."""
    model = graph(
        """(float[1,2,3,4] x) => (float[1,2,3,4] e, float[1,2,3,4] l, float[1,2,3,2] y, int64[1,2,3,2] i) {
            e = Elu(x)
            l = LeakyRelu(x)
            y, i = TopK(x, k)
        }""",
        k=np.array([2], np.int64),
    )
    operate(model, ExplicitAttributes())
    assert attributes.decimal(node(model, "e"), "alpha", 0) == 1.0
    assert attributes.decimal(node(model, "l"), "alpha", 0) == pytest.approx(0.01)
    assert {name: node(model, "y").attributes[name].as_int() for name in ("axis", "largest", "sorted")} == {
        "axis": -1,
        "largest": 1,
        "sorted": 1,
    }


def test_a_convolution_gets_what_the_reference_computes():
    """kernel_shape comes from the weights, the rest are ones and zeros."""
    model = graph("(float[1,2,5,5] x) => (float[1,3,3,4] y) { y = Conv(x, k) }", k=random(3, 2, 3, 2))
    edits = ExplicitAttributes()(model)
    conv = node(model, "y")
    assert edits.changed == ("Conv -> 'y': auto_pad, dilations, group, kernel_shape, pads, strides",)
    assert attributes.integers(conv, "kernel_shape", ()) == (3, 2)
    assert attributes.integers(conv, "pads", ()) == (0, 0, 0, 0)
    assert attributes.integers(conv, "strides", ()) == (1, 1)


def test_written_attributes_stay():
    """What a node says is not overruled by a default."""
    model = graph("(float[1,2] x) => (float[1,2] y) { y = Elu<alpha = 0.25>(x) }")
    assert not ExplicitAttributes()(model)
    assert attributes.decimal(node(model, "y"), "alpha", 0) == 0.25


@pytest.mark.parametrize(("opset", "dilations"), [(17, False), (19, True)])
def test_the_graphs_own_operator_set_counts(opset, dilations):
    """AveragePool has dilations since opset 19; writing them before would break the file."""
    model = graph("(float[1,2,4,4] x) => (float[1,2,3,3] y) { y = AveragePool<kernel_shape = [2, 2]>(x) }", opset)
    operate(model, ExplicitAttributes())
    assert ("dilations" in node(model, "y").attributes) is dilations
    onnx.checker.check_model(io.to_proto(model))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'y = Conv<auto_pad = "SAME_LOWER">(x, k)',
            "Conv -> 'y': auto_pad SAME_LOWER decides its pads; run explicit_padding first",
        ),
        (
            "y = ConvTranspose<output_shape = [6, 6]>(x, k)",
            "ConvTranspose -> 'y': output_shape decides its pads",
        ),
        ("y = custom.Twist(x)", "Twist -> 'y': domain custom has no schema here"),
    ],
)
def test_pads_that_something_else_decides_are_left_absent(text, reason):
    """ONNX forbids pads beside the rule that makes them."""
    model = graph(f"(float[1,2,5,5] x) => (float[a,b,c,d] y) {{ {text} }}", k=random(2, 2, 3, 3))
    edits = ExplicitAttributes()(model)
    assert edits.left == (reason,)
    assert "pads" not in node(model, "y").attributes


def test_only_the_operators_asked_for():
    """The option restricts the pass."""
    model = graph("(float[1,2] x) => (float[1,2] y) { a = Elu(x) y = Softmax(a) }")
    edits = ExplicitAttributes(operators=("Softmax",))(model)
    assert edits.changed == ("Softmax -> 'y': axis",)


def test_an_unknown_operator_is_a_typo():
    """Vendor lists write Topk; ONNX writes TopK."""
    model = graph("(float[1,2] x) => (float[1,2] y) { y = Elu(x) }")
    with pytest.raises(RecipeError, match="no ONNX operator called 'Topk'") as caught:
        ExplicitAttributes(operators=("Elu", "Topk"))(model)
    assert caught.value.fix == "did you mean 'TopK'?"
    assert caught.value.at == ("operators", 1)


def test_a_whole_network_keeps_its_numbers():
    """Every kind of layer of a pose network, written out, computes what it did."""
    model = graph(
        """(float[1,3,8,8] x) => (float[1,4] y) {
            a = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, k)
            b = BatchNormalization(a, g, g, g, g)
            c = MaxPool<kernel_shape = [2, 2]>(b)
            d = ConvTranspose<strides = [2, 2]>(c, t)
            e = Resize<mode = "linear">(d, , s)
            f = GlobalAveragePool(e)
            h = Flatten(f)
            i = Gemm(h, m)
            y = Softmax(i)
        }""",
        k=random(4, 3, 3, 3),
        g=random(4, low=0.5),
        t=random(4, 4, 3, 3),
        s=np.array([1, 1, 2, 2], np.float32),
        m=random(4, 4),
    )
    operate(model, ExplicitAttributes())
    assert attributes.integers(node(model, "d"), "output_padding", ()) == (0, 0)
    assert attributes.decimal(node(model, "i"), "beta", 0) == 1.0
