"""Facts about making a float graph ready for 8 bits: the order of the steps, what they may change, and bad input."""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, operators, random, run

from workbench.engine.progress import Silent
from workbench.errors import RecipeError, ToolError, UnsupportedError
from workbench.graph import constants, io, walk
from workbench.quant import bake as module
from workbench.quant.bake import Report, bake
from workbench.quant.equalize import LIMIT, largest_difference
from workbench.quant.observe import observe
from workbench.quant.qdq import write_qdq
from workbench.recipe.schema import Quantization

OFF = {"equalize": False, "correct_bias": False}
FLOAT = {"correct_bias": False, "unroll": ("s",), "split": {"r": 4}}
"""Everything that leaves the float function as it is."""


def network(**changes):
    """Wide features and a narrow map meet in a Concat; behind it a head with a residual sum."""
    weights = {
        "wide": 20 * random(12, 3, 1, 1, seed=1),
        "narrow": 0.02 * random(4, 3, 1, 1, seed=2),
        "mix": np.concatenate([0.0003 * random(6, 12, 1, 1, seed=3), random(6, 4, 1, 1, seed=4)], 1),
        "v": random(6, 6, 3, 3, seed=5, low=-0.3, high=0.3),
        "w": random(6, 6, 1, 1, seed=6),
        "bias": 0.01 * random(6, seed=7),
        "head": random(2, 6, 1, 1, seed=8),
    }
    text = """(float[1,3,8,8] x) => (float[1,2,8,8] y) {
        a = Conv (x, wide)  f = Relu (a)
        b = Conv (x, narrow)
        c = Concat <axis = 1> (f, b)
        m = Conv (c, mix)  r = Relu (m)
        p = Conv <pads = [1,1,1,1]> (r, v, bias)  q = Conv (r, w)
        s = Add (p, q)
        y = Conv (s, head)
    }"""
    return graph(text, **(weights | changes))


def pictures(model, count=4, low=-2.0, high=2.0):
    """Seeded samples for the inputs of a model."""
    shapes = {str(value.name): walk.static_shape(value) for value in model.graph.inputs}
    return [
        {name: random(*shape, seed=100 + k, low=low, high=high) for name, shape in shapes.items()} for k in range(count)
    ]


def baked(model, samples=None, labels=(), **quantization):
    """Bake a model as a recipe's section says."""
    samples = pictures(model) if samples is None else samples
    return bake(model, samples, Quantization(**quantization), progress=Silent(), labels=labels)


def copy_of(model):
    """An independent copy."""
    return io.from_bytes(io.to_bytes(model))


def cosine(model, reference, samples):
    """The mean cosine of `model` at 8 bits to the float output of `reference`."""
    eight = write_qdq(model, observe(io.to_bytes(model), samples, progress=Silent()))
    pairs = [[run(one, sample)["y"].ravel() for one in (eight, reference)] for sample in samples]
    return float(np.mean([a.astype(np.float64) @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))


def held(model):
    """Every float constant of a graph by name."""
    found = {str(name): constants.array(value) for name, value in model.graph.initializers.items()}
    return {name: data for name, data in found.items() if data is not None and data.dtype == np.float32}


def test_nothing_switched_on_changes_nothing():
    """The graph keeps its bytes, no picture is looked at, and the report is empty."""
    model = network()
    before = io.to_bytes(model)
    report = baked(model, [], **OFF)
    assert io.to_bytes(model) == before
    assert report == Report()
    assert report.summary() == []
    assert report.to_json() == {"unrolled": [], "equalized": None, "split": {}, "difference": 0.0, "swept": None}


def test_the_steps_come_in_their_order(monkeypatch):
    """Sums are unrolled, ranges equalized, then split, then layers are swept."""
    called = []

    def spied(owner, name):
        original = getattr(owner, name)

        def spy(*arguments, **keywords):
            called.append(f"{owner.__name__.rpartition('.')[2]}.{name}")
            return original(*arguments, **keywords)

        monkeypatch.setattr(owner, name, spy)

    for name in ("unroll_sum", "equalize", "split_range"):
        spied(module, name)
    spied(module.sweep, "bake")
    baked(network(), unroll=("s",), split={"r": 4})
    assert called == ["bake.unroll_sum", "bake.equalize", "bake.split_range", "sweep.bake"]


def test_the_defaults_equalize_and_correct():
    """Without a word in the recipe the conflict is solved: plain INT8 loses the answer, the baked graph keeps it."""
    model = network()
    plain, samples = copy_of(model), pictures(model)
    report = baked(model, samples)
    assert cosine(plain, plain, samples) < 0.95
    assert cosine(model, plain, samples) > 0.995
    assert [line.split(":")[0] for line in report.summary()] == ["equalized", "swept"]
    assert report.equalized is not None
    assert {"f", "b"} <= {change.tensor for change in report.equalized.changed}
    assert report.swept is not None
    assert (report.swept.used, report.swept.given) == (4, 4)


def test_what_the_recipe_names_is_gone():
    """An unrolled sum is not formed any more and a split tensor has parts times the channels; float stays equal."""
    model = network()
    before, samples = copy_of(model), pictures(model)
    report = baked(model, samples, equalize=False, **FLOAT)
    assert "Add" not in operators(model)
    assert walk.tensors(model.graph)["r/split"].shape == [1, 24, 8, 8]
    assert largest_difference(before, model, pictures(model)) == report.difference <= 1e-6
    assert report.summary() == ["unrolled: 1 sums", "split: 1 ranges, into 4 parts"]
    said = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (said["unrolled"], said["split"], said["equalized"], said["swept"]) == (["s"], {"r": 4}, None, None)


def test_split_and_unroll_hold_more_of_the_answer():
    """With finer ranges and no sum on a grid, 8 bits are nearer to float than with the defaults alone."""
    default, finer = network(), network()
    plain, samples = copy_of(default), pictures(default)
    baked(default, samples)
    baked(finer, samples, unroll=("s",), split={"r": 4})
    assert cosine(finer, plain, samples) > cosine(default, plain, samples)


def test_all_of_it_is_told_as_json():
    """The report of every step is plain JSON without NaN, and each layer is in it."""
    report = baked(network(), **(FLOAT | {"correct_bias": True, "rounding": "optimal"}))
    said = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert said["difference"] == report.difference <= LIMIT
    assert len(said["swept"]["layers"]) == 7
    assert all(layer["chosen"] for layer in said["swept"]["layers"])


def test_two_runs_make_the_same_bytes():
    """Graph and report agree to the byte, whatever is switched on."""
    made = []
    for _ in range(2):
        model = network()
        report = baked(model, **(FLOAT | {"correct_bias": True, "rounding": "optimal"}))
        made.append((io.to_bytes(model), json.dumps(report.to_json())))
    assert made[0] == made[1]


def test_a_rewrite_that_changes_the_float_outputs_is_refused(monkeypatch):
    """A step that should have been exact and was not ends the run, with what to switch off."""

    def wrong(model: ir.Model, name: str) -> None:
        place = walk.tensors(model.graph)[name].producer()
        assert place is not None
        conv = walk.nodes(model.graph, "Conv")[-1]
        constants.put(model.graph, conv, 1, np.asarray(constants.array(conv.inputs[1])) * np.float32(1.001), "head")

    monkeypatch.setattr(module, "unroll_sum", wrong)
    with pytest.raises(ToolError, match=r"^preparing the graph changed its float outputs by 1\.0e-03") as caught:
        baked(network(), unroll=("s",))
    assert caught.value.fix.startswith("quantization: {equalize: false, split: {}, unroll: []}")


@pytest.mark.parametrize(
    ("settings", "what", "fix", "at"),
    [
        ({"split": {"rr": 2}}, "quantization.split: no tensor called 'rr'", "did you mean 'r'?", "rr"),
        ({"split": {"s": 2}}, "quantization.split: tensor 's' cannot be split: it is not the output", "leave", "s"),
        ({"unroll": ("s", "sum")}, "quantization.unroll[1]: no tensor called 'sum'", "there are none", 1),
        ({"unroll": ("c",)}, "quantization.unroll[0]: tensor 'c' cannot be unrolled: it is no sum", "leave", 0),
    ],
)
def test_a_wrong_name_is_a_mistake_of_the_recipe(settings, what, fix, at):
    """The error has the key, by which the pipeline tells the line, and no place of its own; the fix helps."""
    with pytest.raises(RecipeError) as caught:
        baked(network(), **settings)
    assert caught.value.what.startswith(what)
    assert caught.value.fix.startswith(fix)
    assert caught.value.at == ("quantization", *settings, at)
    assert caught.value.where == ""


def test_a_near_miss_is_named():
    """A slip of one letter gets the name that was meant."""
    model = graph(
        """(float[1,3,8,8] x) => (float[1,2,8,8] y) {
            a = Conv (x, w)  features = Relu (a)  y = Conv (features, v)
        }""",
        w=random(4, 3, 1, 1),
        v=random(2, 4, 1, 1),
    )
    with pytest.raises(RecipeError, match=r"quantization\.split: no tensor called 'featurs'") as caught:
        baked(model, split={"featurs": 2})
    assert caught.value.fix == "did you mean 'features'?"


def test_wrong_names_are_told_before_the_wait():
    """The names are held against the graph before any picture is looked at, and all that can be split is offered."""
    samples = Counted(40)
    with pytest.raises(RecipeError) as caught:
        baked(network(), samples, split={"r": 2, "zzz": 2})
    assert (caught.value.at, caught.value.fix) == (("quantization", "split", "zzz"), "1 can be split; one of: r")
    assert samples.most == 0


@pytest.mark.parametrize(("count", "told"), [(0, "no calibration pictures"), (1, "1 calibration picture:")])
@pytest.mark.parametrize("settings", [{}, {**OFF, "unroll": ("s",)}, {**OFF, "rounding": "optimal"}])
def test_two_pictures_are_needed(count, told, settings):
    """With none or one nothing is done, and the error says how many there must be."""
    model = network()
    before = io.to_bytes(model)
    with pytest.raises(ToolError, match=f"^{told}.* at least 2") as caught:
        baked(model, pictures(model, count), **settings)
    assert "calibration.pictures" in caught.value.fix
    assert io.to_bytes(model) == before


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "settings",
    [
        {"correct_bias": False},
        {"equalize": False},
        {**OFF, "split": {"r": 2}},
        {**OFF, "unroll": ("s",)},
    ],
)
def test_what_is_not_finite_is_named_with_its_picture(bad, settings):
    """Whatever is switched on, the first tensor that is NaN or infinite is named, with the picture's own name."""
    model = network()
    samples = pictures(model)
    samples[2]["x"][0, 1, 3, 3] = bad
    with pytest.raises(ToolError, match=r"tensor 'x' is NaN or infinite for third\.jpg") as caught:
        baked(model, samples, ["first.jpg", "second.jpg", "third.jpg", "fourth.jpg"], **settings)
    assert "preprocessing of that picture" in caught.value.fix


def test_a_weight_that_is_not_finite_is_named_by_what_it_makes():
    """A damaged weight shows in the first tensor behind it, at the first picture."""
    model = network(mix=np.full((6, 16, 1, 1), np.nan, np.float32))
    with pytest.raises(ToolError, match=r"tensor 'm' is NaN or infinite for first\.jpg"):
        baked(model, labels=["first.jpg"])


EVERYTHING = {"unroll": ("s",), "rounding": "optimal"}


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
@pytest.mark.parametrize(
    "changes",
    [
        {"narrow": np.zeros((4, 3, 1, 1), np.float32)},
        {"wide": np.zeros((12, 3, 1, 1), np.float32), "narrow": np.zeros((4, 3, 1, 1), np.float32)},
        {"narrow": np.where(np.arange(4)[:, None, None, None] == 2, 0, random(4, 3, 1, 1)).astype(np.float32)},
        {"wide": np.full((12, 3, 1, 1), 1e-30, np.float32)},
        {"wide": 1e30 * random(12, 3, 1, 1), "mix": np.full((6, 16, 1, 1), 1e-30, np.float32)},
    ],
    ids=["a dead tensor", "a constant network", "a dead channel", "1e-30", "1e30"],
)
def test_odd_ranges_are_no_obstacle(changes, settings):
    """Dead, constant, tiny and huge activations: every constant stays finite, and so does the 8-bit network."""
    model = network(**changes)
    before, samples = copy_of(model), pictures(model)
    report = baked(model, samples, **settings)
    assert report.difference <= LIMIT
    assert all(np.isfinite(data).all() for data in held(model).values())
    assert np.isfinite(run(model, samples[0])["y"]).all()
    assert cosine(model, before, samples) >= min(0.98, cosine(before, before, samples))


def test_constant_pictures_are_no_obstacle():
    """Pictures without a content give ranges that are points; nothing is divided by zero."""
    model = network()
    samples = [{"x": np.full((1, 3, 8, 8), value, np.float32)} for value in (0.0, 0.0, 0.0)]
    report = baked(model, samples, **EVERYTHING)
    assert report.difference <= LIMIT
    assert all(np.isfinite(data).all() for data in held(model).values())


QUANTIZED = """(float[1,3,8,8] x) => (float[1,3,8,8] y) {
    q = QuantizeLinear (x, scale, zero)  y = DequantizeLinear (q, scale, zero)
}"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (QUANTIZED, "the model is quantized already"),
        ("(float[1,3,h,8] x) => (float[1,3,h,8] y) { y = Relu (x) }", "tensor 'x' has a dynamic shape"),
        ("(float[1,3,8,8] x) => (float[1,3,8,8] y) { a = custom.Odd (x)  y = Relu (a) }", "the type of tensor 'a' is"),
    ],
)
@pytest.mark.parametrize("settings", [{"correct_bias": False}, {"equalize": False}, {}])
def test_graphs_that_cannot_be_are_refused(text, told, settings):
    """Quantized already, dynamic shapes, an operator nobody knows: refused with the node or tensor."""
    model = graph(text, scale=np.float32(0.1), zero=np.uint8(3))
    samples = [{"x": random(1, 3, 8, 8, seed=k)} for k in range(3)]
    with pytest.raises(UnsupportedError, match=told):
        baked(model, samples, **settings)


@pytest.mark.parametrize(
    "text",
    [
        "(float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Relu (x) }",
        "(float[1,3,8,8] x) => (float[1,3,1,1] y) { y = GlobalAveragePool (x) }",
        "(float[1,3,8,8] x, float[1,3,8,8] z) => (float[1,3,8,8] y) { a = Add (x, z)  y = Sigmoid (a) }",
        "(float[1,3,8,8] x) => (int64[1,1,8,8] y) { y = ArgMax <axis = 1> (x) }",
        "(float[1,3,8,8] x) => (float[1,1,8,8] y) { a = ArgMax <axis = 1> (x)  y = Cast <to = 1> (a) }",
        "(float[2,5] x) => (float[2,3] y) { y = MatMul (x, w) }",
        "(float[2,5] x) => (float[2,3] y) { a = MatMul (x, w)  b = Add (a, bias)  y = Softmax (b) }",
    ],
)
def test_graphs_without_convolutions_are_baked_too(text):
    """Where there is little or nothing to do, little or nothing is done, and the outputs stay."""
    weights = {"w": random(5, 3), "bias": random(3)}
    model = graph(text, **{name: data for name, data in weights.items() if name in text})
    before, samples = copy_of(model), pictures(model)
    baked(model, samples, rounding="optimal")
    for sample in samples:
        assert np.abs(run(before, sample)["y"] - run(model, sample)["y"]).max() < 0.1


def test_the_mark_of_seeded_weights_survives():
    """A network that nobody should ship says so after it was baked."""
    model = network()
    io.mark_not_deployable(model, "seeded")
    baked(model, **EVERYTHING)
    assert io.not_deployable(io.from_bytes(io.to_bytes(model))) == "seeded"


class Counted(Sequence):
    """Samples made when they are asked for, and a count of those that are alive."""

    def __init__(self, count):
        self.count, self.alive, self.most = count, 0, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self.count))]
        if index >= self.count:
            raise IndexError
        data = random(1, 3, 8, 8, seed=index)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(data, self._gone)
        return {"x": data}

    def _gone(self):
        self.alive -= 1


def test_memory_does_not_grow_with_the_pictures():
    """Of 40 pictures no more than a handful are alive at once while ranges are measured and the graph is compared."""
    samples = Counted(40)
    baked(network(), samples, **FLOAT)
    assert samples.most <= 6


def test_the_sweep_keeps_as_many_pictures_as_its_budget_holds(monkeypatch):
    """With a small budget evenly spaced pictures serve, and the report says how many of how many."""
    original = module.sweep.bake
    monkeypatch.setattr(module.sweep, "bake", lambda *a, **k: original(*a, **k, budget=100_000))
    report = baked(network(), Counted(40))
    assert report.swept is not None
    assert report.swept.given == 40
    assert 2 <= report.swept.used < 10
