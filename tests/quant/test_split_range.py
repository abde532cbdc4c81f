"""Facts about splitting a range: equal in float, finer on the grid, and refusals that say what to do."""

from __future__ import annotations

import re
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
from workbench.graph import io, shapes, walk
from workbench.quant.observe import observe
from workbench.quant.qdq import write_qdq
from workbench.quant.split_range import macs, split_range, splittable
from workbench.runtimes.onnxruntime import OnnxRunner


def model(text, **constants):
    """A graph of opset 17 from its text and the arrays its text only names."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    for name, data in constants.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data, np.float32), name))
    return ir.serde.deserialize_model(proto)


def random(*shape, seed=0, width=1.0):
    """Seeded normal float32 values."""
    values = np.random.default_rng([seed, zlib.crc32(repr(shape).encode())]).standard_normal(shape)
    return (width * values).astype(np.float32)


def run(network, sample, **options):
    """The first output of one sample."""
    with OnnxRunner(io.to_bytes(network), **options) as runner:
        return next(iter(runner.run({"x": sample}).values()))


def checked(network):
    """`network` after ONNX's own checker saw it, every inferred shape included."""
    onnx.checker.check_model(io.to_proto(network), full_check=True)
    return network


def operators(network):
    """The operators in graph order."""
    return [node.op_type for node in network.graph]


def dims(network, name):
    """The shape that the graph states for a tensor."""
    return walk.static_shape(walk.tensors(network.graph)[name])


def same(got, want):
    """Equal up to the rounding of float32 sums."""
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * max(float(np.abs(want).max()), 1e-30))


CLIP = """g (float[1,3,8,8] x) => (float[1,5,8,8] y) {
    c = Conv <pads = [1,1,1,1]> (x, w, b)
    r = Clip (c, zero, six)
    y = Conv <pads = [1,1,1,1]> (r, v, d)
}"""
RELU = CLIP.replace("Clip (c, zero, six)", "Relu (c)")
HELD = {
    "w": random(4, 3, 3, 3),
    "b": random(4),
    "v": random(5, 4, 3, 3),
    "d": random(5),
    "zero": 0.0,
    "six": 6.0,
}
X = random(1, 3, 8, 8)


def clipped(**changes):
    """The network with a Clip; `changes` replace its constants."""
    return model(CLIP, **{**HELD, **changes})


def rectified():
    """The network with a Relu."""
    return model(RELU, **{name: data for name, data in HELD.items() if name not in ("zero", "six")})


@pytest.mark.parametrize("parts", [2, 3, 8, 16])
def test_a_clip_stays_one_convolution_and_one_clip(parts):
    """The channels grow, the operators do not, and the readers' padding still means 0."""
    before, after = clipped(), clipped()
    split_range(after, "r", parts)
    assert operators(checked(after)) == ["Conv", "Clip", "Conv"]
    assert dims(after, "r/split") == (1, 4 * parts, 8, 8)
    assert {"r", "c"}.isdisjoint(walk.tensors(after.graph))
    assert "c/split" in walk.tensors(after.graph)
    same(run(after, X, optimize=False), run(before, X, optimize=False))


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("top", [0.5, 4.0, 1000.0])
def test_a_relu_is_split_below_its_top_and_open_above(parts, top):
    """Two convolutions meet in a Concat; values above the observed top are not cut, however low that was."""
    before, after = rectified(), rectified()
    split_range(after, "r", parts, top)
    assert operators(checked(after)) == ["Conv", "Clip", "Conv", "Relu", "Concat", "Conv"]
    assert dims(after, "r/low") == (1, 4 * (parts - 1), 8, 8)
    assert dims(after, "r/high") == (1, 4, 8, 8)
    assert dims(after, "r/split") == (1, 4 * parts, 8, 8)
    same(run(after, X, optimize=False), run(before, X, optimize=False))


@pytest.mark.parametrize("bend", ["Clip (c, zero, six)", "Relu (c)"])
def test_a_depthwise_convolution_gets_a_copy_for_each_part(bend):
    """No copy makes more channels than it reads, and a Concat joins them."""
    text = f"""g (float[1,3,8,8] x) => (float[1,2,8,8] y) {{
        c = Conv <group = 3, pads = [1,1,1,1]> (x, w, b)
        r = {bend}
        y = Conv (r, v)
    }}"""
    held = {"w": random(3, 1, 3, 3), "b": random(3), "v": random(2, 3, 1, 1)}
    held |= {"zero": 0.0, "six": 6.0} if "Clip" in bend else {}
    before, after = model(text, **held), model(text, **held)
    split_range(after, "r", 3, 6.0)
    last = bend.split()[0]
    assert operators(checked(after)) == ["Conv", "Clip", "Conv", "Clip", "Conv", last, "Concat", "Conv"]
    assert [dims(after, name) for name in ("c/low", "c/low_2", "c/high")] == [(1, 3, 8, 8)] * 3
    assert dims(after, "r/split") == (1, 9, 8, 8)
    same(run(after, 5 * X, optimize=False), run(before, 5 * X, optimize=False))


def test_a_clip_that_is_never_full_is_split_like_a_relu():
    """When all values stay below 2 of 6, slices of 0.5 serve them; the last one still ends at 6."""
    before, after = clipped(), clipped()
    split_range(after, "r", 4, 2.0)
    assert operators(checked(after)) == ["Conv", "Clip", "Conv", "Clip", "Concat", "Conv"]
    largest = walk.tensors(after.graph)["r/high"].producer().inputs[2].const_value.numpy()
    assert largest == np.float32(6 - 1.5)
    same(run(after, 3 * X, optimize=False), run(before, 3 * X, optimize=False))
    nearly = clipped()
    split_range(nearly, "r", 4, 5.5)
    assert operators(nearly) == ["Conv", "Clip", "Conv"]


def test_a_clip_without_end_is_a_relu():
    """Clip with only a lower bound takes a top, as Relu does."""
    text = RELU.replace("Relu (c)", "Clip (c, zero)")
    held = {name: data for name, data in HELD.items() if name != "six"}
    before, after = model(text, **held), model(text, **held)
    split_range(after, "r", 4, 3.0)
    same(run(checked(after), X, optimize=False), run(before, X, optimize=False))


def test_the_bound_of_other_clips_stays():
    """Two Clips share their constant 6; the split one gets a bound of its own."""
    text = CLIP.replace("y = Conv <pads = [1,1,1,1]> (r, v, d)", "s = Conv <pads = [1,1,1,1]> (r, v, d)").replace(
        "\n}", "\n y = Clip (s, zero, six)\n}"
    )
    before, after = model(text, **HELD), model(text, **HELD)
    split_range(after, "r", 4)
    assert float(after.graph.initializers["six"].const_value.numpy()) == 6.0
    same(run(checked(after), X, optimize=False), run(before, X, optimize=False))


def test_several_readers_and_a_convolution_without_bias():
    """Every reader gets its columns repeated; a missing bias is made."""
    text = """g (float[1,3,8,8] x) => (float[1,2,8,8] y, float[1,2,3,3] z) {
        c = Conv (x, w)
        r = Clip (c, zero, six)
        y = Conv (r, v)
        z = Conv <strides = [2,2]> (r, u)
    }"""
    held = {"w": random(4, 3, 1, 1), "v": random(2, 4, 1, 1), "u": random(2, 4, 3, 3), "zero": 0.0, "six": 6.0}
    before, after = model(text, **held), model(text, **held)
    split_range(after, "r", 4)
    with (
        OnnxRunner(io.to_bytes(before), optimize=False) as old,
        OnnxRunner(io.to_bytes(checked(after)), optimize=False) as new,
    ):
        want, got = old.run({"x": X}), new.run({"x": X})
    for name in want:
        same(got[name], want[name])


def test_a_chain_is_split_link_by_link():
    """The reader of one split tensor makes the next; order does not matter, and a split Clip may be split again."""
    text = """g (float[1,3,8,8] x) => (float[1,2,8,8] y) {
        c = Conv (x, w)
        r = Clip (c, zero, six)
        e = Conv <group = 4, pads = [1,1,1,1]> (r, g)
        f = Relu (e)
        h = Conv (f, v)
        s = Clip (h, zero, six)
        y = Conv (s, u)
    }"""
    held = {"w": random(4, 3, 1, 1), "g": random(4, 1, 3, 3), "v": random(3, 4, 1, 1), "u": random(2, 3, 1, 1)}
    held |= {"zero": 0.0, "six": 6.0}
    before = model(text, **held)
    want = run(before, X, optimize=False)
    assert list(splittable(before)) == ["f", "s"]
    for order in (("f", "s"), ("s", "f")):
        after = model(text, **held)
        for name in order:
            split_range(after, name, 4, 5.0)
        split_range(after, "s/split", 2)
        assert dims(checked(after), "s/split/split") == (1, 24, 8, 8)
        same(run(after, X, optimize=False), want)


@settings(deadline=None, max_examples=40)
@given(
    parts=st.integers(2, 16),
    bound=st.sampled_from([0.1, 1.0, 6.0, 255.0]),
    filled=st.sampled_from([None, 0.3, 1.0, 2.0]),
    open_above=st.booleans(),
    groups=st.sampled_from([1, 3]),
    multiplier=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    pad=st.integers(0, 2),
    automatic=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equal_in_float(parts, bound, filled, open_above, groups, multiplier, stride, dilation, pad, automatic, seed):
    """Whatever convolutions stand before and behind, depthwise with a multiplier included, the output is equal."""
    channels = 3 * multiplier
    bend = "Relu (c)" if open_above else "Clip (c, zero, top)"
    around = 'auto_pad = "SAME_UPPER"' if automatic and dilation == 1 else f"pads = [{pad},{pad},{pad},{pad}]"
    text = f"""g (float[1,3,9,9] x) => (float[1,2,h,w] y) {{
        c = Conv <group = {groups}, pads = [1,1,1,1], strides = [{stride},{stride}]> (x, w, b)
        r = {bend}
        y = Conv <{around}, dilations = [{dilation},{dilation}], strides = [{stride},{stride}]> (r, v, d)
    }}"""
    held = {
        "w": random(channels, 3 // groups, 3, 3, seed=seed, width=bound / 3),
        "b": random(channels, seed=seed, width=bound),
        "v": random(2, channels, 2, 2, seed=seed),
        "d": random(2, seed=seed),
    }
    if not open_above:
        held |= {"zero": 0.0, "top": bound}
    top = bound * (filled or 1.0) if open_above or filled else None
    before, after = model(text, **held), model(text, **held)
    split_range(after, "r", parts, top)
    sample = random(1, 3, 9, 9, seed=seed)
    same(run(checked(after), sample, optimize=False), run(before, sample, optimize=False))


IDENTITY = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)


@pytest.mark.parametrize("bend", ["Clip (c, zero, six)", "Relu (c)"])
@pytest.mark.parametrize("parts", [2, 4, 8])
def test_the_error_on_the_grid_falls_by_the_number_of_parts(bend, parts):
    """In the quantized file, where only this tensor stands on 8 bits, its error is `parts` times smaller."""
    text = f"""g (float[1,4,32,32] x) => (float[1,4,32,32] y) {{
        c = Conv (x, w)
        r = {bend}
        y = Conv (r, v)
    }}"""
    held = {"w": IDENTITY, "v": IDENTITY} | ({"zero": 0.0, "six": 6.0} if "Clip" in bend else {})
    sample = np.random.default_rng(1).uniform(-3, 9 if "Clip" in bend else 6, (1, 4, 32, 32)).astype(np.float32)
    errors = []
    for count in (1, parts):
        network = model(text, **held)
        if count > 1:
            split_range(network, "r", count, float(sample.max()) if "Relu" in bend else None)
        ranges = observe(io.to_bytes(network), [{"x": sample}], progress=Silent())
        quantized = write_qdq(network, ranges, {"x", "y"})
        want, got = run(network, sample, optimize=False), run(quantized, sample, optimize=False)
        errors.append(float(np.sqrt(np.mean((got - want) ** 2))))
    inside = 1 / 2 if "Clip" in bend else 2 / 3  # the share of values that is not cut to 0 or 6, which are exact
    assert errors[0] == pytest.approx(6 / 255 * (inside / 12) ** 0.5, rel=0.05)
    # What is left at 16 bits, the output and the input, adds 1 / 257 of a step each.
    assert errors[0] / errors[1] == pytest.approx(parts, rel=0.15)


def test_costs_are_counted_by_hand():
    """A part more costs the layer before and the layers behind once more."""
    network = clipped()
    first, second = 64 * 4 * 27, 64 * 5 * 36
    assert splittable(network) == {"r": first + second}
    assert [macs(node) for node in walk.nodes(network.graph, "Conv")] == [first, second]
    for parts in (2, 5):
        after = clipped()
        split_range(after, "r", parts)
        assert sum(macs(node) for node in walk.nodes(after.graph, "Conv")) == parts * (first + second)
    open_above = rectified()
    split_range(open_above, "r", 3, 1.0)
    assert sum(macs(node) for node in walk.nodes(open_above.graph, "Conv")) == 3 * (first + second)


def test_a_batch_is_not_a_cost():
    """Costs are a picture's, whatever the batch."""
    four = model(CLIP.replace("float[1,", "float[4,"), **HELD)
    assert splittable(four) == splittable(clipped())


def test_splitting_twice_gives_the_same_bytes():
    """The result depends on the graph alone."""
    found = set()
    for _ in range(2):
        network = rectified()
        split_range(network, "r", 4, 3.0)
        found.add(io.to_bytes(network))
    assert len(found) == 1


REFUSED = {
    "it is a graph output": ("(float[1,5,8,8] y)", "(float[1,5,8,8] y, float[1,4,8,8] r)"),
    "Relu -> 'q' reads it": ("\n}", "\n q = Relu (r)\n}"),
    "Conv -> 'q' reads it in groups": ("\n}", "\n q = Conv <group = 4> (r, g)\n}"),
    "Conv -> 'q' reads it": ("\n}", "\n q = Conv (x, r)\n}"),
    "no Conv comes right before": ("c = Conv <pads = [1,1,1,1]> (x, w, b)", "n = Conv (x, k)\n c = Neg (n)"),
    "Clip -> 'r', Relu -> 'q' read what its Conv makes": ("\n}", "\n q = Relu (c)\n}"),
    "Conv -> 'c' shares its weights 'w'": ("\n}", "\n q = Conv (x, w)\n}"),
    "Conv -> 'y' shares its weights 'v'": ("\n}", "\n q = Conv (r, v)\n}"),
    "Conv -> 'c' has weights that are not constant float32": ("c = Conv", "w = Abs (raw)\n c = Conv"),
    "Conv -> 'y' has a bias that is not constant float32, one a channel": ("y = Conv", "d = Abs (bias)\n y = Conv"),
    "its Clip does not go from 0 to a constant": ("(c, zero, six)", "(c, six, six)"),
    "it is not the output of a Relu or Clip": ("r = Clip (c, zero, six)", "r = Sigmoid (c)"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_split_says_why(reason):
    """The message names the tensor, the reason, the node, and what to do instead; the graph stays as it was."""
    extra = {"g": random(4, 1, 1, 1), "k": random(4, 3, 1, 1), "raw": HELD["w"], "bias": HELD["d"]}
    text = CLIP.replace(*REFUSED[reason])
    made = set(re.findall(r"(\w+) = ", text))
    network = model(text, **{name: data for name, data in (HELD | extra).items() if name not in made})
    before = io.to_bytes(network)
    with pytest.raises(UnsupportedError) as caught:
        split_range(network, "r", 4)
    assert caught.value.what == f"tensor 'r' cannot be split: {reason}"
    assert "'r'" in caught.value.where
    assert caught.value.fix == "leave it whole, or give it 16 bits"
    assert io.to_bytes(network) == before


def test_a_tensor_that_nobody_reads_is_refused():
    """Dead ends stay."""
    network = model(
        CLIP.replace("y = Conv <pads = [1,1,1,1]> (r, v, d)", "y = Conv (x, k)"), k=random(5, 3, 1, 1), **HELD
    )
    with pytest.raises(UnsupportedError, match="tensor 'r' cannot be split: nothing reads it"):
        split_range(network, "r", 4)
    assert splittable(network) == {}


def test_an_unknown_tensor_names_the_near_miss():
    """A misspelt name finds its neighbour, any other the tensors there are."""
    text = CLIP.replace("(c, zero", "(block_5_conv, zero").replace("c = Conv", "block_5_conv = Conv")
    network = model(text.replace("r = Clip", "block_5_clip = Clip").replace("(r, v", "(block_5_clip, v"), **HELD)
    with pytest.raises(UnsupportedError) as caught:
        split_range(network, "block_5_clap", 4)
    assert str(caught.value) == "no tensor called 'block_5_clap'\n  fix: did you mean 'block_5_clip'?"
    with pytest.raises(UnsupportedError, match="fix: 1 can be split; one of: block_5_clip"):
        split_range(network, "zzz", 4)
    with pytest.raises(UnsupportedError, match="no tensor called 'q'\n  fix: there are none"):
        split_range(model("g (float[1] x) => (float[1] y) { y = Relu (x) }"), "q", 4)


@pytest.mark.parametrize("parts", [-1, 0, 1, 17])
def test_parts_out_of_range(parts):
    """Below 2 there is nothing to split; above 16 it costs more than 16 bits would."""
    with pytest.raises(
        UnsupportedError, match=f"Clip -> 'r': tensor 'r' cannot be split into {parts} parts\n  fix: ch"
    ):
        split_range(clipped(), "r", parts)


def test_a_relu_needs_its_top():
    """A range without end has no parts."""
    with pytest.raises(UnsupportedError, match="Relu -> 'r': the range of tensor 'r' has no end\n  fix: give the lar"):
        split_range(rectified(), "r", 4)


@pytest.mark.parametrize("top", [0.0, -1.0, float("nan"), float("inf"), 1e-45, 1e39])
def test_a_top_that_is_no_number_to_divide(top):
    """Zero, negative, NaN, infinite, and what float32 cannot hold in parts."""
    with pytest.raises(UnsupportedError, match=r"tensor 'r' reaches [^ ]+, which is no range to split"):
        split_range(rectified(), "r", 4, top)


@pytest.mark.parametrize("top", [1e-30, 1e30])
def test_extreme_tops_stay_exact(top):
    """A range of 1e-30 or 1e30 is split like any other."""
    before, after = rectified(), rectified()
    split_range(after, "r", 4, top)
    same(run(checked(after), X, optimize=False), run(before, X, optimize=False))


def test_dynamic_shapes_have_no_cost():
    """The costs need static shapes; splitting itself does not."""
    text = CLIP.replace("float[1,3,8,8]", "float[1,3,h,h]").replace("float[1,5,8,8]", "float[1,5,h,h]")
    network = model(text, **HELD)
    with pytest.raises(UnsupportedError, match="has a dynamic shape"):
        splittable(network)
    split_range(network, "r", 4)
    same(run(network, X, optimize=False), run(clipped(), X, optimize=False))


def test_stated_shapes_follow():
    """Shapes written in the file are those of the new tensors."""
    network = clipped()
    shapes.refresh(network)
    split_range(network, "r", 2)
    again = io.from_bytes(io.to_bytes(network))
    assert [dims(again, name) for name in ("c/split", "r/split", "y")] == [(1, 8, 8, 8), (1, 8, 8, 8), (1, 5, 8, 8)]
