import io
import json

import _tiny
import pytest
from click.testing import CliRunner

from workbench import pipeline
from workbench.cli import _tuned, main
from workbench.recipe.load import load

LONG = "Convolutional_Pose_Machine/stage_2/concat/a_name_that_no_column_holds"
CHOICE = {
    "quantization": {
        "method": "MinMax",
        "equalize": True,
        "split": {"a": 4},
        "unroll": ["sum"],
        "correct_bias": True,
        "rounding": "nearest",
        "u16": ["b", "317"],
    },
    "tuned": True,
    "steps": [
        {
            "name": name,
            "cosine": cosine,
            "worst": worst,
            "within_5": joints,
            "seconds": seconds,
            "macs_percent": macs,
            "u16_percent": u16,
            "kept": kept,
        }
        for name, cosine, worst, joints, seconds, macs, u16, kept in (
            ("plain", 0.8312, 0.1, 0.712, 2.1, 0.0, 0.0, True),
            ("equalize", 0.9504, 0.51, 0.901, 3.4, 0.0, 0.0, True),
            ("correct_bias", 0.9495, 0.5, 0.9, 8.0, 0.0, 0.0, False),
            ("split", 0.9781, 0.71, 0.95, 31.2, 3.4, 0.0, True),
            ("mixed", 0.9951, 0.9, 1.0, 12.0, 3.4, 6.1, True),
        )
    ],
    "conflicts": [
        {"tensor": "mild", "branches": [["w", 5.0], ["v", 1.0]]},
        {"tensor": LONG, "branches": [["features", 18.25], ["heat", 0.81], ["dead", 0.0]]},
        *({"tensor": f"cat_{index}", "branches": [["x", 8.0 + index], ["y", 1.0]]} for index in range(3)),
    ],
    "sensitive": [
        {"tensor": "a", "loss": 0.3, "action": "split into 4"},
        {"tensor": "c", "loss": 0.02, "action": "left at 8 bits"},
    ],
    "left": [
        "rounding: not tried; it is the slowest step and has to be asked for",
        "8 bits: cosine 0.9781 of the goal 0.9980; finer ranges use 3.4% of the 10% more multiplications",
    ],
}
UNTUNED = {
    **CHOICE,
    "tuned": False,
    "steps": [],
    "conflicts": [],
    "sensitive": [],
    "left": ["untuned: seeded random weights; figures on these would mean nothing"],
    "quantization": {"method": "MinMax", "equalize": True, "correct_bias": True, "rounding": "nearest"},
}


def screen(width, choice=CHOICE):
    """What is shown on a terminal of a width."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, highlight=False, color_system=None)
    _tuned.show("tiny", choice, console)
    _tuned.show_lines(choice, {"mixed": 0.99}, console)
    return console.file.getvalue()


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run `workbench` in a folder of its own; the search answers `CHOICE` at once, and keeps what it was asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_MIRROR", str(tmp_path))
    asked = []

    def tune(loaded, request, store, reporter, budget):
        asked.append((loaded, request, budget))
        if asked[0] is KeyboardInterrupt:
            raise KeyboardInterrupt
        return CHOICE

    monkeypatch.setattr(pipeline, "tune", tune, raising=False)

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    run.asked = asked
    return run


@pytest.mark.parametrize("width", [100, 50])
def test_one_screen_tells_the_whole_search(golden, width):
    """Branches in conflict, each step with its gain, what is left, the lines; fewer columns where it is narrow."""
    shown = "".join(f"{line.rstrip()}\n" for line in screen(width).splitlines())
    golden(f"tune_{width}.txt", shown)

    assert all(len(line) <= width for line in shown.splitlines())


def test_nothing_measured_is_said_and_not_shown_as_a_table():
    """Random weights give settings, but no figures."""
    shown = screen(80, UNTUNED)

    assert "NOT TUNED" in shown
    assert "quantization:   # untuned: the published weights were not at hand" in shown
    assert "random weights" in shown
    assert "cosine" not in shown.replace("mixed: {cosine: 0.99}", "")


def test_the_lines_can_be_copied_from_a_pipe(call, tmp_path):
    """They stand unbroken in stdout, with the limit that the mixed model needs, and the recipe stays as it is."""
    recipe = _tiny.write(tmp_path)
    before = recipe.read_bytes()
    result = call("tune", recipe)

    start = result.stdout.index("quantization:")
    assert result.stdout[start:].startswith("quantization:\n  method: MinMax\n  equalize: true\n  split: {a: 4}\n")
    assert "and under parity.limits:\n    mixed: {cosine: 0.992}\n" in result.stdout
    assert "the limit int8: {cosine: 0.9} could then be raised to 0.96" in result.stdout
    assert "--write puts this into" in result.stdout
    assert recipe.read_bytes() == before


def test_write_puts_the_settings_into_the_recipe(call, tmp_path):
    """It loads with them and the limit; the comments of the old section are named."""
    recipe = _tiny.write(tmp_path, **{"quantization: {method: MinMax}": "quantization: {method: MinMax}   # first try"})
    result = call("tune", recipe, "--write")
    after = load(recipe).recipe

    assert after.quantization.u16 == ("b", "317")
    assert after.quantization.split == {"a": 4}
    assert after.parity.limits["mixed"].cosine == 0.992
    assert after.parity.limits["int8"].cosine == 0.9
    assert "removed with the old section: # first try" in result.stdout
    assert f"next: workbench convert {recipe}" in result.stdout


@pytest.mark.parametrize("protected", ["recipes", "tiny.yaml"])
def test_a_protected_recipe_is_refused_before_the_search(call, tmp_path, monkeypatch, protected):
    """Neither a file nor a folder without write permission is gone round, and no minutes are lost."""
    recipe = _tiny.write(tmp_path)
    place = recipe if protected == "tiny.yaml" else recipe.parent
    monkeypatch.setattr("workbench.cli.tune.os.access", lambda path, _: path != place)
    monkeypatch.setattr(pipeline, "tune", lambda *_: pytest.fail("searched"))
    before = recipe.read_bytes()
    result = call("tune", recipe, "--write", code=3)
    assert f"{recipe}: the recipe may not be written\n  fix: change its permissions" in result.stderr
    assert recipe.read_bytes() == before


def test_the_next_command_has_the_weights_that_were_given(call, tmp_path):
    """Without them convert would look for a file that only this command line knows."""
    recipe = _tiny.write(tmp_path)
    weights = tmp_path / "tiny.onnx"
    result = call("tune", recipe, "--write", "--weights", weights)
    assert f"next: workbench convert {recipe} --weights {weights}\n" in result.stdout


def test_fewer_multiplications_have_one_sign():
    """A network that became cheaper is shown with a minus."""
    step = {**CHOICE["steps"][0], "macs_percent": -2.5}
    assert "-2.5 %" in _tuned._rows([step])[0]


def test_json_is_pure_and_has_everything(call, tmp_path):
    """Stdout is one document: the search, the lines, the limits, whether it was written."""
    recipe = _tiny.write(tmp_path)
    told = json.loads(call("tune", recipe, "--json", "--write").stdout)

    assert told["recipe"] == "tiny"
    assert told["steps"] == CHOICE["steps"]
    assert told["lines"][0] == "quantization:"
    assert told["limits"] == {"mixed": 0.992}
    assert told["written"] is True
    assert load(recipe).recipe.quantization.unroll == ("sum",)


def test_options_become_a_budget(call, tmp_path):
    """Percent are shares, goals are left to the search where none is given, weights and overrides arrive."""
    from workbench.quant.choice import Budget

    recipe = _tiny.write(tmp_path)
    arguments = ("--macs", "20", "--u16", "5", "--rounding", "--goal", "0.9", "--set", "calibration.count=5")
    call("tune", recipe, *arguments, "--weights", tmp_path / "tiny.onnx", "--require-weights")
    call("tune", recipe)

    loaded, request, budget = call.asked[0]
    assert budget == Budget(macs=0.2, u16=0.05, rounding=True, int8=0.9)
    assert loaded.recipe.calibration.count == 5
    assert request.require_weights is True
    assert request.weights.name == "tiny.onnx"
    assert call.asked[1][2] == Budget()


def test_what_cannot_be_written_is_refused_before_the_search(call, tmp_path):
    """Nobody waits minutes for that."""
    recipe = _tiny.write(tmp_path, **{"quantization: {": "quantization: &q {"})
    result = call("tune", recipe, "--write", code=2)

    assert "quantization holds an anchor" in result.stderr
    assert not call.asked


def test_a_failed_write_still_shows_the_lines(call, tmp_path, monkeypatch):
    """The search was not for nothing."""
    recipe = _tiny.write(tmp_path)
    from workbench.recipe import rewrite

    def refused(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(rewrite.shutil, "copymode", refused)
    result = call("tune", recipe, "--write", code=3)

    assert "quantization:\n  method: MinMax" in result.stdout
    assert "Permission denied" in result.stderr


def test_ctrl_c_says_that_the_next_start_goes_on(call, tmp_path):
    """Nothing is lost, and the exit code is that of a signal."""
    call.asked.append(KeyboardInterrupt)
    result = call("tune", _tiny.write(tmp_path), code=130)

    assert "the next workbench tune goes on where this one was" in result.stderr


@pytest.mark.parametrize("arguments", [("--macs", "-1"), ("--u16", "101"), ("--goal", "2"), ("--goal", "nan")])
def test_budgets_out_of_bounds_are_usage_errors(call, tmp_path, arguments):
    """With the bounds."""
    result = call("tune", _tiny.write(tmp_path), *arguments, code=2)

    assert "is not a number" in result.stderr


def test_a_tuned_recipe_converts(tmp_path, monkeypatch):
    """The real search on a small network: what it tells is what is written, and `convert` takes it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_MIRROR", str(tmp_path))
    recipe = _tiny.write(tmp_path, **{"    int8: {cosine: 0.9}\n": "    int8: {cosine: 0.9}   # held\n"})

    def run(*arguments):
        result = CliRunner().invoke(main, [*arguments, str(recipe)])
        assert result.exit_code == 0, result.output
        return result

    told = json.loads(run("tune", "--json", "--goal", "1").stdout)
    tuned = run("tune", "--write", "--goal", "1")
    run("convert")
    settings = load(recipe).recipe.quantization

    assert told["tuned"] is True
    assert [step["name"] for step in told["steps"]][:2] == ["plain", "equalize"]
    assert "what each step gained" in tuned.stdout
    assert "-- search     unchanged" in tuned.stderr
    assert settings.model_dump(mode="json").items() >= told["quantization"].items()
    assert "# held" in recipe.read_text()
