"""Facts about tuning a recipe: the steps before the search are those of a conversion, and the result is its section."""

from __future__ import annotations

import _tiny
import pytest

from workbench import pipeline
from workbench.engine.progress import Silent
from workbench.engine.store import Store
from workbench.errors import SourceError
from workbench.quant.choice import Budget
from workbench.recipe.load import load
from workbench.recipe.schema import Quantization


class Stages(Silent):
    """Keeps which stages ran."""

    def __init__(self):
        self.ran = []

    def begin(self, stage):
        """Not kept."""

    def end(self, done):
        self.ran += [done.step.name] if done.ran else []


@pytest.fixture
def tuned(tmp_path):
    """Tune the tiny recipe; the weights are beside it."""
    recipe = _tiny.write(tmp_path)
    store = Store(tmp_path / "home")

    def run(*, mirrors=(tmp_path,), budget=None):
        stages = Stages()
        found = pipeline.tune(
            load(recipe), pipeline.Request(mirrors=mirrors), store, stages, budget or Budget(macs=0.0, u16=0.0)
        )
        return found, stages.ran

    return run


def test_the_result_is_a_section_of_the_recipe(tuned):
    """Only what the search needs is run, and what it says loads."""
    found, ran = tuned()
    assert ran == ["pictures", "export", "simplify", "surgery", "search"]
    assert Quantization(**found["quantization"])
    assert found["tuned"] is True
    assert found["steps"][0]["name"] == "plain"
    assert found["steps"][0]["within_5"] is not None


def test_a_second_run_finds_it_in_the_store(tuned):
    """Nothing runs twice; another budget runs the search alone."""
    first, _ = tuned()
    second, ran = tuned()
    assert (second, ran) == (first, [])
    assert tuned(budget=Budget(macs=0.0, u16=0.0, int8=0.9))[1] == ["search"]


def test_what_was_written_is_no_reason_to_search_again(tuned, tmp_path):
    """Settings that the search decides by itself may stand in the recipe or not."""
    tuned()
    _tiny.write(tmp_path, **{"{method: MinMax}": "{equalize: false, correct_bias: false, u16: [d], split: {c: 2}}"})
    text = (tmp_path / "tiny.yaml").read_text("utf-8")
    (tmp_path / "tiny.yaml").write_text(text.replace("    int8:", "    mixed: {cosine: 0.9}\n    int8:"), "utf-8")
    assert tuned()[1] == []
    _tiny.write(tmp_path, **{"{method: MinMax}": "{method: MSE}"})
    assert tuned()[1] == ["search"]


def test_missing_weights_are_an_error_before_the_search(tuned):
    """Without the weights nothing is searched."""
    with pytest.raises(SourceError, match=r"tiny\.onnx"):
        tuned(mirrors=())
