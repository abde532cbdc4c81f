"""Facts about the search: it finds what fails at 8 bits, does what helps and nothing else, and says what is left."""

from __future__ import annotations

import json
from functools import partial

import pytest
from _conflict import HEAD, network, pictures

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.graph import io
from workbench.pose.displacement import reference
from workbench.quant.choice import Budget
from workbench.quant.search import search
from workbench.recipe.schema import Quantization

JUDGE = partial(reference, heatmaps=["heat"], joints=4)
FREE = Budget(macs=10.0, u16=0.5, int8=0.995, mixed=0.995)
CHEAP = Budget(macs=0.0, u16=0.5, int8=0.995, mixed=0.995)


class Told(Silent):
    """Keeps notes and steps, and has a user who presses Ctrl-C at the given number of steps."""

    def __init__(self, at=None):
        self.notes = []
        self.steps = []
        self.at = at

    def note(self, text):
        self.notes.append(text)

    def step(self, done, total, what):
        self.steps.append((done, total, what))
        if len(self.steps) == self.at:
            raise KeyboardInterrupt


def searched(budget=FREE, base=None, proto=None, progress=None, **options):
    """The choice for the network of `_conflict`."""
    model = io.from_bytes((proto or network()).SerializeToString())
    return search(
        model,
        pictures(8),
        pictures(6, seed=9),
        JUDGE,
        base or Quantization(),
        budget,
        progress=progress or Told(),
        **options,
    )


def without_seconds(choice):
    """What does not depend on the clock."""
    found = choice.to_json()
    for step in found["steps"]:
        del step["seconds"]
    return found


def test_the_sensitive_tensor_is_split_and_the_goal_reached():
    """With multiplications to spend the head's range is split, the goal is met, and no tensor needs 16 bits."""
    choice = searched()
    section = Quantization(**choice.quantization)
    steps = {step.name: step for step in choice.steps}

    assert list(section.split) == [HEAD]
    assert section.u16 == ()
    assert steps["plain"].cosine < 0.98
    assert max(step.cosine for step in choice.steps if step.name == "split") >= FREE.int8
    assert steps["split"].macs_percent > 0
    assert choice.sensitive[0][0] == HEAD
    assert choice.sensitive[0][2] == f"split into {section.split[HEAD]}"


def test_without_multiplications_the_fewest_tensors_get_16_bits():
    """With no budget for splits one tensor at 16 bits, the sensitive one, meets the goal."""
    choice = searched(CHEAP)
    section = Quantization(**choice.quantization)
    mixed = choice.steps[-1]

    assert section.split == {}
    assert section.u16 == (HEAD,)
    assert (mixed.name, mixed.kept) == ("mixed", True)
    assert mixed.cosine >= CHEAP.mixed
    assert 0 < mixed.u16_percent < 20
    assert (HEAD, "16 bits in the mixed model") in {(tensor, action) for tensor, _, action in choice.sensitive}
    assert any(text.startswith("split: no range") for text in choice.left)


def test_a_setting_stays_only_where_it_helps():
    """Cosines of the steps that are kept rise; one that does worse is off in the section, with the figures told."""
    choice = searched()
    reached = 0.0
    for step in choice.steps:
        if step.kept and step.name != "mixed":
            assert step.cosine > reached
            reached = step.cosine
    for name in ("equalize", "correct_bias"):
        last = [step for step in choice.steps if step.name == name][-1]
        assert choice.quantization[name] is last.kept
        assert any(text.startswith(f"{name}: cosine") for text in choice.left) is not last.kept


def test_what_did_not_help_at_first_is_tried_again():
    """A switch that was off before the head was split gets a second chance behind it."""
    tried = [step.name for step in searched().steps]
    first = next(step for step in searched().steps if step.name == "equalize")
    assert tried.count("equalize") == (1 if first.kept else 2)
    assert tried.index("split") < len(tried) - tried[::-1].index("equalize") or first.kept


def test_branches_that_differ_are_told():
    """The Concat of a wide and a narrow branch is a conflict, each branch with its largest magnitude."""
    (conflict,) = searched().to_json()["conflicts"]
    assert conflict["tensor"] == "both"
    (wide, high), (narrow, low) = conflict["branches"]
    assert (wide, narrow) == ("wide", "narrow")
    assert high > 4 * low > 0


def test_the_section_keeps_what_the_search_does_not_decide():
    """The method of the recipe stays; what was chosen by hand before is searched anew."""
    base = Quantization(method="Percentile", percentile=99.9, pictures=7, u16=("narrow",), split={HEAD: 3})
    choice = searched(CHEAP, base)
    assert choice.quantization["method"] == "Percentile"
    assert choice.quantization["percentile"] == 99.9
    assert choice.quantization["pictures"] == 7
    assert "split" not in choice.quantization
    assert "narrow" not in choice.quantization.get("u16", ())
    assert "method: Percentile, as the recipe has it" in choice.left


def test_the_result_is_json_that_a_recipe_takes():
    """Every figure is plain; the section is one that the schema accepts."""
    found = json.loads(json.dumps(searched(CHEAP).to_json(), allow_nan=False))
    assert set(found) == {"quantization", "tuned", "steps", "conflicts", "sensitive", "left"}
    assert Quantization(**found["quantization"])
    assert [step["name"] for step in found["steps"]][:3] == ["plain", "equalize", "correct_bias"]
    assert set(found["steps"][0]) >= {"cosine", "worst", "within_5", "seconds", "macs_percent", "u16_percent"}


def test_two_searches_find_the_same():
    """Nothing but the seconds differs."""
    assert without_seconds(searched(CHEAP)) == without_seconds(searched(CHEAP))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_an_interrupted_search_ends_as_one_without_interruption(tmp_path, share):
    """Ctrl-C while baking, measuring or trying loses nothing: the rest takes fewer steps and finds the same."""
    again, fresh = Told(), Told()
    (tmp_path / "other").mkdir()
    whole = searched(CHEAP, partial=tmp_path / "other", progress=fresh)
    with pytest.raises(KeyboardInterrupt):
        searched(CHEAP, partial=tmp_path, progress=Told(round(share * len(fresh.steps))))
    resumed = searched(CHEAP, partial=tmp_path, progress=again)

    assert without_seconds(resumed) == without_seconds(whole)
    assert len(again.steps) < len(fresh.steps)


def test_every_step_is_told():
    """A line a setting, with the cosine and the joints."""
    told = Told()
    searched(CHEAP, progress=told)
    assert told.notes[0].startswith("plain: cosine 0.9")
    assert "of the joints within 5 %" in told.notes[0]
    assert [note.partition(":")[0] for note in told.notes][-1] == "mixed"


def test_seeded_weights_are_never_scored():
    """A network marked as not deployable gets the settings that need no figures, marked untuned, and nothing is run."""
    model = io.from_bytes(network().SerializeToString())
    io.mark_not_deployable(model, "seeded random weights")
    told = Told()
    choice = search(model, pictures(2), pictures(2), JUDGE, Quantization(), FREE, progress=told)

    assert not choice.tuned
    assert choice.quantization == {"method": "MinMax", "equalize": True, "correct_bias": True, "rounding": "nearest"}
    assert (choice.steps, choice.sensitive, choice.conflicts) == ((), (), ())
    assert choice.left[0].startswith("untuned: seeded random weights")
    assert told.steps == []


def test_rounding_is_tried_only_when_asked_for():
    """Without it the reason is told; with it the step is there."""
    assert any(text.startswith("rounding: not tried") for text in searched(CHEAP).left)
    asked = searched(Budget(macs=0.0, u16=0.0, rounding=True))
    assert "rounding" in [step.name for step in asked.steps]


def test_no_judging_pictures_is_an_error():
    """Nothing to judge by is told, with what to do."""
    model = io.from_bytes(network().SerializeToString())
    with pytest.raises(ToolError, match="no pictures to judge by") as caught:
        search(model, pictures(2), [], JUDGE, Quantization(), FREE, progress=Silent())
    assert caught.value.fix
