"""What the contract cannot know about `static_batch`."""

import numpy as np
import pytest
from _surgery import graph, operate, random, run

from workbench.errors import UnsupportedError
from workbench.graph import io, shapes
from workbench.surgery.static_batch import StaticBatch


def test_every_shape_becomes_a_number():
    """Symbols vanish from inputs, inner tensors and outputs."""
    model = graph(
        "(float[N,2,4,4] x) => (float[N,3,2,2] y) { a = Conv<strides = [2, 2]>(x, w) y = Relu(a) }",
        w=random(3, 2, 1, 1),
    )
    operate(model, StaticBatch())
    assert all(isinstance(dim, int) for dims in shapes.infer(model).values() for dim in dims)
    assert list(model.graph.outputs[0].shape) == [1, 3, 2, 2]


def test_a_symbol_is_replaced_wherever_an_input_uses_it():
    """Two inputs that share the batch get it together."""
    model = graph("(float[N,2] x, float[N,2] k) => (float[N,2] y) { y = Add(x, k) }")
    edits = StaticBatch(batch=4)(model)
    assert edits.changed == ("input 'x': Nx2 is 4x2", "input 'k': Nx2 is 4x2")


def test_a_number_is_replaced_too():
    """A graph of one picture becomes a graph of three, sample by sample the same."""
    text = """(float[1,2,2,2] x) => (float[1,2] y) {
        a = Conv(x, w)
        b = Reshape(a, flat)
        y = MatMul(b, m)
    }"""
    weights = {"w": random(2, 2, 1, 1), "m": random(8, 2), "flat": np.array([1, 8], np.int64)}
    model = graph(text, **weights)
    edits = StaticBatch(batch=3)(model)
    assert edits.changed[0] == "Reshape -> 'b': its target [1, 8] starts with 3"
    pictures = random(3, 2, 2, 2)
    one = [run(graph(text, **weights), {"x": pictures[i : i + 1]})["y"] for i in range(3)]
    np.testing.assert_allclose(run(model, {"x": pictures})["y"], np.concatenate(one), rtol=1e-5)


@pytest.mark.parametrize("target", [[1, -1], [-1, 8], [0, 8], [0, -1], [1, 8]])
def test_targets_that_keep_samples_apart_are_fine(target):
    """A target whose front is the batch, copied, left over or built in, means one sample a row."""
    text = "(float[N,2,2,2] x) => (float[N,8] y) { y = Reshape(x, flat) }"
    model = graph(text, flat=np.array(target, np.int64))
    StaticBatch(batch=3)(model)
    pictures = random(3, 2, 2, 2)
    np.testing.assert_array_equal(run(model, {"x": pictures})["y"], pictures.reshape(3, 8))


@pytest.mark.parametrize("target", [[8, 1], [2, 4], [4, -1], [1, 2, 2, 1, 2, 1], [1, 8]])
def test_a_refused_graph_is_not_half_changed(target):
    """Whether a target can follow is tried on a copy first."""
    text = f"(float[1,2,2,2] x) => (float[{','.join('abcdef'[: len(target)])}] y) {{ a = Reshape(x, t) y = Add(a, k) }}"
    model = graph(text, t=np.array(target, np.int64), k=random(1, *(abs(size) for size in target)))
    before = io.to_bytes(model)
    with pytest.raises(UnsupportedError):
        StaticBatch(batch=3)(model)
    assert io.to_bytes(model) == before


def test_the_refusal_names_the_node():
    """The message says which node mixes which target, and what to do."""
    model = graph("(float[1,2,2,2] x) => (float[2,4] y) { y = Reshape(x, t) }", t=np.array([2, 4], np.int64))
    with pytest.raises(UnsupportedError, match=r"the target \[2, 4\] mixes the samples of a batch of 3") as caught:
        StaticBatch(batch=3)(model)
    assert caught.value.where == "Reshape -> 'y'"
    assert "cut the graph" in caught.value.fix


def test_a_shared_target_is_not_changed_for_others():
    """A constant that a second Reshape reads for a weight stays as it was."""
    model = graph(
        """(float[1,2,2,2] x) => (float[1,8] y) {
            a = Reshape(x, t)
            k = Reshape(bias, t)
            y = Add(a, k)
        }""",
        t=np.array([1, 8], np.int64),
        bias=random(8),
    )
    StaticBatch(batch=2)(model)
    assert list(model.graph.initializers["t"].const_value.numpy()) == [1, 8]
    assert run(model, {"x": random(2, 2, 2, 2)})["y"].shape == (2, 8)


def test_a_resize_to_a_size_follows():
    """The sizes of a Resize have the batch in front."""
    model = graph(
        '(float[1,2,2,2] x) => (float[1,2,4,4] y) { y = Resize<mode = "nearest">(x, , , sizes) }',
        sizes=np.array([1, 2, 4, 4], np.int64),
    )
    edits = StaticBatch(batch=2)(model)
    assert "Resize -> 'y': its target [1, 2, 4, 4] starts with 2" in edits.changed
    assert run(model, {"x": random(2, 2, 2, 2)})["y"].shape == (2, 2, 4, 4)


def test_a_constant_of_the_old_batch_is_refused():
    """A graph that adds a constant of four samples cannot take three."""
    model = graph("(float[4,2] x) => (float[4,2] y) { y = Add(x, k) }", k=random(4, 2))
    with pytest.raises(UnsupportedError, match="the graph does not take batch 3"):
        StaticBatch(batch=3)(model)


def test_inputs_of_different_batches_are_refused():
    """There is no telling which axis is the batch."""
    model = graph("(float[1,2] x, float[4,2] k) => (float[4,2] y) { y = Add(x, k) }")
    with pytest.raises(UnsupportedError, match=r"different batches: \[1, 4\]"):
        StaticBatch(batch=2)(model)


def test_other_symbols_are_reported():
    """Height and width are not the batch."""
    model = graph("(float[N,3,H,4] x) => (float[N,3,H,4] y) { y = Relu(x) }")
    edits = StaticBatch()(model)
    assert edits
    assert edits.left == ("input 'x': axis 2 is H, which is not its batch",)


def test_a_size_nobody_named_is_a_batch_too():
    """A dimension that is neither number nor symbol stands for any batch."""
    model = graph(
        "(float[?,2,2,2] x) => (float[?,8] y) { a = Relu(x) y = Reshape(a, t) }", t=np.array([1, 8], np.int64)
    )
    StaticBatch(batch=2)(model)
    assert run(model, {"x": random(2, 2, 2, 2)})["y"].shape == (2, 8)


def test_an_output_behind_a_custom_operator_gets_the_batch_declared():
    """Where nothing can be inferred the declaration is all there is, and it follows."""
    model = graph("(float[N,2] x) => (float[N,2] y) { y = custom.Twist(x) }")
    StaticBatch(batch=2)(model)
    assert list(model.graph.outputs[0].shape) == [2, 2]
