"""Facts about measuring channels: those of numpy, exact when merged, unforgiving about NaN."""

from __future__ import annotations

import numpy as np
import pytest
from _surgery import graph

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.quant.channel_stats import ChannelStats, observe_channels

TEXT = """(float[1,2,3,3] x) => (float[1,2] y) {
    r = Relu (x)  e = Exp (r)  p = GlobalAveragePool (e)  y = Flatten (p)
}"""


def samples(count, scale=1.0):
    """`count` seeded random feeds."""
    rng = np.random.default_rng(5)
    return [{"x": (scale * rng.standard_normal((1, 2, 3, 3))).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_channels_are_those_of_numpy(opset):
    """Lowest, highest and mean square of each channel are numpy's, in every opset's way to write a reduction."""
    feeds = samples(4)
    found = observe_channels(graph(TEXT, opset), feeds, progress=Silent())
    x = np.concatenate([feed["x"] for feed in feeds])
    r = np.maximum(x, 0)
    expected = {"x": x, "r": r, "e": np.exp(r), "y": np.exp(r).mean((2, 3))}
    assert found.samples == 4
    assert list(found) == ["x", "r", "e", "p", "y"]
    for name, values in expected.items():
        axes = tuple(axis for axis in range(values.ndim) if axis != 1)
        np.testing.assert_allclose(found[name].low, values.min(axes), rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(found[name].high, values.max(axes), rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(found[name].mean_square, (values**2).mean(axes), rtol=1e-5, err_msg=name)
    assert found.ranges()["x"].high == x.max()


def test_shards_merge_to_the_same_bytes_in_any_order():
    """Three parts give the bytes of the whole, however they are put together."""
    model, feeds = graph(TEXT), samples(6)
    a, b, c = (observe_channels(model, part, progress=Silent()) for part in (feeds[:1], feeds[1:3], feeds[3:]))
    whole = observe_channels(model, feeds, progress=Silent()).to_bytes()
    assert a.merge(b).merge(c).to_bytes() == c.merge(a.merge(b)).to_bytes() == b.merge(c).merge(a).to_bytes() == whole
    assert ChannelStats.from_bytes(whole) == observe_channels(model, feeds, progress=Silent())


def test_an_interrupted_observation_goes_on(tmp_path):
    """What an interruption leaves in the folder is not observed again, and the result is the same."""
    model, feeds = graph(TEXT), samples(20)

    def broken():
        yield from feeds[:17]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observe_channels(model, broken(), progress=Silent(), partial=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    again = observe_channels(model, feeds, progress=Silent(), partial=tmp_path)
    assert again.to_bytes() == observe_channels(model, feeds, progress=Silent()).to_bytes()


@pytest.mark.parametrize("position", [0, 8, 9, 17])
def test_nan_is_found_wherever_it_is(position):
    """The first tensor and the first sample with a NaN are named."""
    feeds = samples(3)
    feeds[1]["x"].flat[position] = np.nan
    with pytest.raises(ToolError, match=r"'x' is NaN or infinite for b\.png"):
        observe_channels(graph(TEXT), feeds, progress=Silent(), labels=["a.png", "b.png"])


def test_infinity_is_named_where_it_begins():
    """What overflows is named, not what comes in."""
    with pytest.raises(ToolError, match="'e' is NaN or infinite for sample 0"):
        observe_channels(graph(TEXT), [{"x": np.full((1, 2, 3, 3), 200, np.float32)}], progress=Silent())


@pytest.mark.parametrize("value", [1e30, 1e-30])
def test_huge_and_tiny_values_have_a_finite_mean_square(value):
    """A square that float32 cannot hold is that of the peak, or 0, and never infinite."""
    model = graph("(float[1,2,3,3] x) => (float[1,2,3,3] y) { y = Relu (x) }")
    found = observe_channels(model, [{"x": np.full((1, 2, 3, 3), value, np.float32)}], progress=Silent())["y"]
    assert found.peak == pytest.approx([value, value])
    assert found.mean_square == pytest.approx([value**2 if value > 1 else 0.0] * 2)


def test_a_network_without_channels_has_an_empty_table():
    """Tensors of one axis have no channels; the samples are counted all the same."""
    model = graph("(float[5] x) => (float[5] y) { y = Relu (x) }")
    found = observe_channels(model, [{"x": np.ones(5, np.float32)}] * 2, progress=Silent())
    assert (dict(found), found.samples) == ({}, 2)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format": 2}', b'{"format":1,"samples":1,"channels":{"x":[1,[0]]}}'])
def test_a_damaged_file_is_refused(data):
    """Other bytes are an error that says where they are."""
    with pytest.raises(ToolError, match="not a file of channels") as caught:
        ChannelStats.from_bytes(data, "here.json")
    assert caught.value.where == "here.json"


def test_no_samples_and_other_networks_are_errors():
    """Nothing observed is no table; two networks have none in common."""
    with pytest.raises(ToolError, match="no samples to observe"):
        observe_channels(graph(TEXT), [], progress=Silent())
    one = observe_channels(graph(TEXT), samples(1), progress=Silent())
    with pytest.raises(ToolError, match="different networks"):
        one.merge(ChannelStats({}, 1))
