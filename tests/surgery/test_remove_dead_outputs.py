"""What the contract cannot know about `remove_dead_outputs`."""

import numpy as np
import pytest
from _surgery import graph, node, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import io
from workbench.surgery._pass import Edits
from workbench.surgery.remove_dead_outputs import RemoveDeadOutputs


def outputs(model, made: str) -> list[str]:
    """What the file says that the node behind `made` makes."""
    for one in io.to_proto(model).graph.node:
        if made in one.output:
            return list(one.output)
    raise AssertionError(made)


@pytest.mark.parametrize("opset", [14, 17, 22])
@pytest.mark.parametrize(
    ("call", "kept", "dropped"),
    [
        ("y, i = MaxPool<kernel_shape = [2, 2]>(x)", ["y"], "'i'"),
        ("y, m = Dropout(x)", ["y"], "'m'"),
    ],
)
def test_optional_outputs_at_the_end_go(call, kept, dropped, opset):
    """They are not there any more; the first output is what it was."""
    model = graph(f"(float[1,2,4,4] x) => (float[a,b,c,d] y) {{ {call} }}", opset=opset)
    result = operate(model, RemoveDeadOutputs())
    name = call.split("= ")[1].split("<")[0].split("(")[0]
    assert result.log[0][1].changed == (f"{name} -> 'y': nothing reads {dropped}, dropped",)
    assert outputs(model, "y") == kept


def test_optional_outputs_in_front_lose_their_name():
    """Of an LSTM the last state alone is an output without a name, then the state."""
    weights = {"w": random(1, 20, 4), "r": random(1, 20, 5)}
    model = graph("(float[3,1,4] x) => (float[1,1,5] h) { y, h, c = LSTM<hidden_size = 5>(x, w, r) }", **weights)
    result = operate(model, RemoveDeadOutputs())
    assert result.log[0][1].changed == ("LSTM -> 'y': nothing reads 'y', 'c', dropped",)
    assert outputs(model, "h") == ["", "h"]
    assert not RemoveDeadOutputs()(io.from_bytes(io.to_bytes(model)))


def test_statistics_of_a_normalization_go():
    """Mean and inverse deviation of a LayerNormalization are for training."""
    model = graph(
        "(float[2,4] x) => (float[2,4] y) { y, mean, inverse = LayerNormalization(x, scale) }", scale=random(4)
    )
    operate(model, RemoveDeadOutputs())
    assert outputs(model, "y") == ["y"]


@pytest.mark.parametrize(
    ("opset", "attribute", "names"), [(13, "", "'m', 'v', 'sm', 'sv'"), (15, "<training_mode = 1>", "'m', 'v'")]
)
def test_a_batch_normalization_that_learns_keeps_its_outputs(opset, attribute, names):
    """Without them it would normalize by other numbers."""
    made = "y, " + names.replace("'", "")
    model = graph(
        f"(float[2,3,4,4] x) => (float[2,3,4,4] y) {{ {made} = BatchNormalization{attribute}(x, g, g, g, g) }}",
        opset=opset,
        g=np.ones(3, np.float32),
    )
    edits = RemoveDeadOutputs()(model)
    assert not edits
    assert edits.left == (f"BatchNormalization -> 'y': nothing reads {names}, but it is in training mode",)


def test_required_outputs_stay():
    """ONNX has no TopK without values."""
    model = graph("(float[1,8] x) => (int64[1,2] places) { values, places = TopK(x, k) }", k=np.array([2], np.int64))
    edits = RemoveDeadOutputs()(model)
    assert not edits
    assert edits.left == ("TopK -> 'values': nothing reads 'values', but it must make them",)


def test_dead_nodes_go_first():
    """An output that only a dead node read is dead, too."""
    model = graph(
        """(float[1,2,4,4] x) => (float[a,b,c,d] y) {
            y, i = MaxPool<kernel_shape = [2, 2]>(x)
            f = Cast<to = 1>(i)
            g = Mul(f, w)
        }""",
        w=np.float32(2),
        spare=np.float32(3),
    )
    edits = RemoveDeadOutputs()(model)
    assert edits.changed == (
        "Cast -> 'f': removed, no output needs it",
        "Mul -> 'g': removed, no output needs it",
        "constant 'spare': removed, nothing reads it",
        "MaxPool -> 'y': nothing reads 'i', dropped",
    )
    assert edits.removed == ("i", "f", "g")
    assert not model.graph.initializers


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=2, max_size=5),
    st.integers(-3, 2),
    st.sampled_from([13, 17, 18, 22]),
)
def test_any_parts_are_the_same(parts, axis, opset):
    """Over sizes, axes from either end, and which parts are read."""
    sizes = [size for size, _ in parts]
    read = [f"p{place}" for place, (_, wanted) in enumerate(parts) if wanted] or ["p0"]
    shape = [2, 3, 4]
    shape[axis] = sum(sizes)
    dims = ",".join(str(size) for size in shape)
    made = ", ".join(f"p{place}" for place in range(len(parts)))
    model = graph(
        f"(float[{dims}] x) => ({', '.join(f'float[a{name},b{name},c{name}] {name}' for name in read)}) "
        f"{{ {made} = Split<axis = {axis}>(x, sizes) }}",
        opset=opset,
        sizes=np.array(sizes, np.int64),
    )
    x = random(*shape)
    before = run(model, {"x": x})
    edits = RemoveDeadOutputs()(model)
    assert bool(edits) == (len(read) < len(parts))
    after = run(model, {"x": x})
    assert list(after) == list(before)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)
    assert not RemoveDeadOutputs()(model)


def test_parts_without_sizes_are_equal_but_for_the_last():
    """Since opset 18 a Split may count its parts, and then the last one may be smaller."""
    model = graph(
        "(float[1,2,7,3] x) => (float[a,b,c,d] y, float[e,f,g,h] z) { n, y, z = Split<axis = 2, num_outputs = 3>(x) }",
        opset=18,
    )
    node(model, "n").name = "thirds"
    result = operate(model, RemoveDeadOutputs())
    assert result.log[0][1].changed == ("Split 'thirds': nothing reads 'n'; 'y', 'z' are Slices",)
    assert [one.name for one in model.graph] == ["thirds_1", "thirds_2"]
    assert set(model.graph.initializers) == {"n_axis", "y_start", "y_end", "z_start", "z_end"}


def test_one_part_is_one_slice():
    """The sizes go with the Split."""
    model = graph(
        "(float[1,6] x) => (float[1,2] y) { a, y, c = Split<axis = 1>(x, sizes) }", sizes=np.array([1, 2, 3], np.int64)
    )
    result = operate(model, RemoveDeadOutputs())
    assert result.log[0][1].changed == ("Split -> 'a': nothing reads 'a', 'c'; 'y' is a Slice",)
    assert operators(model) == ["Slice"]
    assert "sizes" not in model.graph.initializers


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "(float[1,6] x, int64[2] sizes) => (float[1,n] y) { y, b = Split<axis = 1>(x, sizes) }",
            "its sizes are computed at run time, so 'b' must stay",
        ),
        (
            "(float[1,n] x) => (float[1,m] y) { y, b = Split<axis = 1>(x) }",
            "the size of its axis is not static, so 'b' must stay",
        ),
    ],
)
def test_a_split_of_unknown_parts_stays(text, reason):
    """Where a part begins must be known."""
    edits = RemoveDeadOutputs()(graph(text))
    assert not edits
    assert edits.left == (f"Split -> 'y': {reason}",)


def test_a_split_that_is_read_whole_stays():
    """Nothing is gained by Slices then."""
    model = graph("(float[1,6] x) => (float[1,3] y, float[1,3] z) { y, z = Split<axis = 1>(x) }")
    assert RemoveDeadOutputs()(model) == Edits()


def test_what_a_branch_reads_is_read():
    """Indices that only a subgraph looks at stay; what makes control flow is not entered."""
    model = graph(
        """(float[1,1,2,2] x, bool flag) => (int64[1,1,1,1] y) {
            p, i = MaxPool<kernel_shape = [2, 2]>(x)
            y = If(flag) <then_branch = t () => (int64[1,1,1,1] u) { u = Neg(i) },
                          else_branch = e () => (int64[1,1,1,1] v) { v = Abs(i) }>
        }"""
    )
    edits = RemoveDeadOutputs()(model)
    assert edits.left == (
        "If -> 'y': passes do not enter subgraphs",
        "MaxPool -> 'p': nothing reads 'p', but it must make them",
    )


def test_operators_of_others_are_left_alone():
    """What an unknown operator must make, nobody here knows; inputs stay."""
    model = graph("(float[2] x, float[2] idle) => (float[2] y) { y, more = custom.Twist(x) }")
    edits = RemoveDeadOutputs()(model)
    assert not edits
    assert edits.left == ("input 'idle': no output depends on it, but inputs stay",)
