"""A recipe for a chip is checked before anything slow: blocked nodes end the run at the recipe's line."""

import hashlib
import json

import _tiny
import pytest
from onnx import helper

from workbench import pipeline
from workbench.engine.progress import Silent
from workbench.engine.store import Store
from workbench.errors import UnsupportedError
from workbench.recipe.load import load


class Log(Silent):
    """A reporter that keeps which stages ran, and warnings."""

    def __init__(self):
        self.ran, self.warnings = [], []

    def warn(self, text):
        self.warnings.append(text)

    def begin(self, stage):
        """Not kept."""

    def end(self, done):
        self.ran.append(done.step.name)


@pytest.fixture
def convert(tmp_path, home):
    """Convert the tiny recipe with another operator in front, or other targets."""

    def run(operator=None, **changes):
        model = _tiny.network()
        if operator is not None:
            model.graph.node.insert(0, helper.make_node(operator, ["image"], ["bent"], "bend"))
            model.graph.node[1].input[0] = "bent"
        recipe = _tiny.write(tmp_path, **changes)
        data = model.SerializeToString()
        old = hashlib.sha256(recipe.with_name("tiny.onnx").read_bytes()).hexdigest()
        recipe.with_name("tiny.onnx").write_bytes(data)
        recipe.write_text(recipe.read_text("utf-8").replace(old, hashlib.sha256(data).hexdigest()), "utf-8")
        log = Log()
        request = pipeline.Request(dist=tmp_path / "dist", mirrors=(tmp_path,))
        return pipeline.convert(load(recipe), request, Store(home), log), log

    return run


def test_a_blocked_node_ends_the_run_before_the_wait(convert):
    """No range is measured and nothing is published for an operator that no chip has; the chip's line is told."""
    with pytest.raises(UnsupportedError, match="AX650 does not take the graph that surgery leaves") as caught:
        convert("Sinh")

    file, line, column = caught.value.where.rsplit(":", 2)
    assert file.endswith("tiny.yaml")
    assert "Sinh 'bend': operator is not listed" in caught.value.what
    assert (int(line), int(column)) == place_of("AX650")


def test_a_recipe_may_go_on(convert):
    """With lint: warn the same graph is converted, and everybody is told."""
    outcome, log = convert("Sinh", **{"{chips: [AX650]}": "{chips: [AX650], lint: warn}"})

    assert any("AX650 does not take the graph" in warning for warning in log.warnings)
    assert json.loads((outcome.folder / "pulsar2" / "check.json").read_text())["AX650"]["blocked"] == 1


def place_of(word):
    """Line and column of a word in the tiny recipe."""
    lines = _tiny.RECIPE.format(sha256=64 * "0").splitlines()
    number = next(index for index, line in enumerate(lines) if word in line)
    return number + 1, lines[number].index(word) + 1


def test_the_report_is_published(convert):
    """pulsar2/check.json says of every chip what was checked against which table."""
    outcome, log = convert(**{"[AX650]": "[AX650, AX630C]"})
    told = json.loads((outcome.folder / "pulsar2" / "check.json").read_text())

    assert log.ran.index("check") == log.ran.index("surgery") + 1
    assert {chip: report["table"] for chip, report in told.items()} == {
        "AX650": "AX650's table",
        "AX630C": "AX620E's table",
    }
    assert all(report["blocked"] == 0 for report in told.values())
    assert "pulsar2/check.json" in {entry["path"] for entry in outcome.manifest["files"]}


def test_a_recipe_without_chips_is_not_checked(convert):
    """Who only wants ONNX may use any operator."""
    outcome, log = convert("Sinh", **{"  pulsar2: {chips: [AX650]}\n": ""})

    assert "check" not in log.ran
    assert not (outcome.folder / "pulsar2").exists()
