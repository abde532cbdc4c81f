"""Every field of a rendered configuration knows the line of the recipe that it comes from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_pulsar2_render import BGR, CASES, GRAY, MIXED, RGB

from workbench.errors import RecipeErrors
from workbench.recipe.load import load
from workbench.recipe.yaml_marks import Marks
from workbench.targets.pulsar2 import formats, jsonc, provenance, render
from workbench.targets.pulsar2.options import Options
from workbench.targets.pulsar2.provenance import Origin
from workbench.targets.pulsar2.rules_finding import Finding

ROOT = Path(__file__).resolve().parents[2]


def marks(*paths: tuple[str | int, ...]) -> Marks:
    """A recipe in which `paths` are written, each on a line of its own."""
    return Marks("r.yaml", values={path: f"r.yaml:{line}:3" for line, path in enumerate(paths, 1)})


SAID = marks(
    ("inputs", 0, "name"),
    ("inputs", 0, "color"),
    ("inputs", 0, "mean"),
    ("inputs", 1),
    ("targets", "pulsar2", "chips", 0),
    ("targets", "pulsar2", "input"),
    ("quantization", "u16"),
    ("quantization", "u16", 0),
    ("quantization", "u16", 1),
)


@pytest.mark.parametrize("case", CASES)
def test_annotated_configurations_are_golden(case, golden):
    """One reviewed file a template: each value with the place it comes from."""
    chip, inputs, options = CASES[case]
    made = render.rendered(chip, inputs, options)
    golden(f"pulsar2/{case}.annotated.json", provenance.annotated(made.data, made.origins, SAID))


def test_layers_name_the_wish_they_are_for(golden):
    """A layer is in the list because of one tensor; where the recipe names it, that line is the origin."""
    because = {"stage/Concat": "makes wide", 'Add "5"': "reads other", "stage/Conv": "makes\nwide"}
    made = render.rendered("AX650", (BGR,), Options(), None, MIXED, because)
    text = provenance.annotated(made.data, made.origins, SAID, u16=("narrow", "wide"))
    golden("pulsar2/mixed_bgr.ax650.annotated.json", text)
    assert '"stage/Concat",' in text
    assert re.search(r'"stage/Concat", +// r\.yaml:9:3 quantization\.u16\[1\]: makes wide', text)
    assert re.search(r"r\.yaml:7:3 quantization\.u16: reads other", text)


@pytest.mark.parametrize("case", CASES)
def test_comments_change_nothing(case):
    """The annotated configuration is what the plain one is, to us and to the tool, which takes comments."""
    chip, inputs, options = CASES[case]
    made = render.rendered(chip, inputs, options)
    text = provenance.annotated(made.data, made.origins, SAID)
    assert formats.parse(text, "c.json")[0] == formats.parse(made.text, "c.json")[0] == made.config


def test_origins_are_paths_of_the_recipe():
    """Names, colours, normalization and chips come from where a person writes them."""
    made = render.rendered("AX630C", (RGB, GRAY), Options(chips=("AX650", "AX630C"), inputs={"image": "fp32"}))
    at = {
        ("target_hardware",): ("targets", "pulsar2", "chips", 1),
        ("npu_mode",): ("targets", "pulsar2", "npu_mode"),
        ("quant", "input_configs", 0, "calibration_format"): ("targets", "pulsar2", "inputs", "image"),
        ("quant", "input_configs", 1, "calibration_std", 0): ("inputs", 1, "std"),
        ("input_processors", 1, "mean"): ("inputs", 1, "mean"),
        ("input_processors", 1, "src_dtype"): ("targets", "pulsar2", "input"),
    }
    assert {path: made.origins[path].at for path in at} == at
    assert made.origins["input_processors", 0, "mean"] == Origin(
        None, "nothing is embedded; left empty, it would be the calibration's"
    )


def test_a_chip_from_the_command_line_says_so():
    """A chip that the recipe does not list is nobody's line."""
    assert render.rendered("M57", (BGR,), Options()).origins[("target_hardware",)] == Origin(None, "--chip")


def test_surgery_and_defaults_are_told():
    """A value that a pass replaced, one the recipe leaves out, and one from --set say so."""
    made = render.rendered("AX650", (BGR,), Options())
    said = marks(("inputs", 0, "mean"), ("inputs", 0, "color"))
    said.override(("targets", "pulsar2", "npu_mode"), "--set targets.pulsar2.npu_mode=NPU1")
    text = provenance.annotated(made.data, made.origins, said, {("inputs", 0, "color")})
    assert "// r.yaml:2:3 inputs[0].color, changed by surgery" in text
    assert "// inputs[0].std (default)" in text
    assert "// --set targets.pulsar2.npu_mode=NPU1\n" in text


def test_an_error_is_told_once_at_the_recipes_path():
    """Two fields of one origin are one error; what nothing in the recipe caused is one of the file."""
    made = render.rendered("AX650", (BGR,), Options())
    found = [
        Finding(("quant", "input_configs", 0, "calibration_std"), "wrong", "mend"),
        Finding(("input_processors", 0, "std", 1), "wrong", "mend"),
        Finding(("output_dir",), "odd", "mend"),
    ]
    told = provenance.blamed(found, made.origins, "pulsar2/AX650/config.json")
    assert [(error.at, error.where) for error in told.errors] == [
        (("inputs", 0, "std"), ""),
        (None, "pulsar2/AX650/config.json"),
    ]


def test_the_pipeline_writes_the_line_into_every_error(tmp_path):
    """An error of a rule is raised with a path, and shown with file, line and column."""
    from workbench.pipeline import located

    text = (ROOT / "recipes" / "lw_openpose.yaml").read_text("utf-8").replace("std: [256]", "std: [0.0039]")
    (tmp_path / "r.yaml").write_text(text)
    loaded = load(tmp_path / "r.yaml")
    with pytest.raises(RecipeErrors) as caught, located(loaded):
        render.rendered("AX650", loaded.recipe.inputs, Options())
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "0.0039" in row)
    assert str(caught.value).startswith(f"{tmp_path}/r.yaml:{line}:")
    assert "inputs[0].std: std is a divisor, and 0.0039 looks like a factor" in str(caught.value)
    assert "fix: write its inverse, 256.41" in str(caught.value)


@pytest.mark.parametrize("text", ['{"a": 1}', '{"a": [{"b": 1}]}', '{"a": 1 // no path!\n}'])
def test_a_template_without_origins_is_a_mistake_of_ours(text):
    """A value that no comment accounts for cannot slip in."""
    with pytest.raises(ValueError, match=r"no comment says|no path in a recipe"):
        provenance.of(jsonc.parse(text, "t"))
