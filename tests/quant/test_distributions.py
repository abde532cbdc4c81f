"""Facts about what calibration has seen: shards merge, runs resume, and the file comes back."""

from __future__ import annotations

import io
from itertools import permutations

import numpy as np
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workbench.engine.progress import Silent
from workbench.errors import ToolError, UnsupportedError
from workbench.quant.distributions import Distributions
from workbench.quant.histogram import Histogram
from workbench.quant.observe import observe, observe_histograms
from workbench.quant.ranges import Range, Ranges

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
    r = Relu (x)
    e = Exp (r)
    y = Sub (e, x)
}"""
MODEL = onnx.parser.parse_model(TEXT).SerializeToString()


def samples(count, seed=0):
    """`count` seeded random feeds, each wider than the last."""
    rng = np.random.default_rng(seed)
    return [{"x": (index * rng.standard_normal((1, 2, 4, 4))).astype(np.float32)} for index in range(1, count + 1)]


def seen(feeds, **options):
    """The distributions over `feeds`."""
    return observe_histograms(MODEL, feeds, progress=Silent(), **options)


def test_one_run_sees_ranges_and_every_value():
    """The ranges are those of `observe`, and each histogram is that of all values of its tensor."""
    feeds = samples(5)
    found = seen(iter(feeds))
    assert found.ranges == observe(MODEL, feeds, progress=Silent())
    x = np.stack([feed["x"] for feed in feeds])
    assert list(found) == ["x", "r", "e", "y"]
    assert found["x"] == Histogram.of(x)
    assert found["r"] == Histogram.of(np.maximum(x, 0))
    assert all(one.total == x.size for one in found.values())


def test_shards_merge_in_any_order_to_the_bytes_of_the_whole():
    """A run that stops, keeps its file and goes on, or shards in any order, give the same file."""
    feeds = samples(6)
    whole = seen(feeds).to_bytes()
    parts = [Distributions.from_bytes(seen(shard).to_bytes()) for shard in (feeds[:1], feeds[1:4], feeds[4:])]
    for a, b, c in permutations(parts):
        assert a.merge(b).merge(c).to_bytes() == whole
        assert a.merge(b.merge(c)).to_bytes() == whole


VALUES = arrays.arrays(
    np.float32,
    st.integers(1, 20),
    elements=st.one_of(
        st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 1e-30, 1e30, -3e38])
    ),
)


def distributions(tables):
    """What one shard with these values by tensor has seen."""
    ranges = {name: Range(float(values.min()), float(values.max())) for name, values in tables.items()}
    return Distributions(Ranges(ranges, 1), {name: Histogram.of(values) for name, values in tables.items()})


SHARDS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(SHARDS, SHARDS, SHARDS)
@settings(deadline=None)
def test_merging_is_associative_and_commutative(a, b, c):
    """Shards of any values and any tensors: every order and grouping gives the same file, which holds every value."""
    tables = (a, b, c)
    parts = [distributions(one) for one in tables]
    files = {one.merge(two).merge(three).to_bytes() for one, two, three in permutations(parts)}
    files |= {one.merge(two.merge(three)).to_bytes() for one, two, three in permutations(parts)}
    assert len(files) == 1
    whole = Distributions.from_bytes(files.pop())
    assert set(whole) == {*a, *b, *c}
    for name, histogram in whole.items():
        values = np.concatenate([one[name] for one in tables if name in one])
        assert histogram == Histogram.of(values)
        assert whole.ranges[name] == Range(float(values.min()), float(values.max()))


def test_shards_of_different_tensors_merge():
    """A tensor that only one shard observed is kept as it is."""
    merged = seen(samples(2), tensors=["x"]).merge(seen(samples(2), tensors=["e"]))
    assert list(merged) == ["x", "e"]
    assert merged["e"] == seen(samples(2))["e"]


@pytest.mark.parametrize("tensors", [[], ["x"], ["x", "e"]])
def test_the_file_comes_back(tmp_path, tensors):
    """What was written is read, tensor by tensor, also without any."""
    before = seen(samples(2), tensors=tensors)
    after = Distributions.from_bytes(before.to_bytes())
    assert after.ranges == before.ranges
    assert dict(after) == dict(before)


def archive(**changes):
    """A small file of distributions with some of its tables replaced."""
    with np.load(io.BytesIO(seen(samples(1)).to_bytes())) as old:
        tables = {**dict(old), **changes}
    buffer = io.BytesIO()
    np.savez(buffer, **tables)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 no archive",
        archive()[:-200],
        archive(format=np.int64(2)),
        archive(names=np.zeros(3, np.uint8)),
        archive(layout=np.zeros((4, 4), np.int64)),
        archive(layout=np.zeros((4, 3), np.int64)),
        archive(counts=np.zeros(7)),
        archive(ranges=np.full((4, 2), np.nan)),
        archive(names=np.array([{}])),
    ],
)
def test_another_file_is_refused(data):
    """A damaged or foreign file is an error with its name and a fix, and no pickle is opened."""
    with pytest.raises(ToolError, match="not a file of distributions") as caught:
        Distributions.from_bytes(data, "seen.npz")
    assert caught.value.where == "seen.npz"
    assert caught.value.fix == "observe the model again"


def test_ranges_and_histograms_are_of_the_same_tensors():
    """One without the other is refused."""
    with pytest.raises(ValueError, match="different tensors"):
        Distributions(Ranges({"x": Range(0, 1)}, 1), {})


def test_errors_are_those_of_observe():
    """NaN names the tensor and the sample, an overflow the first tensor; no samples and misspelt tensors are errors."""
    feeds = samples(4)
    feeds[2]["x"].flat[17] = np.nan
    with pytest.raises(ToolError, match="'x' is NaN or infinite for sample 2"):
        seen(feeds)
    with pytest.raises(ToolError, match="'e' is NaN or infinite for sample 1"):
        seen([*samples(1), {"x": np.full((1, 2, 4, 4), 100.0, np.float32)}])
    with pytest.raises(ToolError, match="no samples to observe"):
        seen([])
    with pytest.raises(ToolError, match="cannot run the model"):
        seen([{"x": np.zeros((1, 2, 4, 5), np.float32)}])
    with pytest.raises(UnsupportedError, match="no float activation called 'ee'"):
        seen(samples(1), tensors=["ee"])
