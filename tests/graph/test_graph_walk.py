"""Finding nodes and tensors, and naming them for people."""

import pytest
from _surgery import graph, node

from workbench.graph import walk

BRANCHING = """(float[1,2] x, bool flag) => (float[1,2] y) {
    a = Relu(x)
    b = custom.Relu(a)
    c = Constant<value_float = 2.0>()
    m = Mul(a, a)
    i = If(flag) <then_branch = t () => (float[1,2] u) { u = Neg(a) },
                  else_branch = e () => (float[1,2] v) { inner = Abs(x) v = Neg(inner) }>
    s = Add(m, i)
    y = Mul(s, c)
}"""


@pytest.fixture
def model():
    """Branches, a custom operator, a constant."""
    return graph(BRANCHING)


def test_another_domains_operator_is_not_onnxs(model):
    """An operator of the same name in another domain is another operator."""
    assert [found.outputs[0].name for found in walk.nodes(model.graph, "Relu")] == ["a"]
    assert walk.producer(node(model, "b").outputs[0], "Relu") is None


def test_readers_in_branches_count(model):
    """A tensor that a branch reads has that reader."""
    a = node(model, "a").outputs[0]
    assert [found.op_type for found in walk.consumers(a)] == ["Relu", "Mul", "Neg"]
    assert walk.readers(a) == "Relu -> 'b', Mul -> 'm', Neg -> 'u'"


def test_the_only_reader_reads_once_outside_branches(model):
    """Reading twice, from a branch or from outside is more than one node's business."""
    found = {name: walk.only_consumer(value) for name, value in walk.tensors(model.graph).items()}
    assert {name: reader.op_type for name, reader in found.items() if reader is not None} == {
        "flag": "If",
        "c": "Mul",
        "m": "Add",
        "i": "Add",
        "s": "Mul",
    }


def test_a_node_is_called_as_a_viewer_shows_it(model):
    """By its name, or by what it makes when it has none."""
    relu = node(model, "a")
    assert walk.label(relu) == "Relu -> 'a'"
    relu.name = "relu_1"
    assert walk.label(relu) == "Relu 'relu_1'"


def test_many_readers_are_counted():
    """A message lists three and counts the rest."""
    nodes = " ".join(f"n{i} = Neg(x)" for i in range(5))
    model = graph(f"(float[1] x) => (float[1] n0) {{ {nodes} }}")
    assert walk.readers(model.graph.inputs[0]) == "Neg -> 'n0', Neg -> 'n1', Neg -> 'n2' and 2 more"


def test_origins_are_named(model):
    """A tensor comes from a node, an input or a constant."""
    weighted = graph("(float[2] x) => (float[2] y) { y = Add(x, k) }", k=[1.0, 2.0])
    values = walk.tensors(weighted.graph)
    assert [walk.origin(values[name]) for name in "xky"] == ["input 'x'", "constant 'k'", "Add -> 'y'"]


def test_names_of_branches_are_taken(model):
    """A new tensor must not hide one of a branch."""
    assert walk.inner_names(model.graph) == {"u", "inner", "v"}
    assert walk.fresh_name(model.graph, "inner") == "inner_2"
    assert walk.fresh_name(model.graph, "free") == "free"


def test_constants_are_not_made(model):
    """Tensors of the network depend on its inputs; Constant nodes do not."""
    assert list(walk.made(model.graph)) == ["a", "b", "m", "i", "s", "y"]


def test_a_static_shape_is_all_numbers():
    """One symbol and the shape is not static."""
    model = graph("(float[N,2] x, float[1,2] z) => (float[N,2] y) { y = Add(x, z) }")
    assert [walk.static_shape(value) for value in model.graph.inputs] == [None, (1, 2)]
    assert walk.static_shape(None) is None
