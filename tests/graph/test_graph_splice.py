"""Taking nodes out without losing a name."""

from _surgery import graph, node, operators

from workbench.graph import splice

LINE = "(float[2] x) => (float[2] y) { a = Relu(x) b = Identity(a) y = Neg(b) }"


def test_readers_move_to_the_equal_tensor():
    """An inner tensor loses its name, its readers lose nothing."""
    model = graph(LINE)
    identity = node(model, "b")
    assert splice.bypass(identity.inputs[0], identity.outputs[0]) is None
    splice.remove(identity)
    assert operators(model) == ["Relu", "Neg"]
    assert node(model, "y").inputs[0].name == "a"


def test_an_output_name_moves_to_the_equal_tensor():
    """A graph output that vanishes leaves its name and shape behind."""
    model = graph("(float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) y = Identity(a) }")
    identity = node(model, "y")
    assert splice.bypass(identity.inputs[0], identity.outputs[0]) is None
    splice.remove(identity)
    assert [value.name for value in node(model, "y").outputs] == ["y"]
    assert list(model.graph.outputs[0].shape) == [2]
    assert node(model, "b").inputs[0].name == "y"


def test_an_input_cannot_become_an_output():
    """ONNX wants a node between; the reason is given and nothing moves."""
    model = graph("(float[2] x) => (float[2] y) { y = Identity(x) }")
    identity = node(model, "y")
    assert splice.bypass(identity.inputs[0], identity.outputs[0]) == (
        "'y' is a graph output and input 'x' cannot take over its name"
    )
    assert operators(model) == ["Identity"]


def test_constants_go_with_their_last_reader():
    """Initializers and Constant nodes that nobody else reads are removed; shared ones stay."""
    model = graph(
        """(float[2] x) => (float[2] y) {
            c = Constant<value_float = 1.0>()
            a = Clip(x, low, c)
            y = Max(x, low)
        }""",
        low=0.0,
    )
    splice.remove(node(model, "a"))
    assert operators(model) == ["Max"]
    assert list(model.graph.initializers) == ["low"]


def test_pruning_lists_the_dead_in_order():
    """What no output depends on goes, inputs stay."""
    model = graph("(float[2] x, float[2] z) => (float[2] y) { a = Relu(z) b = Neg(a) y = Relu(x) c = Add(b, y) }")
    assert [found.op_type for found in splice.prune(model.graph)] == ["Relu", "Neg", "Add"]
    assert [value.name for value in model.graph.inputs] == ["x", "z"]
    assert splice.prune(model.graph) == ()
