"""What the contract cannot know about `split_outputs`."""

import re

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import RecipeError
from workbench.surgery._pass import Edits
from workbench.surgery.split_outputs import SplitOutputs

INPUTS = "float[1,4,8] boxes, float[1,2,8] logits"


def detector(nodes: str, output: str = "float[a,b,c] y", inputs: str = INPUTS, **constants: np.ndarray) -> ir.Model:
    """A graph with raw boxes ``b``, probabilities ``s`` and `nodes`."""
    return graph(f"({inputs}) => ({output}) {{ b = Neg(boxes) s = Sigmoid(logits) {nodes} }}", **constants)


def names(model: ir.Model) -> list[str]:
    """The outputs of the graph."""
    return [str(value.name) for value in model.graph.outputs]


def assert_host_can_join(model: ir.Model, step: SplitOutputs) -> Edits:
    """The expressions of the account, run by NumPy on the new outputs, give the old outputs, bit by bit."""
    feeds = {
        str(value.name): random(*(size if isinstance(size, int) else 1 for size in value.shape), seed=index)
        for index, value in enumerate(model.graph.inputs)
    }
    before = run(model, feeds)
    edits = step(model)
    after = run(model, feeds)
    told = [re.match(r"output '(.*?)': split into .*; on the host it is (.*)", line) for line in edits.changed]
    joined = {found[1]: found[2] for found in told if found}
    assert joined
    for name, values in before.items():
        text = joined.get(name, f"outputs[{name!r}]")
        again = eval(text, {"np": np, "outputs": after})  # noqa: S307 -- our own text is what is tested
        np.testing.assert_array_equal(again, values)
    return edits


def test_boxes_and_probabilities_part():
    """The two branches are the outputs, under the names they had; the account says how to join them."""
    model = detector("y = Concat<axis = 1>(b, s)")
    edits = assert_host_can_join(model, SplitOutputs())
    assert edits.changed == (
        "output 'y': split into 'b', 's'; on the host it is np.concatenate([outputs['b'], outputs['s']], axis=1)",
        "Concat -> 'y': removed, no output needs it",
    )
    assert names(model) == ["b", "s"]
    assert [list(value.shape) for value in model.graph.outputs] == [[1, 4, 8], [1, 2, 8]]
    assert edits.removed == ("y",)


def test_moves_behind_the_concat_are_the_hosts():
    """A head that is transposed and reshaped at the end is split before."""
    model = detector(
        "c = Concat<axis = -2>(b, s) t = Transpose<perm = [0, 2, 1]>(c) i = Identity(t) y = Reshape(i, shape)",
        shape=np.array([2, 4, 6], np.int64),
    )
    edits = assert_host_can_join(model, SplitOutputs())
    assert edits.changed[0].endswith(
        "np.concatenate([outputs['b'], outputs['s']], axis=-2).transpose([0, 2, 1]).reshape([2, 4, 6])"
    )
    assert operators(model) == ["Neg", "Sigmoid"]


def test_heads_of_several_sizes_are_split_each():
    """A Concat of Concats is split down to where branches are of one kind, and no further."""
    model = detector(
        """
        near = Concat<axis = 1>(b, s)
        bb = Abs(b)
        both = Concat<axis = 1>(bb, b)
        t = Tanh(s)
        far = Concat<axis = 1>(both, t)
        flat = Flatten(far)
        nears = Flatten(near)
        y = Concat<axis = 1>(nears, flat)
        """,
        "float[a,b] y",
    )
    assert_host_can_join(model, SplitOutputs())
    assert names(model) == ["b", "s", "both", "t"]


@pytest.mark.parametrize(
    "bounded",
    [
        "h = HardSigmoid(logits)",
        "h = Softmax<axis = 1>(logits)",
        "h = Tanh(logits)",
        "h = Clip(logits, low, high)",
        "q = Tanh(logits) h = Slice(q, start, end)",
        "q = Sigmoid(logits) h, r = Split<axis = 2>(q)",
        "q = Sigmoid(logits) p = Transpose<perm = [0, 2, 1]>(q) h = Transpose<perm = [0, 2, 1]>(p)",
    ],
)
def test_what_is_bounded_is_told_by_its_operator(bounded):
    """Also behind moves that take out or turn around."""
    more = {"low": np.float32(0), "high": np.float32(1), "start": np.zeros(1, np.int64), "end": np.ones(1, np.int64)}
    model = detector(f"{bounded} k = Neg(h) y = Concat<axis = 0>(h, k)", **more)
    assert_host_can_join(model, SplitOutputs())
    assert names(model) == ["h", "k"]


@pytest.mark.parametrize(
    "nodes",
    [
        "c = Neg(b) y = Concat<axis = 1>(b, c)",
        "c = Tanh(s) y = Concat<axis = 1>(s, c)",
        "c = Relu(logits) y = Concat<axis = 1>(b, c)",
        "c = Clip(logits, low) y = Concat<axis = 1>(b, c)",
        "c = Mul(s, wide) y = Concat<axis = 1>(b, c)",
        "c = Concat<axis = 1>(b, s) y = Neg(c)",
        "y = Add(b, b)",
    ],
)
def test_branches_of_one_kind_stay_together(nodes):
    """Nothing is split that has one range, or ranges that no operator tells."""
    model = detector(nodes, low=np.float32(0), wide=np.float32(640))
    assert SplitOutputs()(model) == Edits()


def test_an_output_may_be_named():
    """Then its Concat is taken apart whatever its branches are, and other outputs stay."""
    model = detector(
        "c = Neg(b) y = Concat<axis = 1>(b, c) z = Concat<axis = 1>(b, s)", "float[a,b,c] y, float[d,e,f] z"
    )
    assert_host_can_join(model, SplitOutputs(tensors=("y",)))
    assert names(model) == ["b", "c", "z"]


def test_a_named_output_is_found_behind_moves():
    """The outermost Concat is meant, not the last node."""
    model = detector("c = Neg(b) d = Concat<axis = 1>(b, c) y = Transpose(d)")
    edits = assert_host_can_join(model, SplitOutputs(tensors=("y",)))
    assert ".transpose([2, 1, 0])" in edits.changed[0]
    assert names(model) == ["b", "c"]


def test_a_tensor_is_an_output_once():
    """A branch that is an output already, or that is joined twice, is not there twice; the order is the old one."""
    model = detector("y = Concat<axis = 1>(b, s, b)", "float[1,2,8] s, float[a,b,c] y")
    edits = assert_host_can_join(model, SplitOutputs())
    assert names(model) == ["s", "b"]
    assert "[outputs['b'], outputs['s'], outputs['b']]" in edits.changed[0]


def test_two_outputs_are_split_on_their_own():
    """Each has its line."""
    model = detector(
        "y = Concat<axis = 1>(b, s) n = Neg(s) z = Concat<axis = 1>(n, s)", "float[a,b,c] y, float[d,e,f] z"
    )
    edits = assert_host_can_join(model, SplitOutputs())
    assert names(model) == ["b", "s", "n"]
    assert len(edits.changed) == 4


def test_inner_readers_of_the_old_output_read_on():
    """The Concat stays where another output needs it."""
    model = detector("y = Concat<axis = 1>(b, s) z = Neg(y)", "float[a,b,c] y, float[d,e,f] z")
    operate(model, SplitOutputs())
    assert names(model) == ["b", "s", "z"]
    assert "Concat" in operators(model)


def test_the_names_of_exporters_survive_in_the_expression():
    """Slashes and quotes in a name are written as Python writes them."""
    model = detector("y = Concat<axis = 1>(b, s)")
    for value in model.graph.node(0).outputs:
        value.name = "/head/it's/Neg_output_0"
    edits = assert_host_can_join(model, SplitOutputs())
    assert """outputs["/head/it's/Neg_output_0"]""" in edits.changed[0]


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (
            "y = Concat<axis = 1>(boxes, s)",
            "one of its branches is the input 'boxes', which cannot be an output",
        ),
        (
            "y = Concat<axis = 1>(anchors, s)",
            "one of its branches is the constant 'anchors', which cannot be an output",
        ),
    ],
)
def test_what_cannot_be_an_output_keeps_the_concat(nodes, reason):
    """The host does not get what no node makes."""
    model = detector(nodes, anchors=random(1, 2, 8))
    edits = SplitOutputs()(model)
    assert not edits
    assert edits.left == (f"output 'y': {reason}",)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (("z",), "no output called 'z'"),
        (("s",), "no output called 's'"),
        (("y", "n"), "output 'n' is made by Neg -> 'n', not joined by a Concat"),
    ],
)
def test_a_name_must_be_a_joined_output(tensors, message):
    """A name that is no output, or one that nothing joins, is a mistake of the recipe, with its place."""
    model = detector("y = Concat<axis = 1>(b, s) n = Neg(y)", "float[a,b,c] y, float[d,e,f] n")
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        SplitOutputs(tensors=tensors)(model)
    assert caught.value.at == ("tensors", len(tensors) - 1)
    assert caught.value.fix


def test_a_batch_of_any_size_can_be_reshaped():
    """One size that nobody knows is left to NumPy; with two the Concat is not looked for behind."""
    model = detector(
        "c = Concat<axis = 1>(b, s) y = Flatten(c)", "float[a,b] y", "float[n,4,8] boxes, float[n,2,8] logits"
    )
    edits = assert_host_can_join(model, SplitOutputs())
    assert ".reshape([-1, 48])" in edits.changed[0]
    unknown = detector(
        "c = Concat<axis = 1>(b, s) y = Unsqueeze(c, place)",
        "float[a,b,c,d] y",
        "float[n,4,m] boxes, float[n,2,m] logits",
        place=np.array([0], np.int64),
    )
    assert SplitOutputs()(unknown) == Edits()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_any_tree_of_joins_can_be_joined_again(data):
    """Over trees of Concats, turns and reshapes the expression gives the old output."""
    lines: list[str] = []

    def grow(depth: int) -> str:
        name = f"t{len(lines)}"
        kind = data.draw(st.sampled_from(["leaf", "join", "turn"] if depth else ["leaf"]))
        lines.append("")
        place = len(lines) - 1
        if kind == "leaf":
            lines[place] = f"{name} = {data.draw(st.sampled_from(['Sigmoid', 'Neg', 'Abs']))}(x)"
        elif kind == "turn":
            inner = grow(depth - 1)
            lines[place] = f"u{name} = Transpose<perm = [0, 2, 1]>({inner}) {name} = Reshape(u{name}, back)"
        else:
            parts = [grow(depth - 1) for _ in range(data.draw(st.integers(2, 3)))]
            lines[place] = f"{name} = Concat<axis = 1>({', '.join(parts)})"
        return name

    root = grow(3)
    model = graph(
        f"(float[1,3,4] x) => (float[a,b,c] y) {{ {' '.join(reversed(lines))} y = Identity({root}) }}",
        back=np.array([1, -1, 4], np.int64),
    )
    edits = SplitOutputs()(ir.from_proto(ir.to_proto(model)))
    if edits:
        assert_host_can_join(model, SplitOutputs())
        assert SplitOutputs()(model) == Edits()


def test_a_tensor_joined_with_itself_again_and_again_ends():
    """Every Concat of a tensor with itself doubles the branches; what has too many is not taken apart."""
    doubles = " ".join(f"d{n + 1} = Concat<axis = 1>(d{n}, d{n})" for n in range(18))
    model = detector(f"d0 = Concat<axis = 1>(b, s) {doubles} y = Identity(d18)")
    assert SplitOutputs()(model) == Edits()
    few = detector("d0 = Concat<axis = 1>(b, s) d1 = Concat<axis = 1>(d0, d0) y = Concat<axis = 1>(d1, d1)")
    assert_host_can_join(few, SplitOutputs())
    assert names(few) == ["b", "s"]
