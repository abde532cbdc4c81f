"""Facts about measuring ranges: exact, streaming, and unforgiving about NaN."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnx.parser
import pytest

from workbench.engine.progress import Silent
from workbench.errors import ToolError, UnsupportedError
from workbench.quant.observe import observe, observe_histograms

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
    r = Relu (x)
    two = Constant <value = float {2.0}> ()
    d = Mul (r, two)
    e = Exp (d)
    y = Sub (e, x)
}"""
MODEL = onnx.parser.parse_model(TEXT).SerializeToString()


def samples(count, seed=0, scale=1.0):
    """`count` seeded random feeds."""
    rng = np.random.default_rng(seed)
    return [{"x": (scale * rng.standard_normal((1, 2, 4, 4))).astype(np.float32)} for _ in range(count)]


def test_ranges_are_those_of_numpy():
    """Every activation, the input included, has the extremes that numpy finds over all samples."""
    feeds = samples(5)
    ranges = observe(MODEL, iter(feeds), progress=Silent())
    x = np.stack([feed["x"] for feed in feeds])
    r = np.maximum(x, 0)
    expected = {"x": x, "r": r, "d": 2 * r, "e": np.exp(2 * r), "y": np.exp(2 * r) - x}
    assert list(ranges) == list(expected)
    assert ranges.samples == 5
    for name, values in expected.items():
        assert (ranges[name].low, ranges[name].high) == pytest.approx((values.min(), values.max()), rel=1e-6), name


def test_shards_merge_to_the_whole():
    """Observing two halves and merging gives the bits of observing all samples at once."""
    feeds = samples(6)
    parts = [observe(MODEL, half, progress=Silent()) for half in (feeds[:2], feeds[2:])]
    assert parts[0].merge(parts[1]).to_json() == observe(MODEL, feeds, progress=Silent()).to_json()


def test_the_model_in_a_file(tmp_path):
    """A path gives the same ranges as its bytes."""
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    assert observe(path, samples(2), progress=Silent()) == observe(MODEL, samples(2), progress=Silent())


def test_chosen_tensors_only():
    """Only the tensors asked for are observed, in graph order; a misspelt one names the near miss."""
    assert list(observe(MODEL, samples(1), tensors=["e", "x"], progress=Silent())) == ["x", "e"]
    with pytest.raises(UnsupportedError, match="no float activation called 'ee'") as caught:
        observe(MODEL, samples(1), tensors=["ee"], progress=Silent())
    assert "did you mean 'e'?" in str(caught.value)


@pytest.mark.parametrize("position", [0, 1, 17, 31])
def test_nan_is_found_wherever_it_is(position):
    """A NaN in the third sample is an error that names the first tensor it reaches and the sample."""
    feeds = samples(4)
    feeds[2]["x"].flat[position] = np.nan
    with pytest.raises(ToolError, match="'x' is NaN or infinite for sample 2"):
        observe(MODEL, feeds, progress=Silent())


def test_the_first_infinite_tensor_is_named():
    """Where an operator overflows, its output is named and not what is behind it."""
    feeds = [*samples(1), {"x": np.full((1, 2, 4, 4), 100.0, np.float32)}]
    with pytest.raises(ToolError, match="'e' is NaN or infinite for sample 1"):
        observe(MODEL, feeds, progress=Silent())


def test_huge_but_finite_values_are_measured():
    """Values of 3e38 are a range, although their sum overflows."""
    feeds = [{"x": np.full((1, 2, 4, 4), -3e38, np.float32)}]
    assert observe(MODEL, feeds, tensors=["x", "r"], progress=Silent())["x"].low == pytest.approx(-3e38)


def test_no_samples_is_an_error():
    """Nothing to observe is an error, not an empty table."""
    with pytest.raises(ToolError, match="no samples to observe"):
        observe(MODEL, [], progress=Silent())


@pytest.mark.parametrize(
    "feed", [{}, {"y": 0}, {"x": np.zeros((1, 2, 4, 5), np.float32)}, {"x": np.zeros((1, 2, 4, 4))}]
)
def test_a_sample_that_does_not_fit_is_an_error(feed):
    """A missing input, another shape or another dtype is an error with a fix, not a traceback."""
    with pytest.raises(ToolError, match="cannot run the model"):
        observe(MODEL, [feed], progress=Silent())


def test_progress_counts_samples():
    """Each observed sample is one step of the total that was announced."""

    class Steps(Silent):
        def __init__(self):
            self.seen = []

        def step(self, done, total, what):
            self.seen.append((done, total, what))

    steps = Steps()
    observe(MODEL, samples(2), progress=steps, total=2)
    assert steps.seen == [(done, 2, "samples observed") for done in (0, 1, 2)]


BOTH = pytest.mark.parametrize("look", [observe, observe_histograms])


def graph(text):
    """A model from the text of its graph."""
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "my" : 1]> {text}').SerializeToString()


@BOTH
@pytest.mark.parametrize(
    ("text", "words", "fix"),
    [
        (
            "g (float[1,4] x) => (float[1,4] y) { a = my.Foo (x)  y = Relu (a) }",
            "Foo -> 'a': the type of tensor 'a' is unknown",
            "standard ONNX",
        ),
        (
            "g (float[1,4] x) => (float[1,4] y) { a = Rellu (x)  y = Relu (a) }",
            "tensor 'a' is unknown",
            "cut the graph",
        ),
        (
            "g (float[n,4] x) => (float[n,4] y) { y = Relu (x) }",
            "'x' has a dynamic shape: .n,4.",
            "static shape",
        ),
        (
            """g (float[1,4] x, float s, uint8 z) => (float[1,4] y) {
                q = QuantizeLinear (x, s, z)
                y = DequantizeLinear (q, s, z)
            }""",
            "QuantizeLinear -> 'q': the model is quantized already",
            "the float model",
        ),
        ("g (float[1,0] x) => (float[1,0] y) { y = Relu (x) }", "'x' has no elements: its shape is .1,0.", "nothing"),
        ("g (int64[1,4] x) => (int64[1,4] y) { y = Add (x, x) }", "no float activations", "float model"),
    ],
)
def test_a_model_that_cannot_be_observed_is_named(look, text, words, fix):
    """An unknown operator, dynamic shapes, a quantized model and nothing to see are errors with a place and a fix."""
    with pytest.raises(UnsupportedError) as caught:
        look(graph(text), samples(1), progress=Silent())
    assert re.search(words, str(caught.value))
    assert fix in caught.value.fix


@BOTH
def test_a_graph_without_nodes_is_only_its_input(look):
    """There is nothing to run, and the input is observed all the same."""
    found = look(graph("g (float[1,2,4,4] x) => (float[1,2,4,4] x) { }"), samples(2), progress=Silent())
    assert (list(found), found.samples) == (["x"], 2)


@BOTH
def test_integers_and_unused_inputs_do_not_disturb(look):
    """Tensors of other types are passed by, and an input that nothing reads is observed."""
    model = graph(
        """g (float[1,2,4,4] x, float[1,2,4,4] z) => (float[1,2,4,4] y) {
            half = Constant <value = float {0.5}> ()
            above = Greater (x, half)
            y = Cast <to = 1> (above)
        }"""
    )
    feeds = [{**feed, "z": -feed["x"]} for feed in samples(2)]
    assert list(look(model, feeds, progress=Silent())) == ["x", "z", "y"]
