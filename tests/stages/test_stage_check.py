"""The check of convert: what it writes, warns of and refuses, with the recipe's line, before anything slow begins."""

import json

import numpy as np
import pytest
from _surgery import graph, random

from workbench.engine.stage import Step, code_digest, record
from workbench.errors import UnsupportedError
from workbench.graph import io
from workbench.stages import check

FINE = "(float[1,3,8,8] image) => (float[1,3,8,8] heat) { heat = Relu(image) }"
ODD = "(float[1,3,8,8] image) => (float[1,3,8,8] heat) { heat = Elu(image) }"
BAD = "(float[1,3,8,8] image) => (float[1,3,8,8] heat) { a = Sinh(image) heat = Relu(a) }"
HAND = """(float[1,3,8,8] image) => (float[1,3,8,8] heat) {
    heat = ConvTranspose<pads = [1,1,1,1]>(image, w)
}"""


class Heard:
    """A progress that keeps what it was told."""

    def __init__(self):
        self.notes, self.warnings = [], []

    def step(self, done, total, what):
        """Not kept."""

    def note(self, text):
        self.notes.append(text)

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def checked(tmp_path):
    """Run the stage on a graph in text form; returns check.json and what was told."""

    def run(text, *chips, lint="error", **weights):
        for name in ("surgery", "out"):
            (tmp_path / name).mkdir()
        io.write(graph(text, **weights), tmp_path / "surgery" / "model.onnx")
        heard = Heard()
        check.run(check.Settings(chips, lint), {"surgery": tmp_path / "surgery"}, tmp_path / "out", heard)
        return json.loads((tmp_path / "out" / "check.json").read_text()), heard

    return run


def test_a_report_for_each_chip_as_the_recipe_names_it(checked):
    """check.json has the recipe's words, an alias too, and each chip's own table."""
    told, heard = checked(FINE, "AX650", "AX630C")

    assert set(told) == {"AX650", "AX630C"}
    assert told["AX630C"]["table"] == "AX620E's table"
    assert told["AX650"]["ok_operators"] == {"Relu": 1}
    assert heard.notes == heard.warnings == []


def test_a_pass_that_is_missing_ends_the_run(checked):
    """Surgery left a node that the compiler would fail on: the line to add is the fix."""
    with pytest.raises(UnsupportedError, match="AX650 does not take the graph that surgery leaves") as caught:
        checked(ODD, "AX650")

    assert "Elu 'heat': alpha not written" in caught.value.what
    assert caught.value.fix.startswith("add to surgery: - explicit_attributes: {operators: [Elu]}; a newer Pulsar2")
    assert "cut off" not in caught.value.fix


@pytest.mark.parametrize("text", [ODD, BAD])
def test_a_recipe_may_have_it_as_a_warning(checked, text):
    """Whoever knows that the compiler takes more than its page says goes on; the report has the finding."""
    told, heard = checked(text, "AX650", lint="warn")

    assert told["AX650"]["rewrite"] + told["AX650"]["blocked"] == 1
    (warning,) = heard.warnings
    assert warning.startswith("AX650 does not take the graph that surgery leaves")
    assert "fix: " in warning


def test_what_a_person_must_judge_is_noted(checked):
    """The table leaves it open: a line, no warning."""
    _, heard = checked(HAND, "AX650", w=random(3, 3, 3, 3))

    assert heard.notes == ["AX650: 1 nodes to judge by hand: ConvTranspose operator is listed"]


def test_a_blocked_node_ends_the_run_and_names_the_chip_s_line(checked, tmp_path):
    """Sinh is on no table: the first chip that refuses is told with its place in the recipe."""
    with pytest.raises(UnsupportedError, match="AX650 does not take the graph that surgery leaves") as caught:
        checked(BAD, "AX650", "AX620E")

    assert "Sinh 'a': operator is not listed (not in AX650's table)" in caught.value.what
    assert caught.value.at == ("targets", "pulsar2", "chips", 0)
    assert caught.value.exit_code == 3
    assert caught.value.fix
    assert not (tmp_path / "out" / "check.json").exists()


def test_the_second_chip_may_be_the_one_that_refuses(checked):
    """Its index is the recipe's."""
    text = "(float[1,3,8,8] image) => (float[1,3,8,8] heat) { heat = LogSoftmax(image) }"
    with pytest.raises(UnsupportedError, match="AX620E does not take") as caught:
        checked(text, "AX650", "AX620E")

    assert caught.value.at == ("targets", "pulsar2", "chips", 1)


def test_many_blocked_nodes_fit_on_a_screen(checked):
    """Five are named, the rest counted."""
    nodes = " ".join(f"a{i + 1} = Sinh(a{i})" for i in range(12))
    text = f"(float[4] image) => (float[4] heat) {{ a0 = Relu(image) {nodes} heat = Relu(a12) }}"
    with pytest.raises(UnsupportedError) as caught:
        checked(text, "AX650")

    assert caught.value.what.count("\n") == 6
    assert "and 7 more: Sinh" in caught.value.what


def test_an_edited_table_runs_the_stage_again(tmp_path, monkeypatch):
    """The key of the step holds the tables' bytes, not only the code's."""
    from workbench.engine import stage

    room = tmp_path / "package" / "engine"
    (tmp_path / "package" / "tables").mkdir(parents=True)
    room.mkdir()
    monkeypatch.setattr(stage, "__file__", str(room / "stage.py"))
    table = tmp_path / "package" / "tables" / "chip.yaml"
    table.write_text("opset: 11\n")
    code_digest.cache_clear()
    before = code_digest("tables")
    table.write_text("opset: 12\n")
    code_digest.cache_clear()
    after = code_digest("tables")
    code_digest.cache_clear()

    assert before != after
    assert "targets/pulsar2" in check.STAGE.rooms


def test_the_key_sees_the_chips():
    """Another chip is another check."""
    one, two = (record(Step(check.STAGE, check.Settings((chip,)))) for chip in ("AX650", "AX620E"))

    assert one["settings"] != two["settings"]


def test_weights_are_not_what_a_check_looks_at(checked):
    """Only small constants are read: a NaN among the weights changes nothing."""
    weights = np.full((3, 3, 3, 3), np.nan, np.float32)
    told, _ = checked(FINE.replace("Relu(image)", "Conv<pads = [1,1,1,1]>(image, w)"), "AX650", w=weights)

    assert told["AX650"]["findings"] == []
