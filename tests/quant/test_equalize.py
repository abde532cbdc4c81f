"""Facts about equalization: the float graph stays equal, 8 bits hold it better, and what is left has a reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.engine.progress import Silent
from workbench.errors import ParityError
from workbench.graph import constants, io, walk
from workbench.quant import equalize as module
from workbench.quant.channel_stats import ChannelStats, observe_channels
from workbench.quant.channels import spaces
from workbench.quant.equalize import equalize, largest_difference
from workbench.quant.observe import observe
from workbench.quant.qdq import write_qdq
from workbench.quant.rescale import rescale

SIX, ZERO = np.array(6, np.float32), np.array(0, np.float32)


def copy_of(model):
    """An independent copy."""
    return io.from_bytes(io.to_bytes(model))


def feeds_of(model, count=3, seed=0):
    """Seeded feeds for every input."""
    return [
        {str(v.name): random(*walk.static_shape(v), seed=seed + k, low=-2, high=2) for v in model.graph.inputs}
        for k in range(count)
    ]


def conflict(**changes):
    """Wide features and a narrow map, from which the answer is read, meet in a Concat; the weights make up for it."""
    rng = np.random.default_rng(3)
    weights = {
        "wide": 20 * rng.standard_normal((12, 3, 1, 1)),
        "narrow": 0.1 * rng.standard_normal((4, 3, 1, 1)),
        "mix": np.concatenate([0.005 * rng.standard_normal((6, 12, 1, 1)), rng.standard_normal((6, 4, 1, 1))], 1),
        "head": rng.standard_normal((2, 6, 3, 3)),
    }
    text = """(float[1,3,8,8] x) => (float[1,2,8,8] y) {
        a = Conv (x, wide)  f = Relu (a)
        b = Conv (x, narrow)
        c = Concat <axis = 1> (f, b)
        m = Conv (c, mix)  r = Relu (m)
        y = Conv <pads = [1,1,1,1]> (r, head)
    }"""
    return graph(text, **{name: data.astype(np.float32) for name, data in (weights | changes).items()})


def cosine(one, two):
    """Of two arrays, all values at once."""
    one, two = one.ravel().astype(np.float64), two.ravel().astype(np.float64)
    return float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))


def quantized_cosine(model, reference, feeds):
    """The mean cosine of `model` at 8 bits to the float outputs of `reference`."""
    eight = write_qdq(model, observe(io.to_bytes(model), feeds, progress=Silent()))
    return float(np.mean([cosine(run(eight, feed)["y"], run(reference, feed)["y"]) for feed in feeds]))


def test_a_concat_conflict_is_solved():
    """Plain INT8 loses the answer of wide and narrow branches; the equalized graph keeps it and is equal in float."""
    model = conflict()
    feeds = feeds_of(model, 4)
    before = copy_of(model)
    report = equalize(model, observe_channels(model, feeds, progress=Silent()), feeds)
    assert report
    assert report.moved <= 1e-5
    assert report.noise[1] < report.noise[0] / 20
    assert quantized_cosine(before, before, feeds) < 0.9
    assert quantized_cosine(model, before, feeds) > 0.99
    by_name = {change.tensor: change for change in report.changed}
    assert by_name["b"].smallest > 20
    assert by_name["b"].after.high > 20 * by_name["b"].before.high
    assert [name for name, _ in report.declined] == ["x", "y"]
    assert dict(report.declined) == {"x": "'x' is a graph input", "y": "'y' is a graph output"}


def test_the_report_tells_the_ranges_that_are_measured_afterwards():
    """Ranges after, as reported, are those an observation of the changed graph finds."""
    model = conflict()
    feeds = feeds_of(model)
    report = equalize(model, observe_channels(model, feeds, progress=Silent()))
    measured = observe_channels(model, feeds, progress=Silent())
    for change in report.changed:
        assert change.after.low == pytest.approx(measured[change.tensor].range.low, rel=1e-4, abs=1e-6)
        assert change.after.high == pytest.approx(measured[change.tensor].range.high, rel=1e-4)


def test_the_same_model_gives_the_same_bytes():
    """Two runs agree to the byte."""
    made = []
    for _ in range(2):
        model = conflict()
        report = equalize(model, observe_channels(model, feeds_of(model), progress=Silent()))
        made.append((io.to_bytes(model), report))
    assert made[0] == made[1]


@pytest.mark.parametrize("peak", [0.0, 1e-30])
def test_dead_channels_follow_only_where_their_weights_stand_out(peak):
    """A channel of nothing keeps its scale; read by large weights, which would set the scale for all, it follows."""
    narrow = (0.1 * np.random.default_rng(1).standard_normal((4, 3, 1, 1))).astype(np.float32)
    narrow[2] = peak
    for weight, follows in ((1e-6, False), (1.0, True)):
        mix = constants.array(walk.tensors(conflict().graph)["mix"]).copy()
        mix[:, 14] = weight
        model = conflict(narrow=narrow, mix=mix)
        feeds = feeds_of(model)
        before = copy_of(model)
        report = equalize(model, observe_channels(model, feeds, progress=Silent()), feeds)
        assert largest_difference(before, model, feeds) < 1e-4
        change = next(change for change in report.changed if change.tensor == "b")
        assert change.largest > 5
        if follows:
            assert (change.smallest > 5, change.left) == (True, "")
        else:
            assert change.smallest == 1
            assert change.left.startswith("1 of 4 channels: it")
            assert ("is always 0" if peak == 0 else "is next to nothing") in change.left


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_ranges_do_not_blow_up(scale):
    """Beside a tensor of 1e30, or in a network of 1e-30 throughout, every constant stays finite and outputs equal."""
    rng = np.random.default_rng(3)
    wide = (scale * rng.standard_normal((12, 3, 1, 1))).astype(np.float32)
    mix = np.concatenate([rng.standard_normal((6, 12, 1, 1)) / scale / 10, rng.standard_normal((6, 4, 1, 1))], 1)
    model = conflict(wide=wide, mix=mix)
    feeds = feeds_of(model)
    before = copy_of(model)
    report = equalize(model, observe_channels(model, feeds, progress=Silent()), feeds)
    assert largest_difference(before, model, feeds) < 1e-4
    for value in model.graph.initializers.values():
        assert np.isfinite(constants.array(value)).all()
    assert all(2**-10 <= change.smallest <= change.largest <= 2**10 for change in report.changed)
    assert report.noise[1] <= report.noise[0]


def test_weights_that_would_leave_float32_keep_their_scale():
    """A factor that would overflow a weight is not applied, the reason names the tensor, and others are."""
    model = conflict()
    found = spaces(model)
    b, f = found.ids["b"].tolist(), found.ids["f"].tolist()
    declined = rescale(model, found, {b[0]: 1e42, f[0]: 3.0})
    assert set(declined) >= {b[0]}
    assert "'narrow' would leave the range of float32" in declined[b[0]]


def test_a_pinned_group_is_declined():
    """A factor for an input or an output is not applied, with the reason."""
    model = conflict()
    before = io.to_bytes(model)
    found = spaces(model)
    y = int(found.ids["y"][0])
    before = io.to_bytes(model)
    assert rescale(model, found, {y: 2.0}) == {y: "'y' is a graph output"}
    assert io.to_bytes(model) == before
    with pytest.raises(ValueError, match="positive"):
        rescale(model, found, {y: 0.0})


def test_a_clip_bound_moves_without_its_neighbours():
    """Two Relu6 share the constant 6; the scaled one gets its own, the other keeps 6."""
    model = graph(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv (x, v)  p = Clip (a, zero, six)
            b = Conv (x, w)  q = Clip (b, zero, six)
            c = Concat <axis = 1> (p, q)  y = Conv (c, m)
        }""",
        v=random(2, 3, 1, 1, seed=1),
        w=random(2, 3, 1, 1, seed=2),
        m=random(2, 4, 1, 1, seed=3),
        zero=ZERO,
        six=SIX,
    )
    before, found = copy_of(model), spaces(model)
    assert rescale(model, found, {int(found.ids["q"][0]): 10.0}) == {}
    bounds = {str(n.outputs[0].name): constants.scalar(n.inputs[2]) for n in walk.nodes(model.graph, "Clip")}
    assert bounds == {"p": 6.0, "q": 60.0}
    assert largest_difference(before, model, feeds_of(model)) < 1e-6


def test_outputs_that_move_undo_everything(monkeypatch):
    """When the float outputs would move, the model keeps its bytes and every tensor has that reason."""
    model = conflict()
    feeds = feeds_of(model)
    stats = observe_channels(model, feeds, progress=Silent())
    spaces(model)  # writes the inferred shapes
    before = io.to_bytes(model)
    monkeypatch.setattr(module, "LIMIT", -1.0)
    report = equalize(model, stats, feeds)
    assert not report
    assert io.to_bytes(model) == before
    assert "the float outputs would move by" in dict(report.declined)["b"]


def test_the_difference_is_of_the_whole_output():
    """A changed weight is seen; no samples are an error and not a pass; NaN is no small difference."""
    one, two = conflict(), conflict(narrow=np.zeros((4, 3, 1, 1)))
    assert largest_difference(one, two, feeds_of(one)) > 0.1
    with pytest.raises(ParityError, match="no samples to compare"):
        largest_difference(one, two, [])
    broken = conflict(head=np.full((2, 6, 3, 3), np.nan))
    assert np.isnan(largest_difference(one, broken, feeds_of(one)))


def test_a_graph_without_measured_channels_is_left():
    """With no statistics nothing is chosen, and every tensor says so."""
    model = conflict()
    report = equalize(model, ChannelStats({}, 0))
    assert not report
    assert {reason for _, reason in report.declined} == {"its channels were not measured"}


def test_a_stack_of_as_many_rows_as_columns_is_left():
    """Channels of a stack of matrices lie on its last axis; as many rows are not channels."""
    model = graph(
        """(float[1,3,4,4] x) => (float[1,16,5] y) {
            a = Conv (x, w)  r = Relu (a)  t = Reshape (r, s)  y = MatMul (t, v)
        }""",
        w=random(16, 3, 1, 1),
        v=random(16, 5),
        s=np.array([1, 16, 16], np.int64),
    )
    feeds = feeds_of(model)
    report = equalize(model, observe_channels(model, feeds, progress=Silent()), feeds)
    assert "its channels are not on axis 1" in dict(report.declined)["r"]


KINDS = ("conv", "depthwise", "grouped", "transposed", "relu", "clip6", "leaky", "add", "concat", "nested")
KINDS += ("pool", "resize", "mul", "bias")


class Builder:
    """Draws a random graph of convolutions, Concats and everything between them, with constants of wild scales."""

    def __init__(self, draw):
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.weights = {
            "zero": ZERO,
            "six": SIX,
            "grow": np.array([1, 1, 2, 2], np.float32),
        }
        self.lines: list[str] = []
        self.tensors = [("x", 4, 6)]

    def name(self):
        return f"t{len(self.lines)}"

    def constant(self, *shape):
        name = f"k{len(self.weights)}"
        scales = np.exp(self.rng.uniform(-3, 3, (shape[0], *(1,) * (len(shape) - 1))))
        self.weights[name] = (scales * self.rng.standard_normal(shape) / max(np.prod(shape[1:]), 1) ** 0.5).astype("f")
        return name

    def emit(self, channels, size, text):
        name = self.name()
        self.lines.append(f"{name} = {text}")
        self.tensors.append((name, channels, size))

    def conv(self, source, channels, size, out, group=1):
        kernel = self.draw(st.sampled_from([1, 3]))
        weight = self.constant(out, channels // group, kernel, kernel)
        bias = f", {self.constant(out)}" if self.draw(st.booleans()) else ""
        pad = kernel // 2
        self.emit(out, size, f"Conv <group = {group}, pads = [{pad},{pad},{pad},{pad}]> ({source}, {weight}{bias})")

    def step(self):
        source, channels, size = self.draw(st.sampled_from(self.tensors))
        same = [t for t in self.tensors if t[1:] == (channels, size)]
        beside = [t for t in self.tensors if t[2] == size]
        kind = self.draw(st.sampled_from(KINDS))
        if kind == "conv":
            self.conv(source, channels, size, self.draw(st.sampled_from([2, 4])))
        elif kind == "depthwise":
            self.conv(source, channels, size, channels, channels)
        elif kind == "grouped" and channels % 2 == 0:
            self.conv(source, channels, size, 4, 2)
        elif kind == "transposed" and channels % 2 == 0:
            self.emit(4, size, f"ConvTranspose <group = 2> ({source}, {self.constant(channels, 2, 1, 1)})")
        elif kind == "clip6":
            self.emit(channels, size, f"Clip ({source}, zero, six)")
        elif kind == "relu":
            self.emit(channels, size, f"Relu ({source})")
        elif kind == "leaky":
            self.emit(channels, size, f"LeakyRelu <alpha = 0.1> ({source})")
        elif kind == "add":
            self.emit(channels, size, f"Add ({source}, {self.draw(st.sampled_from(same))[0]})")
        elif kind in ("concat", "nested") and channels <= 16:
            other = self.draw(st.sampled_from(beside))
            self.emit(channels + other[1], size, f"Concat <axis = 1> ({source}, {other[0]})")
        elif kind == "pool":
            self.emit(channels, size, f"MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> ({source})")
        elif kind == "resize" and size == 6:
            self.emit(channels, 12, f'Resize <mode = "linear"> ({source}, , grow)')
        elif kind == "mul":
            self.emit(channels, size, f"Mul ({source}, {self.constant(channels, 1, 1)})")
        elif kind == "bias":
            self.emit(channels, size, f"Sub ({self.constant(channels, 1, 1)}, {source})")

    def model(self) -> ir.Model:
        for _ in range(self.draw(st.integers(4, 14))):
            self.step()
        source, channels, size = self.tensors[-1]
        last = self.constant(3, channels, 1, 1)
        also, more, _ = self.draw(st.sampled_from(self.tensors[1:] or self.tensors))
        outputs = f"float[1,3,{size},{size}] y"
        if also != "x" and self.draw(st.booleans()):
            wide = next(t[2] for t in self.tensors if t[0] == also)
            outputs += f", float[1,{more},{wide},{wide}] {also}"
        text = f"(float[1,4,6,6] x) => ({outputs}) {{ {'  '.join(self.lines)}  y = Conv ({source}, {last}) }}"
        used = {name: data for name, data in self.weights.items() if any(name in line for line in [*self.lines, last])}
        return graph(text, **used)


@st.composite
def models(draw):
    """Random networks."""
    return Builder(draw).model()


@settings(max_examples=60, deadline=None)
@given(models(), st.integers(0, 2**32 - 1))
def test_any_factors_leave_the_outputs_equal(model, seed):
    """Random factors for every free group of a random graph move no output by more than 1e-4 of its largest value."""
    before, found = copy_of(model), spaces(model)
    rng = np.random.default_rng(seed)
    groups = sorted({int(group) for ids in found.ids.values() for group in ids} - set(found.pinned))
    declined = rescale(model, found, {group: float(2 ** rng.uniform(-6, 6)) for group in groups})
    assert declined == {}
    assert largest_difference(before, model, feeds_of(model, 2)) <= 1e-4
    free = dataclasses.replace(found, pinned={})
    scaled = observe_channels(model, feeds_of(model, 1), progress=Silent())
    plain = observe_channels(before, feeds_of(model, 1), progress=Silent())
    for name in found.ids:
        if set(free.ids[name].tolist()) <= set(found.pinned):
            np.testing.assert_allclose(scaled[name].peak, plain[name].peak, rtol=1e-3, atol=1e-4, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(models())
def test_equalize_leaves_the_outputs_equal(model):
    """The factors it chooses for a random graph keep the outputs, and the predicted noise never grows."""
    before, feeds = copy_of(model), feeds_of(model, 2)
    report = equalize(model, observe_channels(model, feeds, progress=Silent()), feeds)
    assert report.moved <= 1e-4
    assert report.noise[1] <= report.noise[0]
    assert largest_difference(before, model, feeds_of(model, 2, seed=9)) <= 1e-4
    assert len({change.tensor for change in report.changed} & {name for name, _ in report.declined}) == 0
