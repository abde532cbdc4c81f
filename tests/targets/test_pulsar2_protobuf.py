"""Every configuration that recipes can ask for parses with a protobuf compiled from the vendor's definition."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
import yaml
from _proto import from_reference, from_table, parse
from google.protobuf import json_format

from workbench.recipe.load import load
from workbench.recipe.schema import InputSpec
from workbench.targets.pulsar2 import chips, formats, render
from workbench.targets.pulsar2.options import Options
from workbench.targets.pulsar2.schema import LayerConfig

sys.path.append(str(Path(__file__).resolve().parents[1] / "standins"))
import build_config

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT.parent / "shared" / "reference" / "pulsar2" / "build_config.yaml"
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
LAYERS = (
    LayerConfig(layer_names=("stage/Concat", 'Add "5"', "ü/ // *"), data_type="U16"),
    LayerConfig(layer_names=("stage/Conv",), data_type="U8", output_data_type="U16"),
)
TEMPLATES = {
    "u8": {},
    "fp32": {"input": "fp32"},
    "nv12": {"input": "nv12", "csc": "limited"},
    "nv21": {"input": "nv21"},
    "qdq": {"model": "qdq"},
    "everything": {
        "precision_analysis": True,
        "precision_analysis_method": "EndToEnd",
        "precision_analysis_mode": "NPUBackend",
        "highest_mix_precision": True,
        "smooth_quant": True,
        "batch_sizes": [1, 2, 4],
        "npu_perf": True,
        "check": "layers",
        "calibration_method": "KL",
    },
}


@pytest.fixture(scope="module")
def parsers() -> list[object]:
    """The stand-in's definition always, the vendor's where the reference material is."""
    kinds = [from_table(build_config)]
    if REFERENCE.is_file():
        kinds.append(from_reference(yaml.safe_load(REFERENCE.read_text("utf-8"))))
    return kinds


def chip_options(template: str) -> list[tuple[str, Options]]:
    """Every chip with every one of its NPU modes, where the template is for it."""
    made = []
    for chip in chips.CHIPS:
        if template == "qdq" and not chip.quantonnx:
            continue
        for mode in chip.npu_modes:
            made.append(
                (chip.name, Options.model_validate({"chips": [chip.name], "npu_mode": mode} | TEMPLATES[template]))
            )
    return made


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_by_chip_by_template(parsers, recipe, template):
    """Fields, types and enum names are exactly theirs, and what the tool would read is what we wrote."""
    inputs = load(recipe).recipe.inputs
    for (chip, options), layers in itertools.product(chip_options(template), ((), LAYERS)):
        text = render.rendered(chip, inputs, options, layers=layers).text
        ours, _ = formats.parse(text, "c.json")
        for kind in parsers:
            message = parse(kind, text)
            assert message.input == "../model.onnx"
            assert json_format.MessageToDict(message)["quant"]["inputConfigs"][0]["calibrationSize"] == -1
            assert len(message.quant.layer_configs) == len(ours.quant.layer_configs)


def test_the_vendors_definition_was_at_hand():
    """Without the reference material only the stand-in's table was compiled."""
    if not REFERENCE.is_file():
        pytest.skip(f"no reference material at {REFERENCE}")
    assert from_reference(yaml.safe_load(REFERENCE.read_text("utf-8"))).DESCRIPTOR.full_name == "vendor.BuildConfig"


def test_both_definitions_are_the_same():
    """The stand-in's table has the vendor's messages, fields, types and enums, in the vendor's order."""
    if not REFERENCE.is_file():
        pytest.skip(f"no reference material at {REFERENCE}")
    reference = yaml.safe_load(REFERENCE.read_text("utf-8"))
    theirs = {
        message: {name: (said["type"], bool(said.get("repeated"))) for name, said in fields.items()}
        for message, fields in reference["messages"].items()
    }
    ours = {
        message: {name: (kind.strip("*!"), kind.startswith("*")) for name, kind in build_config.fields(message).items()}
        for message in build_config.MESSAGES
    }
    assert ours == theirs
    assert {name: values.split() for name, values in build_config.ENUMS.items()} == reference["enums"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"input": "a", "npu_moed": "NPU1"}', "npu_moed"),
        ('{"input": "a", "npu_mode": "NPU9"}', "NPU9"),
        ('{"input": "a", "quant": {"check": "x"}}', "check"),
        ('{"input": 1}', "input"),
    ],
)
def test_the_parser_is_strict(parsers, text, message):
    """What the test parses with refuses unknown fields, enum names and wrong types, or it would prove nothing."""
    for kind in parsers:
        with pytest.raises(json_format.ParseError, match=message):
            parse(kind, text)


def test_two_inputs_of_two_kinds(parsers):
    """A picture from a camera and a tensor: each with its own processor and archive."""
    inputs = (
        InputSpec(name="image", shape=(1, 3, 64, 64), color="BGR", mean=(128,), std=(256,)),
        InputSpec(name="depth.map", shape=(1, 1, 63, 64), color="GRAY", std=(255,)),
    )
    options = Options.model_validate({"input": "nv12", "inputs": {"depth.map": "fp32"}})
    text = render.rendered("AX650", inputs, options).text
    for kind in parsers:
        message = parse(kind, text)
        assert [one.tensor_name for one in message.input_processors] == ["image", "depth.map"]
        assert [one.calibration_dataset for one in message.quant.input_configs] == [
            "calibration/image.tar",
            "calibration/depth_map.tar",
        ]
