"""Facts about observing in shards: nothing is observed twice, nothing is lost, and the result has the same bits."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.quant import shards
from workbench.quant.observe import observe, observe_histograms

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
    r = Relu (x)
    e = Exp (r)
    y = Sub (e, x)
}"""
MODEL = onnx.parser.parse_model(TEXT).SerializeToString()
BOTH = pytest.mark.parametrize("look", [observe, observe_histograms])


def samples(count, seed=0):
    """`count` seeded random feeds of different width."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0, 3, count)
    return [{"x": (scale * rng.standard_normal((1, 2, 4, 4))).astype(np.float32)} for scale in scales]


def poisoned(feeds, good):
    """`feeds` with NaN in all but those in `good`: observing another one fails."""
    bad = np.full((1, 2, 4, 4), np.nan, np.float32)
    return [feed if index in good else {"x": bad} for index, feed in enumerate(feeds)]


def interrupted(feeds, after):
    """`feeds`, until Ctrl-C."""
    yield from feeds[:after]
    raise KeyboardInterrupt


class Steps(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.seen = []

    def step(self, done, total, what):
        self.seen.append((done, total))


@BOTH
@pytest.mark.parametrize("after", [0, 1, 15, 16, 17, 32, 39, 40])
def test_what_is_interrupted_goes_on(tmp_path, look, after):
    """After any number of samples, only those behind the last full sixteen are observed again, to the same bytes."""
    feeds = samples(40)
    with pytest.raises(KeyboardInterrupt):
        look(MODEL, interrupted(feeds, after), progress=Silent(), partial=tmp_path)
    done = after // 16 * 16
    steps = Steps()
    rest = poisoned(feeds, range(done, 40))
    found = look(MODEL, rest, progress=steps, total=40, partial=tmp_path)
    assert found.to_bytes() == look(MODEL, feeds, progress=Silent()).to_bytes()
    assert list(found) == ["x", "r", "e", "y"]
    assert steps.seen == [(number, 40) for number in range(done, 41)]


@BOTH
def test_a_finished_observation_is_read(tmp_path, look):
    """With every shard there, no sample is observed again."""
    feeds = samples(20)
    first = look(MODEL, feeds, progress=Silent(), partial=tmp_path)
    assert look(MODEL, poisoned(feeds, ()), progress=Silent(), partial=tmp_path).to_bytes() == first.to_bytes()


@BOTH
@given(
    count=st.integers(1, 13), gone=st.sets(st.integers(0, 6)), damaged=st.dictionaries(st.integers(0, 6), st.binary())
)
@settings(deadline=None, max_examples=25)
def test_missing_and_damaged_shards_are_observed_again(tmp_path_factory, look, count, gone, damaged):
    """Whatever happened to whichever shards, exactly their samples are observed, and the result is the same."""
    folder, feeds = tmp_path_factory.mktemp("shards"), samples(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 2)
        whole = look(MODEL, feeds, progress=Silent(), partial=folder).to_bytes()
        lost = set()
        for number, path in enumerate(sorted(folder.iterdir())):
            if number in gone:
                path.unlink()
            elif number in damaged:
                path.write_bytes(damaged[number])
            else:
                continue
            lost |= {2 * number, 2 * number + 1}
        found = look(MODEL, poisoned(feeds, lost), progress=Silent(), total=count, partial=folder)
    assert found.to_bytes() == whole


@BOTH
def test_shards_of_something_else_are_not_taken(tmp_path, look):
    """A shard of other tensors, or one that reaches behind the last sample, is observed again."""
    feeds = samples(20)
    look(MODEL, feeds, progress=Silent(), tensors=["x"], partial=tmp_path)
    whole = look(MODEL, feeds, progress=Silent(), partial=tmp_path)
    assert whole.to_bytes() == look(MODEL, feeds, progress=Silent()).to_bytes()
    fewer = look(MODEL, feeds[:18], progress=Silent(), total=18, partial=tmp_path)
    assert fewer.to_bytes() == look(MODEL, feeds[:18], progress=Silent()).to_bytes()


def test_two_methods_may_share_a_folder(tmp_path):
    """The shards of ranges and of histograms do not meet."""
    feeds = samples(3)
    observe(MODEL, feeds, progress=Silent(), partial=tmp_path)
    found = observe_histograms(MODEL, feeds, progress=Silent(), partial=tmp_path)
    assert found.to_bytes() == observe_histograms(MODEL, feeds, progress=Silent()).to_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@BOTH
def test_the_first_bad_sample_is_named(tmp_path, look):
    """By its label where it has one, else by its number, also in a later shard and after a new start."""
    feeds = poisoned(samples(40), set(range(40)) - {35, 37})
    labels = [f"{index}.jpg" for index in range(36)]
    for _ in range(2):
        with pytest.raises(ToolError, match=r"tensor 'x' is NaN or infinite for 35\.jpg"):
            look(MODEL, feeds, progress=Silent(), labels=labels, partial=tmp_path)
    with pytest.raises(ToolError, match="tensor 'x' is NaN or infinite for sample 35"):
        look(MODEL, feeds, progress=Silent(), partial=tmp_path)


@BOTH
def test_no_samples_is_an_error_with_a_folder_too(tmp_path, look):
    """Nothing to observe is an error, not an empty table."""
    with pytest.raises(ToolError, match="no samples to observe"):
        look(MODEL, [], progress=Silent(), partial=tmp_path)
