"""What fails in real builds although it is listed."""

import numpy as np
import pytest
from _surgery import graph

from workbench.targets.pulsar2.lint import lint

ONE, ONES = np.float32(1), np.ones((1, 4, 1, 1), np.float32)


def findings(text, chip="AX650", opset=17, **weights):
    """What is found in a graph in text form."""
    return lint(graph(text, opset, **weights), chip).findings


@pytest.mark.parametrize(
    ("bare", "written", "missing"),
    [
        ("Elu", "Elu<alpha = 1.0>", "alpha"),
        ("LeakyRelu", "LeakyRelu<alpha = 0.01>", "alpha"),
    ],
)
def test_activations_must_write_their_alpha(bare, written, missing):
    """Listed, and yet the build fails on the default."""
    text = "(float[4] x) => (float[4] y) {{ y = {}(x) }}"
    (found,) = findings(text.format(bare))

    assert (found.attribute, found.found, found.verdict) == (missing, "not written", "blocked")
    assert findings("(float[4] x) => (float[4] y) { y = " + written + "(x) }") == ()


def test_topk_must_write_all_of_its_attributes():
    """Those that are written are not asked for again."""
    text = "(float[4] x) => (float[2] y, int64[2] i) <int64[1] k = {2}> { y, i = TopK<axis = 0>(x, k) }"
    (found,) = findings(text)

    assert found.attribute == "largest, sorted"


@pytest.mark.parametrize("node", ["Mul(x, one)", "Mul(one, x)", "Div(x, one)"])
@pytest.mark.parametrize("one", [ONE, ONES])
def test_times_one_disappears(node, one):
    """The optimizer removes it: before an output that ends the build, elsewhere a person should know."""
    last = f"(float[1,4,2,2] x) => (float[1,4,2,2] y) {{ y = {node} }}"
    inner = f"(float[1,4,2,2] x) => (float[1,4,2,2] y) {{ a = {node} y = Relu(a) }}"

    assert [(found.verdict, found.limit) for found in findings(last, one=one)] == [
        ("blocked", "the optimizer removes it, and the output disappears")
    ]
    assert [(found.verdict, found.limit) for found in findings(inner, one=one)] == [
        ("by hand", "the optimizer removes it")
    ]


def test_what_is_not_exactly_one_stays():
    """1 divided by something, a number near 1, one channel that differs, and a 1 that makes the tensor larger."""
    near, mixed = np.float32(1.0000001), np.array([1, 1, 1, 2], np.float32).reshape(1, 4, 1, 1)
    for node, one in (("Div(one, x)", ONE), ("Mul(x, one)", near), ("Mul(x, one)", mixed)):
        assert findings(f"(float[1,4,2,2] x) => (float[1,4,2,2] y) {{ y = {node} }}", one=one) == ()
    wide = "(float[1,1,2,2] x) => (float[1,4,2,2] y) { y = Mul(x, one) }"
    assert findings(wide, one=ONES) == ()


def test_convtranspose_is_always_for_a_person():
    """Plain cases have failed in real builds, and nobody knows which."""
    text = "(float[1,4,4,4] x) => (float[1,4,4,4] y) { y = ConvTranspose<pads = [1,1,1,1]>(x, w) }"
    (found,) = findings(text, w=np.ones((4, 4, 3, 3), np.float32))

    assert found.verdict == "by hand"


@pytest.mark.parametrize(
    "text",
    [
        "(float[4] x, float[4] z) => (float[4] y) { y = Mod<fmod = 1>(x, z) }",
        "(float[1,4,4,4] x) => (float[1,4,4,4] y) { y = LRN<size = 3>(x) }",
        "(float[4] x) => (bool[4] y) { y = IsNaN(x) }",
        "() => (seq(float[4]) y) { y = SequenceEmpty() }",
    ],
)
def test_no_cpu_takes_over(text):
    """Four operators that end the whole build."""
    (found,) = findings(text)

    assert found.limit == "not in AX650's table: no CPU fallback, the whole build fails"


HEAD = """(float[1,4,4,4] x) => (float[1,8,16] det) {
    boxes = Conv(x, w)
    scores = Conv(x, w)
    likely = Sigmoid(scores)
    both = Concat<axis = 1>(boxes, likely)
    det = Reshape(both, s)
}"""
HEADS = {"w": np.ones((4, 4, 1, 1), np.float32), "s": np.array([1, 8, 16], np.int64)}


def test_probabilities_beside_raw_boxes():
    """One 8-bit scale over pixels and probabilities leaves of the probabilities nothing."""
    (found,) = findings(HEAD, **HEADS)

    assert (found.operator, found.attribute, found.verdict) == ("Concat", "ranges", "by hand")
    assert found.found == "joins Sigmoid and Conv in 'det'"


def test_equals_may_be_joined():
    """Two raw heads, or two Sigmoids, share a scale well; and inside the network nobody asks."""
    raw = HEAD.replace("likely = Sigmoid(scores)", "likely = Identity(scores)")
    both = HEAD.replace("boxes = Conv(x, w)", "raw = Conv(x, w) boxes = Sigmoid(raw)")
    limited = raw.replace("boxes = Conv(x, w)", "raw = Conv(x, w) boxes = Clip(raw, z, z)")
    inside = HEAD.replace("det = Reshape(both, s)", "joined = Conv(both, w2) det = Reshape(joined, s)")

    assert findings(raw, **HEADS) == ()
    sigmoid = limited.replace("Identity(scores)", "Sigmoid(scores)")
    assert findings(sigmoid, z=np.float32(0.5), **HEADS) == ()
    assert findings(both, **HEADS) == ()
    assert findings(inside, w2=np.ones((8, 8, 1, 1), np.float32), **HEADS) == ()


def test_a_long_chain_of_moves_ends():
    """However deep the moves behind a Concat, looking for kinds ends."""
    moves = "\n".join(f"m{i + 1} = Identity(m{i})" for i in range(500))
    text = f"(float[1,4] x) => (float[1,8] y) {{ m0 = Sigmoid(x) {moves} y = Concat<axis = 1>(m500, x) }}"
    (found,) = findings(text)

    assert found.found == "joins Sigmoid and input 'x' in 'y'"
