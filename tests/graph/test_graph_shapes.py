"""Shapes and validity without the weights."""

import numpy as np
import pytest
from _surgery import graph, random

from workbench.errors import UnsupportedError
from workbench.graph import io, shapes


def test_an_outline_leaves_big_weights_out():
    """A million weights become one typed input; small operands keep their numbers."""
    model = graph(
        "(float[1,4] x) => (float[i,j] y) { a = MatMul(x, k) y = Reshape(a, t) }",
        k=random(4, 100_000),
        t=np.array([100, 1000], np.int64),
    )
    outline = shapes.outline(model)
    assert outline.ByteSize() < 1000
    assert [value.name for value in outline.graph.input] == ["x", "k"]
    assert [tensor.name for tensor in outline.graph.initializer] == ["t"]
    assert shapes.infer(model)["y"] == (100, 1000)


def test_an_outline_leaves_the_model_as_it_was():
    """Looking changes nothing, not even the order of the weights."""
    model = graph(
        "(float[1,4] x) => (float[1,600] y) { a = MatMul(x, k) y = Add(a, b) }", k=random(4, 600), b=random(1)
    )
    before = io.to_bytes(model)
    shapes.check(shapes.outline(model))
    shapes.infer(model)
    assert io.to_bytes(model) == before


def test_symbols_and_unknown_sizes_are_told_apart():
    """A symbol is text, a size nobody named is None."""
    model = graph("(float[N,?,3] x) => (float[N,?,3] y) { y = Relu(x) }")
    assert shapes.infer(model)["x"] == ("N", None, 3)


def test_refreshing_writes_shapes_and_types():
    """Every node output learns what it is."""
    model = graph("(float[1,3] x) => (int64[1,1] y) { a = Relu(x) y = ArgMax<axis = 1>(a) }")
    assert model.graph.node(0).outputs[0].shape is None
    shapes.refresh(model)
    assert list(model.graph.node(0).outputs[0].shape) == [1, 3]
    assert str(model.graph.node(0).outputs[0].dtype) == "FLOAT"


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        ("y = Relu(nobody)", "not a valid ONNX graph"),
        ("y = Relu<slope = 3>(x)", "not a valid ONNX graph: Unrecognized attribute: slope"),
        ("b = Relu(a) a = Relu(x) y = Neg(b)", "not a valid ONNX graph"),
        ("y = MatMul(x, k)", "the shapes of the graph contradict each other"),
    ],
)
def test_a_broken_graph_is_refused_in_onnxs_words(nodes, complaint):
    """A missing tensor, a wrong attribute, a wrong order, shapes that cannot be: each is found."""
    model = graph(f"(float[1,4] x) => (float[1,2] y) {{ {nodes} }}", k=random(3, 2))
    with pytest.raises(UnsupportedError, match=complaint) as caught:
        shapes.check(shapes.outline(model))
    assert caught.value.fix == "export the network again"
    assert "\n" not in caught.value.what


def test_types_and_shapes_of_everything():
    """Inputs, weights and what nodes make, by name; a rank that nobody knows is None, and so is a size."""
    model = graph(
        "(float[N,4] x) => (float[i,j] y) { a = ArgMax<axis = 1>(x) b = custom.Twist(x) y = MatMul(x, k) }",
        k=random(4, 3),
    )
    found = shapes.typed(shapes.outline(model))

    assert found["x"] == (1, ("N", 4))
    assert found["a"] == (7, ("N", 1))
    assert found["k"] == (1, (4, 3))
    assert "b" not in found


@pytest.mark.parametrize("opset", [18, 20, 21])
def test_the_group_normalization_that_onnx_withdrew_is_understood(opset):
    """Operator set 18 defined it with a scale a group, 21 with one a channel; both are checked and have a shape."""
    model = graph(
        "(float[1,4,2,2] x) => (float[i,j,k,l] y) { n = GroupNormalization<num_groups = 2>(x, s, s) y = Relu(n) }",
        opset,
        s=random(2 if opset < 21 else 4),
    )
    outline = shapes.outline(model)
    shapes.check(outline)
    assert outline.graph.node[0].op_type == "GroupNormalization"
    assert shapes.infer(model)["n"] == (1, 4, 2, 2)
