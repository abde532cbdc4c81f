"""Facts about unrolling a sum: equal in float, sums of sums, chains with split ranges, and refusals with a reason."""

from __future__ import annotations

import zlib

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.engine.progress import Silent
from workbench.errors import UnsupportedError
from workbench.graph import io, walk
from workbench.quant.observe import observe
from workbench.quant.qdq import write_qdq
from workbench.quant.split_range import macs, split_range, splittable
from workbench.quant.unroll_sum import unroll_sum, unrollable
from workbench.runtimes.onnxruntime import OnnxRunner


def model(text, **constants):
    """A graph of opset 17 from its text and the arrays its text only names."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    for name, data in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data, np.float32), name))
    return ir.serde.deserialize_model(proto)


def random(*shape, seed=0):
    """Seeded normal float32 values."""
    return np.random.default_rng([seed, zlib.crc32(repr(shape).encode())]).standard_normal(shape).astype(np.float32)


def run(network, sample):
    """All outputs of one sample, without onnxruntime's own rewrites."""
    with OnnxRunner(io.to_bytes(network), optimize=False) as runner:
        return runner.run({"x": sample})


def checked(network):
    """`network` after ONNX's own checker saw it, every inferred shape included."""
    onnx.checker.check_model(io.to_proto(network), full_check=True)
    return network


def operators(network):
    """The operators in graph order."""
    return [node.op_type for node in network.graph]


def reads(network, output):
    """The names that the node behind `output` reads as data."""
    node = walk.tensors(network.graph)[output].producer()
    return [value.name for value in node.inputs if not value.is_initializer()]


def same(got, want):
    """Equal up to the rounding of float32 sums, every output."""
    assert got.keys() == want.keys()
    assert got
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-5 * max(float(np.abs(array).max()), 1e-30))


X = random(1, 3, 8, 8)
BLOCK = """g (float[1,3,8,8] x) => (float[1,2,8,8] y) {
    a = Conv (x, wa)
    b = Conv <pads = [1,1,1,1]> (x, wb)
    s = Add (a, b)
    y = Conv <pads = [1,1,1,1]> (s, v, d)
}"""
HELD = {"wa": random(4, 3, 1, 1), "wb": random(4, 3, 3, 3), "v": random(2, 4, 3, 3), "d": random(2)}


def block(old="", new="", **more):
    """One sum and its reader; `old` of the text becomes `new`."""
    return model(BLOCK.replace(old, new) if old else BLOCK, **HELD, **more)


def test_a_sum_with_one_reader_disappears():
    """The convolution reads both addends side by side, and nothing adds any more."""
    before, after = block(), block()
    unroll_sum(after, "s")
    assert operators(checked(after)) == ["Conv", "Conv", "Concat", "Conv"]
    assert reads(after, "y") == ["s/addends"]
    assert reads(after, "s/addends") == ["a", "b"]
    assert walk.static_shape(walk.tensors(after.graph)["s/addends"]) == (1, 8, 8, 8)
    assert "s" not in walk.tensors(after.graph)
    same(run(after, X), run(before, X))


@pytest.mark.parametrize(
    ("other", "output"),
    [
        ("z = Relu (s)", ", float[1,4,8,8] z"),
        ("z = Conv <group = 4> (s, g)", ", float[1,4,8,8] z"),
        ("", ", float[1,4,8,8] s"),
        ("z = Conv (s, wc) u = Conv (x, wc)", ", float[1,4,8,8] z, float[1,4,8,8] u"),
    ],
)
def test_a_sum_stays_for_other_readers(other, output):
    """A Relu, a depthwise convolution, shared weights or the graph's output still read the sum."""
    text = BLOCK.replace(" y)", f" y{output})").replace("\n}", f"\n {other}\n}}")
    held = HELD | ({"g": random(4, 1, 1, 1)} if "g)" in other else {})
    if "wc" in other:
        text, held = text.replace("float[1,3,8,8] x", "float[1,4,8,8] x"), held | {"wc": random(4, 4, 1, 1)}
        held |= {"wa": random(4, 4, 1, 1), "wb": random(4, 4, 3, 3)}
    before, after = model(text, **held), model(text, **held)
    unroll_sum(after, "s")
    assert operators(after).count("Add") == 1
    assert reads(after, "y") == ["s/addends"]
    sample = random(1, 4, 8, 8) if "wc" in other else X
    same(run(checked(after), sample), run(before, sample))


def test_two_readers_share_one_concat():
    """All convolutions that can read the same Concat, each with columns of its own."""
    text = BLOCK.replace(" y)", " y, float[1,5,4,4] z)").replace("\n}", "\n z = Conv <strides = [2,2]> (s, u)\n}")
    before, after = (model(text, **HELD, u=random(5, 4, 1, 1)) for _ in range(2))
    unroll_sum(after, "s")
    assert operators(checked(after)) == ["Conv", "Conv", "Concat", "Conv", "Conv"]
    same(run(after, X), run(before, X))


@pytest.mark.parametrize("before_the_sum", [True, False])
def test_a_concat_that_was_there_already_serves_from_where_the_readers_find_it(before_the_sum):
    """A network's own Concat of the addends is read, in topological order wherever it stood; its readers stay."""
    own = "c = Concat <axis = 1> (a, b)  z = Conv (c, u)"
    kernel = random(2, 8, 1, 1)
    place = "    s = Add (a, b)" if before_the_sum else "\n}"
    text = BLOCK.replace("y) {", "y, float[1,2,8,8] z) {").replace(
        place, f"    {own}\n{place}" if before_the_sum else f"\n    {own}\n}}"
    )
    before, after = (model(text, **HELD, u=kernel) for _ in range(2))
    unroll_sum(after, "s")
    assert operators(checked(after)).count("Concat") == 1
    assert reads(after, "y") == reads(after, "z") == ["c"]
    same(run(after, X), run(before, X))


def test_a_sum_of_many_and_of_one_twice():
    """Sum takes any number of addends; one that is added twice stands there twice."""
    text = BLOCK.replace("Add (a, b)", "Sum (a, b, a)")
    before, after = model(text, **HELD), model(text, **HELD)
    unroll_sum(after, "s")
    assert reads(after, "s/addends") == ["a", "b", "a"]
    same(run(checked(after), X), run(before, X))


CHAIN = """g (float[1,3,8,8] x) => (float[1,3,8,8] y) {
    a = Conv (x, w0)
    p = Conv (a, w1)
    b = Clip (p, zero, six)
    s = Add (a, b)
    q = Conv (s, w2)
    c = Clip (q, zero, six)
    t = Add (s, c)
    r = Conv (t, w3)
    d = Relu (r)
    u = Add (t, d)
    y = Conv (u, w4)
}"""
LINKS = {f"w{index}": random(3, 3, 1, 1, seed=index) for index in range(5)} | {"zero": 0.0, "six": 6.0}


def test_sums_of_sums_are_taken_apart_in_graph_order():
    """A residual chain ends in Concats of all that was ever added, and in no Add."""
    before, after = model(CHAIN, **LINKS), model(CHAIN, **LINKS)
    for name in ("s", "t", "u"):
        unroll_sum(after, name)
        same(run(checked(after), X), run(before, X))
    assert "Add" not in operators(after)
    assert reads(after, "u/addends") == ["a", "b", "c", "d"]
    assert reads(after, "t/addends") == ["a", "b", "c"]


def test_a_sum_that_was_not_unrolled_is_an_addend():
    """Out of graph order the result is equal too, but the inner sums stay."""
    before, after = model(CHAIN, **LINKS), model(CHAIN, **LINKS)
    unroll_sum(after, "t")
    assert reads(after, "t/addends") == ["s", "c"]
    unroll_sum(after, "s")
    assert reads(after, "s/addends") == ["a", "b"]
    unroll_sum(after, "u")
    assert reads(after, "u/addends") == ["t", "d"]
    assert operators(checked(after)).count("Add") == 2  # s and t, which Concats read
    same(run(after, X), run(before, X))


@settings(deadline=None, max_examples=40)
@given(
    links=st.lists(st.sampled_from(["Relu", "Clip", "None"]), min_size=1, max_size=4),
    unrolled=st.lists(st.integers(0, 3), max_size=5),
    split=st.lists(st.tuples(st.integers(0, 9), st.integers(2, 5)), max_size=3),
    split_first=st.booleans(),
    pad=st.integers(0, 1),
    seed=st.integers(0, 99),
)
def test_chains_of_both_rewrites_stay_equal(links, unrolled, split, split_first, pad, seed):
    """Whatever sums are unrolled and ranges split, in whatever order, the network answers the same."""
    lines, held, trunk = ["t0 = Conv (x, w)"], {"w": random(3, 3, 1, 1, seed=seed), "zero": 0.0, "one": 1.0}, "t0"
    for index, kind in enumerate(links):
        bend = {"Relu": "Relu (e{0})", "Clip": "Clip (e{0}, zero, one)", "None": "Identity (e{0})"}[kind]
        edge = f"<pads = [{pad},{pad},{pad},{pad}]>"
        lines += [
            f"e{index} = Conv ({trunk}, u{index})",
            f"m{index} = {bend.format(index)}",
            f"h{index} = Conv <pads = [1,1,1,1]> (m{index}, v{index})",
            f"t{index + 1} = Add ({trunk}, h{index})",
        ]
        held[f"u{index}"] = random(5, 3, 1, 1, seed=seed + index)
        held[f"v{index}"] = random(3, 5, 3, 3, seed=seed + index)
        trunk = f"t{index + 1}"
    lines.append(f"y = Conv {edge} ({trunk}, last)")
    held["last"] = random(2, 3, 3, 3, seed=seed)
    size = 6 + 2 * pad
    text = f"g (float[1,3,8,8] x) => (float[1,2,{size},{size}] y) {{\n" + "\n".join(lines) + "\n}"
    before, after = model(text, **held), model(text, **held)

    def split_some():
        for index, parts in split:
            there = list(splittable(after))
            if there:
                split_range(after, there[index % len(there)], parts, 2.0)

    def unroll_some():
        for index in unrolled:
            there = list(unrollable(after))
            if there:
                unroll_sum(after, there[index % len(there)])

    for step in (split_some, unroll_some) if split_first else (unroll_some, split_some):
        step()
    sample = random(1, 3, 8, 8, seed=seed)
    same(run(checked(after), sample), run(before, sample))


def test_costs_are_counted_by_hand():
    """Each addend beyond the first costs the layers behind once more, and a sum of unrolled sums more of them."""
    network, layer = model(CHAIN, **LINKS), 64 * 9
    assert unrollable(network) == {"s": layer, "t": layer, "u": layer}
    total = sum(macs(node) for node in walk.nodes(network.graph, "Conv"))
    for name, left in (("s", {"t": 2 * layer, "u": layer}), ("t", {"u": 3 * layer}), ("u", {})):
        total += unrollable(network)[name]
        unroll_sum(network, name)
        assert sum(macs(node) for node in walk.nodes(network.graph, "Conv")) == total
        assert unrollable(network) == left


def test_a_sum_leaves_the_grid():
    """Addends of 0..6 whose sum reaches 12 have steps twice as fine without it, and the error falls with them."""
    eye = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    text = """g (float[1,8,32,32] x) => (float[1,4,32,32] y) {
        p = Conv (x, left)
        a = Clip (p, zero, six)
        q = Conv (x, right)
        b = Clip (q, zero, six)
        s = Add (a, b)
        y = Conv (s, eye)
    }"""
    held = {"left": np.concatenate([eye, 0 * eye], 1), "right": np.concatenate([0 * eye, eye], 1), "eye": eye}
    sample = np.random.default_rng(1).uniform(-1, 7, (1, 8, 32, 32)).astype(np.float32)
    errors = []
    for unrolled in (False, True):
        network = model(text, **held, zero=0.0, six=6.0)
        if unrolled:
            unroll_sum(network, "s")
        ranges = observe(io.to_bytes(network), [{"x": sample}], progress=Silent())
        # All but the sum, and the addends in its place, at 16 bits.
        wide = {"x", "y"} if unrolled else {"x", "y", "a", "b"}
        difference = run(write_qdq(network, ranges, wide), sample)["y"] - run(network, sample)["y"]
        errors.append(float(np.sqrt(np.mean(difference**2))))
    assert errors[0] == pytest.approx(12 / 255 / 12**0.5, rel=0.05)
    # Two roundings of half the step, each exact for the quarter of the values that is cut to 0 or 6.
    assert errors[1] == pytest.approx(6 / 255 * (2 * 0.75 / 12) ** 0.5, rel=0.05)


REFUSED = {
    "it is no sum": ("s = Add (a, b)", "s = Mul (a, b)"),
    "it adds the constant 'k', which belongs into a bias": ("s = Add (a, b)", "s = Add (a, k)"),
    "its addends have different shapes: (1, 4, 8, 8), (1, 4, 1, 1)": (
        "s = Add (a, b)",
        "m = GlobalAveragePool (b)\n s = Add (a, m)",
    ),
    "no Conv reads it that could take its addends (Relu -> 'n' reads it)": ("y = Conv", "n = Relu (s)\n y = Conv"),
    "no Conv reads it that could take its addends (nothing reads it)": ("y = Conv", "n = Relu (a)\n y = Conv"),
    "no Conv reads it that could take its addends (Conv -> 'n' reads it in groups)": (
        "y = Conv",
        "n = Conv <group = 4> (s, g)\n y = Conv",
    ),
    "no Conv reads it that could take its addends (Conv -> 'y' has weights that are not constant float32)": (
        "y = Conv",
        "v = Abs (raw)\n y = Conv",
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_unrolled_says_why(reason):
    """The message names the tensor, the reason, the node, and what to do instead; the graph stays as it was."""
    text = BLOCK.replace(*REFUSED[reason])
    if "n = " in text:
        text = text.replace("(s, v, d)", "(n, v, d)")
    held = HELD | {"k": random(1, 4, 1, 1), "g": random(4, 1, 1, 1), "raw": HELD["v"]}
    if "v = Abs" in text:
        del held["v"]
    network = model(text, **held)
    assert unrollable(network) == {}
    before = io.to_bytes(network)
    with pytest.raises(UnsupportedError) as caught:
        unroll_sum(network, "s")
    assert caught.value.what == f"tensor 's' cannot be unrolled: {reason}"
    assert "'s'" in caught.value.where
    assert caught.value.fix == "leave it as it is, or give it 16 bits"
    assert io.to_bytes(network) == before


def test_dynamic_addends_are_refused():
    """Symbolic sizes could broadcast."""
    network = model(BLOCK.replace("8,8]", "h,h]"), **HELD)
    with pytest.raises(UnsupportedError, match="'s' cannot be unrolled: the shapes of its addends are not static"):
        unroll_sum(network, "s")


def test_an_unknown_tensor_names_the_near_miss():
    """A misspelt name finds its neighbour, any other the sums there are."""
    network = model(BLOCK.replace("s = Add", "block_5_sum = Add").replace("(s, v", "(block_5_sum, v"), **HELD)
    with pytest.raises(UnsupportedError) as caught:
        unroll_sum(network, "block_5_sun")
    assert str(caught.value) == "no tensor called 'block_5_sun'\n  fix: did you mean 'block_5_sum'?"
    with pytest.raises(UnsupportedError, match="fix: 1 can be unrolled; one of: block_5_sum"):
        unroll_sum(network, "zzz")


def test_a_long_chain_of_sums_needs_no_stack():
    """Two thousand sums of sums, each of the one before twice, are walked without recursion."""
    lines = ["s0 = Add (x, x)", *(f"s{i} = Add (s{i - 1}, s{i - 1})" for i in range(1, 2000)), "y = Conv (s1999, w)"]
    network = model(
        "g (float[1,1,1,1] x) => (float[1,1,1,1] y) {\n" + "\n".join(lines) + "\n}", w=np.zeros((1, 1, 1, 1))
    )
    unroll_sum(network, "s1999")
    assert reads(network, "s1999/addends") == ["s1998", "s1998"]
    assert operators(network).count("Add") == 1999


def test_unrolling_gives_the_same_bytes():
    """The result depends on the graph alone."""
    found = set()
    for _ in range(2):
        network = model(CHAIN, **LINKS)
        for name in unrollable(network):
            unroll_sum(network, name)
        found.add(io.to_bytes(network))
    assert len(found) == 1
