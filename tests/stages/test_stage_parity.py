"""What parity does with a compiled model: always compared, gated where the recipe says so."""

from __future__ import annotations

import _tiny
import pytest

from workbench import pipeline
from workbench.engine.progress import Silent
from workbench.engine.store import Store
from workbench.errors import ToolError
from workbench.recipe.load import load

MODEL = "tiny.ax650.axmodel"
LIMITED = {"int8: {cosine: 0.9}": "int8: {cosine: 0.9}\n    axmodel: {cosine: 0.99}"}


class Log(Silent):
    """Keeps warnings."""

    def __init__(self):
        self.warned = []

    def begin(self, stage):
        """Not kept."""

    def end(self, done):
        """Not kept."""

    def warn(self, text):
        self.warned.append(text)


@pytest.fixture
def convert(tmp_path, home, programs):
    """Convert the tiny recipe with the stand-in toolchain; returns the outcome and the warnings."""
    programs("pulsar2")

    def run(changes=None):
        recipe = _tiny.write(tmp_path / "recipes", **(changes or {}))
        log = Log()
        asked = pipeline.Request(dist=tmp_path / "dist", mirrors=(recipe.parent,), require=("axmodel",))
        return pipeline.convert(load(recipe), asked, Store(home), log), log.warned

    return run


def of(outcome):
    """The entries of the compiled model."""
    return [one for one in outcome.parity["artifacts"] if one["artifact"] == MODEL]


def test_without_a_limit_it_is_compared_and_only_reported(convert):
    """All golden pictures in one start; the numbers are there, no limit is; what was fed is said."""
    outcome, _ = convert()

    (entry,) = of(outcome)
    assert entry["limits"] == {}
    assert entry["passed"]
    assert entry["runtime"] == "pulsar2 run (7.0-standin)"
    assert entry["outputs"][0]["samples"] == 2
    assert entry["outputs"][0]["cosine"] > 0.99
    assert entry["notes"] == ["image: fed RGB pixels 0..255 as uint8 NHWC; it normalizes them itself"]


def test_a_simulation_that_fails_is_a_warning_without_a_limit_and_an_error_with_one(convert, monkeypatch):
    """Nobody asked for it to be judged, so the model is still published, unjudged, and that is kept in the manifest."""
    monkeypatch.setenv("STANDIN_FAIL", "short")
    outcome, warned = convert()

    assert of(outcome) == []
    assert outcome.parity["passed"]
    (file,) = [one for one in outcome.manifest["files"] if one["path"] == MODEL]
    assert file["parity"] is None
    (told,) = [one for one in warned if MODEL in one]
    assert told.startswith(f"{MODEL} was not compared: pulsar2 run wrote ")
    assert told in outcome.manifest["warnings"]
    with pytest.raises(ToolError, match="pulsar2 run wrote "):
        convert(LIMITED)
    monkeypatch.delenv("STANDIN_FAIL")
    assert of(convert(LIMITED)[0])[0]["limits"] == {"cosine": 0.99}
