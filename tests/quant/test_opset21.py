"""Facts about bringing a float graph to opset 21."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from workbench.graph import io
from workbench.quant.opset21 import CONVERTED, to_opset_21
from workbench.runtimes.onnxruntime import OnnxRunner


def model(text, opset=17, **constants):
    """A graph from its text and the arrays its text only names."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    for name, data in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data, np.float32), name))
    return ir.serde.deserialize_model(proto)


HEAD = "g (float[1,4,6,6] x) => (float{shape} y) {{ {body} }}"
EXAMPLES = {
    "Add": ("y = Add (x, x)", "[1,4,6,6]"),
    "AveragePool": ("y = AveragePool <kernel_shape = [3,3], strides = [2,2], pads = [0,0,1,1]> (x)", "[1,4,3,3]"),
    "BatchNormalization": ("y = BatchNormalization (x, s, s, s, s)", "[1,4,6,6]"),
    "Cast": ("i = Cast <to = 7> (x) y = Cast <to = 1> (i)", "[1,4,6,6]"),
    "Constant": ("k = Constant <value_floats = [1.5]> () y = Max (x, k)", "[1,4,6,6]"),
    "Div": ("y = Div (x, t)", "[1,4,6,6]"),
    "Flatten": ("y = Flatten (x)", "[1,144]"),
    "Identity": ("y = Identity (x)", "[1,4,6,6]"),
    "LeakyRelu": ("y = LeakyRelu (x)", "[1,4,6,6]"),
    "Mul": ("y = Mul (x, t)", "[1,4,6,6]"),
    "PRelu": ("y = PRelu (x, t)", "[1,4,6,6]"),
    "Pad": ("p = Constant <value_ints = [0,0,1,0,0,0,0,2]> () y = Pad (x, p)", "[1,4,7,8]"),
    "ReduceMax": ("y = ReduceMax <axes = [2,3]> (x)", "[1,4,1,1]"),
    "ReduceMean": ("y = ReduceMean <axes = [1], keepdims = 0> (x)", "[1,6,6]"),
    "ReduceMin": ("y = ReduceMin <axes = [-1]> (x)", "[1,4,6,1]"),
    "Relu": ("y = Relu (x)", "[1,4,6,6]"),
    "Reshape": ("d = Constant <value_ints = [0,-1]> () y = Reshape (x, d)", "[1,144]"),
    "Resize": (
        'y = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> (x, , u)',
        "[1,4,12,12]",
    ),
    "Split": ("d = Constant <value_ints = [1,3]> () z, y = Split <axis = 1> (x, d)", "[1,3,6,6]"),
    "Squeeze": ("d = Constant <value_ints = [0]> () y = Squeeze (x, d)", "[4,6,6]"),
    "Sub": ("y = Sub (x, t)", "[1,4,6,6]"),
    "Transpose": ("y = Transpose <perm = [0,2,3,1]> (x)", "[1,6,6,4]"),
    "Unsqueeze": ("d = Constant <value_ints = [2]> () y = Unsqueeze (x, d)", "[1,4,1,6,6]"),
}
CONSTANTS = {"s": [0.5, 1, 2, 3], "t": np.array([0.5, 1, 2, 3]).reshape(4, 1, 1), "u": [1, 1, 2, 2]}


def test_every_operator_of_the_list_has_its_example():
    """An operator is trusted to the converter only with a run before and after."""
    assert set(EXAMPLES) == CONVERTED


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("opset", [13, 17])
def test_outputs_are_equal_to_the_bit(name, opset):
    """What the converter makes of an operator computes the same; AveragePool up to the last bits of a float."""
    body, shape = EXAMPLES[name]
    network = model(HEAD.format(body=body, shape=shape), opset=opset, **CONSTANTS)
    made = to_opset_21(network)
    assert made.opset_imports == {"": 21}
    assert made.ir_version >= 10
    onnx.checker.check_model(io.to_proto(made), full_check=True)
    sample = {"x": np.random.default_rng(1).standard_normal((1, 4, 6, 6)).astype(np.float32)}
    with OnnxRunner(io.to_bytes(network), optimize=False) as old, OnnxRunner(io.to_bytes(made), optimize=False) as new:
        before, after = old.run(sample)["y"], new.run(sample)["y"]
    if name == "AveragePool":
        np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(before, after)


def test_names_and_marks_are_carried_over():
    """Nodes, tensors, weights and the mark that nobody should ship the network are those of the old graph."""
    network = model(
        """g (float[1,4,6,6] x) => (float[1,4,6,6] y) {
            [first] c = Conv <pads = [1,1,1,1]> (x, w)
            [second] k = Clip (c, low, high)
            [third] y = Concat <axis = 1> (k)
        }""",
        w=np.random.default_rng(0).standard_normal((4, 4, 3, 3)),
        low=np.float32(0),
        high=np.float32(6),
    )
    io.mark_not_deployable(network, "seeded")
    made = to_opset_21(network)
    assert [node.name for node in made.graph] == [node.name for node in network.graph]
    assert list(made.graph.initializers) == list(network.graph.initializers)
    assert [node.outputs[0].name for node in made.graph] == ["c", "k", "y"]
    assert io.not_deployable(made) == "seeded"


@pytest.mark.parametrize(
    ("opset", "body"),
    [
        (18, "y = GroupNormalization <num_groups = 2> (x, g, g)"),
        (17, 'y = GridSample <mode = "bilinear"> (x, h)'),
        (17, "y = NoSuchOperator (x)"),
    ],
)
def test_what_nobody_tried_is_left_alone(opset, body):
    """An operator that changed in between and is not on the list, or that nobody knows, is None and no wrong graph."""
    network = model(HEAD.format(body=body, shape="[1,4,6,6]"), opset=opset, g=[1, 2], h=np.zeros((1, 6, 6, 2)))
    assert to_opset_21(network) is None
