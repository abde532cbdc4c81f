"""What every recipe we ship promises."""

from pathlib import Path

import pytest

from workbench import pipeline
from workbench.calib.sets import find_pictures
from workbench.engine.store import Store
from workbench.recipe.load import load

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


@pytest.fixture(params=RECIPES, ids=lambda path: path.stem)
def loaded(request):
    """A recipe of ours."""
    return load(request.param)


def test_a_recipe_can_be_planned_without_the_network(loaded, home):
    """Every name in it exists, its parts agree, and every stage of the house is in its plan."""
    _, outlooks = pipeline.plan(loaded, pipeline.Request(), Store(home))
    stages = [look.step.name for look in outlooks]

    assert stages[:4] == ["pictures", "export", "simplify", "surgery"]
    assert stages[-2:] == ["parity", "report"]
    assert {"onnx", "tflite", "pulsar2"} <= set(stages)


def test_a_recipe_can_find_its_weights(loaded):
    """An address or a page; a pin, or no published hash and a file the first download pins."""
    weights = loaded.recipe.weights

    assert weights is not None
    assert weights.url or weights.page
    assert weights.otherwise == "fail" or loaded.recipe.source.name == "torch"
    assert weights.sha256 or weights.git_blob or weights.otherwise == "seeded"


def test_a_recipe_gates_what_it_makes(loaded):
    """Float artifacts are held to a tight limit; INT8 has one of its own."""
    limits = loaded.recipe.parity.limits

    assert limits["float"].cosine >= 0.9999
    assert limits["float"].max_abs or limits["float"].relative_l2
    assert limits["int8"].cosine is not None


def test_a_recipe_judges_by_other_pictures_than_it_calibrates_on(loaded):
    """There are enough pictures for both."""
    recipe = loaded.recipe
    found = find_pictures(recipe.calibration.pictures, loaded.base)

    assert len(found.paths) >= recipe.calibration.count + recipe.parity.samples


def test_a_recipe_says_what_it_is_for_people(loaded):
    """One line about the network, and the hint that lets an editor complete it."""
    assert len(loaded.recipe.about) > 20
    assert loaded.path.read_text("utf-8").startswith("# yaml-language-server: $schema=")
