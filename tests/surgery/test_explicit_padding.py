"""What the contract cannot know about `explicit_padding`."""

import itertools

import numpy as np
import onnx.reference
import pytest
from _surgery import graph, node, operate, random

from workbench.graph import attributes, io
from workbench.surgery.explicit_padding import ExplicitPadding


def layer(operator: str, options: str, size: int = 7, kernel: int = 3, **more):
    """One layer over a square picture."""
    kernel_shape = f"kernel_shape = [{kernel}, {kernel}]"
    inputs = "x" if "Pool" in operator else "x, k"
    weights = {} if "Pool" in operator else {"k": random(2, 2, kernel, kernel)}
    text = (
        f"(float[1,2,{size},{size}] x) => (float[a,b,c,d] y) {{ y = {operator}<{kernel_shape}, {options}>({inputs}) }}"
    )
    return graph(text, **weights, **more)


def pads(model) -> tuple[int, ...]:
    """The padding of the layer."""
    return attributes.integers(node(model, "y"), "pads", ())


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "MaxPool", "AveragePool"])
def test_every_rule_becomes_the_numbers_onnxruntime_uses(operator):
    """Over sizes, kernels, strides and rules the outputs stay, and so does every shape."""
    done = 0
    for size, kernel, stride, rule in itertools.product(
        (4, 7), (2, 3, 5), (1, 2, 3), ("SAME_UPPER", "SAME_LOWER", "VALID")
    ):
        if stride > kernel or (rule == "VALID" and kernel > size):
            continue
        model = layer(operator, f'strides = [{stride}, {stride}], auto_pad = "{rule}"', size, kernel)
        operate(model, ExplicitPadding())
        assert "auto_pad" not in node(model, "y").attributes
        done += 1
    assert done == 45


def test_the_odd_pixel_is_where_the_rule_says():
    """UPPER pads more at the end, LOWER more at the beginning."""
    found = {}
    for rule in ("SAME_UPPER", "SAME_LOWER"):
        model = layer("Conv", f'strides = [2, 2], auto_pad = "{rule}"', size=4)
        ExplicitPadding()(model)
        found[rule] = pads(model)
    assert found == {"SAME_UPPER": (0, 0, 1, 1), "SAME_LOWER": (1, 1, 0, 0)}


def test_a_dilated_convolution_follows_the_reference():
    """Of the runtimes onnxruntime refuses SAME with dilation; ONNX's reference evaluator does not, and agrees."""
    model = layer("Conv", 'dilations = [2, 3], auto_pad = "SAME_UPPER"')
    x = random(1, 2, 7, 7)
    before = onnx.reference.ReferenceEvaluator(io.to_proto(model)).run(None, {"x": x})[0]
    ExplicitPadding()(model)
    after = onnx.reference.ReferenceEvaluator(io.to_proto(model)).run(None, {"x": x})[0]
    assert pads(model) == (2, 3, 2, 3)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_rounding_up_goes_with_same():
    """SAME says how many outputs there are, so ceil_mode has nothing left to say."""
    model = layer("MaxPool", 'strides = [2, 2], ceil_mode = 1, auto_pad = "SAME_UPPER"', size=6)
    operate(model, ExplicitPadding())
    assert attributes.integer(node(model, "y"), "ceil_mode", 1) == 0


def test_the_kernel_is_read_off_the_weights():
    """A convolution need not write its kernel_shape."""
    model = graph(
        '(float[1,2,5,5] x) => (float[1,2,5,5] y) { y = Conv<auto_pad = "SAME_UPPER">(x, k) }', k=random(2, 2, 3, 5)
    )
    operate(model, ExplicitPadding())
    assert pads(model) == (1, 2, 1, 2)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            graph(
                '(float[1,2,H,5] x) => (float[1,2,H,5] y) { y = Conv<auto_pad = "SAME_UPPER">(x, k) }',
                k=random(2, 2, 3, 3),
            ),
            "Conv -> 'y': the size of its input is not static",
        ),
        (
            layer("MaxPool", 'dilations = [2, 2], auto_pad = "SAME_UPPER"'),
            "MaxPool -> 'y': onnxruntime forgets the dilation of a pool when it works out SAME, so its numbers would"
            " not stay",
        ),
        (
            layer("MaxPool", 'strides = [2, 2], ceil_mode = 1, auto_pad = "VALID"', size=6),
            "MaxPool -> 'y': VALID and ceil_mode say different sizes",
        ),
        (
            layer("ConvTranspose", 'output_shape = [9, 9], auto_pad = "SAME_UPPER"'),
            "ConvTranspose -> 'y': output_shape decides its padding",
        ),
        (
            layer("ConvTranspose", 'strides = [4, 4], auto_pad = "SAME_UPPER"'),
            "ConvTranspose -> 'y': its kernel is smaller than its stride, so there is nothing to cut off",
        ),
    ],
)
def test_what_has_no_numbers_is_left(model, reason):
    """Where rule and runtimes leave room for doubt, the node keeps its rule."""
    edits = ExplicitPadding()(model)
    assert not edits
    assert edits.left == (reason,)


def test_numbers_that_are_there_stay():
    """NOTSET with pads is what the pass would write."""
    model = layer("Conv", 'pads = [1, 1, 1, 1], auto_pad = "NOTSET"')
    before = io.to_bytes(model)
    assert not ExplicitPadding()(model)
    assert io.to_bytes(model) == before
