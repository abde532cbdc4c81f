"""Resize nodes get sizes that round to nothing, and modes of the standard."""

import onnx_ir as ir
import pytest

from workbench.graph import constants
from workbench.sources import _resizes

HEAD = '<ir_version: 8, opset_import: ["": 18]> net'


def resizes(model):
    """For each Resize its scales and sizes."""
    found = []
    for node in model.graph:
        if node.op_type == "Resize":
            operands = [constants.array(value) for value in node.inputs[2:]]
            found.append([None if operand is None else operand.tolist() for operand in operands])
    return found


def test_even_scales_stay():
    """Twice and half are exact in binary."""
    model = ir.from_onnx_text(
        HEAD + "(float[1,2,4,6] x) => (float[1,2,8,3] y) <float[4] s = {1, 1, 2, 0.5}> {"
        ' y = Resize<mode="linear">(x, , s) }'
    )
    _resizes.repair(model)

    assert resizes(model) == [[[1, 1, 2, 0.5]]]


def test_uneven_scales_become_sizes_one_after_the_other():
    """7/12 of 12 is 7, also when an earlier Resize was wrong and a later node needs it right."""
    model = ir.from_onnx_text(
        HEAD + "(float[1,2,12,12] x) => (float[1,2,7,7] y)"
        " <float[4] s = {1, 1, 0.5833333134651184, 0.5833333134651184},"
        " float[4] t = {1, 1, 1.7142857313156128, 1.7142857313156128}> {"
        ' a = Resize<mode="linear">(x, , s) b = Resize<mode="linear">(a, , t) c = Add(b, x)'
        ' y = Resize<mode="linear">(c, , s) }'
    )
    _resizes.repair(model)

    assert resizes(model) == [[None, [1, 2, 7, 7]], [None, [1, 2, 12, 12]], [None, [1, 2, 7, 7]]]
    assert list(model.graph.outputs[0].shape) == [1, 2, 7, 7]


@pytest.mark.parametrize("mode", ["tf_half_pixel_for_nn"])
def test_the_mode_that_left_the_standard_is_replaced(mode):
    """TensorFlow's half-pixel nearest neighbour is half_pixel rounded up."""
    model = ir.from_onnx_text(
        HEAD + "(float[1,2,4,6] x) => (float[1,2,8,12] y) <float[4] s = {1, 1, 2, 2}> {"
        f' y = Resize<mode="nearest", coordinate_transformation_mode="{mode}">(x, , s) }}'
    )
    _resizes.repair(model)
    node = model.graph[0]

    assert node.attributes["coordinate_transformation_mode"].as_string() == "half_pixel"
    assert node.attributes["nearest_mode"].as_string() == "round_prefer_ceil"
