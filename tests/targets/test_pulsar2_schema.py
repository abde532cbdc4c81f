"""The BuildConfig model against the vendor's table."""

from __future__ import annotations

import sys
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_core import PydanticUndefined

from workbench.errors import RecipeError, RecipeErrors
from workbench.targets.pulsar2 import chips
from workbench.targets.pulsar2.formats import parse
from workbench.targets.pulsar2.schema import BuildConfig, Message

sys.path.append(str(Path(__file__).resolve().parents[1] / "standins"))
import build_config

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "pulsar2" / "build_config.yaml"
MESSAGES = {kind.__name__: kind for kind in Message.__subclasses__()}
MINIMAL = '{"input": "a.onnx", "output_dir": "out"%s}'


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """The vendor's table, from the material beside the repository."""
    if not REFERENCE.is_file():
        pytest.skip(f"no reference material at {REFERENCE}")
    return yaml.safe_load(REFERENCE.read_text("utf-8"))


def leaf(annotation: Any) -> Any:
    """The type inside tuples, Annotated and optionals."""
    inside = [part for part in typing.get_args(annotation) if part not in (type(None), Ellipsis)]
    origin = typing.get_origin(annotation)
    if origin in (typing.Literal, dict) or not inside:
        return annotation
    return leaf(inside[0])


def test_every_message_and_field_is_there(reference):
    """Messages and field names are exactly the vendor's."""
    theirs = {name: set(fields) for name, fields in reference["messages"].items()}
    assert theirs == {name: set(kind.model_fields) for name, kind in MESSAGES.items()}


def test_types_repetition_and_required_are_theirs(reference):
    """Each field has the vendor's type, is a list exactly when theirs is repeated, and is required when theirs is."""
    python = {"string": str, "bool": bool, "int32": int, "float": float, "double": float}
    for name, fields in reference["messages"].items():
        hints = typing.get_type_hints(MESSAGES[name])
        for field, said in fields.items():
            where = f"{name}.{field}"
            ours = leaf(hints[field])
            assert (typing.get_origin(hints[field]) is tuple) == bool(said.get("repeated")), where
            required = said.get("required") == "true" and MESSAGES[name].model_fields[field].is_required()
            assert required == (said.get("required") == "true"), where
            kind = said["type"]
            if kind in reference["messages"]:
                assert ours is MESSAGES[kind], where
            elif kind == "Struct":
                assert typing.get_origin(ours) is dict, where
            elif kind in python:
                assert ours is python[kind], where
            else:
                assert typing.get_origin(ours) is typing.Literal, where


def test_enums_are_theirs(reference):
    """A field takes the values of the vendor's options, or of the whole enum; never one the enum lacks."""
    for name, fields in reference["messages"].items():
        hints = typing.get_type_hints(MESSAGES[name])
        for field, said in fields.items():
            values = reference["enums"].get(said["type"])
            if values is None:
                continue
            options = said["options"].split(", ") if "options" in said else values
            ours = typing.get_args(leaf(hints[field]))
            assert set(ours) == set(options) & set(values), f"{name}.{field}"


def test_defaults_are_theirs(reference):
    """Each documented default is ours."""
    for name, fields in reference["messages"].items():
        for field, said in fields.items():
            default = MESSAGES[name].model_fields[field].get_default(call_default_factory=True)
            stated = said.get("default")
            if stated is None or stated.startswith(("same with", "{}")):
                assert default in (None, "", (), {}, PydanticUndefined) or isinstance(default, Message), field
            elif stated == "[]":
                assert default == (), field
            elif isinstance(default, bool):
                assert str(default).lower() == stated, field
            elif isinstance(default, int | float):
                assert default == float(stated.split(" ")[0]), field
            else:
                assert default == stated, field


def test_npu_modes_are_theirs(reference):
    """Each chip has the vendor's NPU modes, and no chip is missing."""
    assert {chip.name: list(chip.npu_modes) for chip in chips.CHIPS} == reference["npu_modes"]


def test_the_smallest_configuration_gets_the_defaults():
    """Two fields are enough; the rest is the tool's default."""
    config, _ = parse(MINIMAL % "", "c.json")
    assert config == BuildConfig(input="a.onnx", output_dir="out")
    assert config.quant.input_configs == ()
    assert config.output_name == "compiled.axmodel"


def test_what_is_parsed_can_be_written_and_parsed_again():
    """Recursion, nested messages and structs survive a round trip."""
    text = MINIMAL % (
        ', "compiler": {"sub_configs": [{"start_tensor_names": ["a"], "end_tensor_names": ["b"], "check": 2}],'
        ' "compiler_group_patterns": [{"nodes": [{"types": ["Conv"], "properties": {"x": [1, "y", null]}}]}]}'
    )
    config, _ = parse(text, "c.json")
    assert parse(config.model_dump_json(exclude_none=True), "c.json")[0] == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (', "quant": {"precison_analysis": true}', "quant.precison_analysis: unknown key 'precison_analysis'"),
        (', "quant": {"precison_analysis": true}', "did you mean 'precision_analysis'?"),
        (', "quant": {"calibration_method": "MinMacs"}', "did you mean 'MinMax'?"),
        (', "target_hardware": "AX999"', "target_hardware: 'AX999' is not allowed"),
        (', "npu_mode": "NPU9"', "npu_mode: 'NPU9' is not allowed"),
        (', "compiler": {"check": "1"}', "compiler.check: should be a whole number"),
        (', "quant": {"precision_analysis": 1}', "quant.precision_analysis: should be true or false"),
        (', "compiler": {"check": 4294967296}', "compiler.check: should be less than or equal to 2147483647"),
        (', "input_processors": [{"tensor_name": "x", "src_format": "RAW"}]', "input_processors[0].src_format: 'RAW'"),
        (', "quant": {"input_configs": [{"tensor_name": "x"}]}', "key 'calibration_dataset' is missing"),
        (', "quant": {"refine_weight_threshold": 0.5}', "quant.refine_weight_threshold: should be less than"),
        (', "quant": {"device": "cuda:8"}', "quant.device: 'cuda:8' is not as it should be"),
        (', "quant": {"refine_weight_threshold": 0.5}', "it takes a number"),
        (', "compiler": {"check_rtol": 1e39}', "compiler.check_rtol: should be less than or equal to"),
        (', "quant": {"layer_configs": {}}', "it takes a list of objects"),
    ],
)
def test_mistakes_have_their_path_and_line(text, message):
    """What the vendor's parser would refuse is refused here, with the field's dotted path, line and near miss."""
    with pytest.raises(RecipeErrors) as caught:
        parse(MINIMAL % text, "c.json")
    assert message in str(caught.value)
    assert "c.json:1:" in str(caught.value)


def test_every_mistake_is_told_at_once():
    """Three mistakes make three errors."""
    with pytest.raises(RecipeErrors) as caught:
        parse('{"input": 1, "npu_mode": "X", "quantt": {}}', "c.json")
    assert len(caught.value.errors) == 4  # the three, and the missing output_dir


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "nonsense: true", '{"a": 1e999}', "[]", "null", '{"a": NaN}'])
def test_what_is_no_configuration(text):
    """Other text is a RecipeError, never a traceback."""
    with pytest.raises(RecipeError):
        parse(text, "c.json")


def test_chips_are_found_by_alias_and_typos_are_guessed():
    """An alias leads to its chip; an unknown name to the nearest."""
    assert chips.find("AX630C").name == "AX620E"
    assert chips.find("AX8850").name == "AX650"
    with pytest.raises(RecipeError, match="no chip called 'ax650'") as caught:
        chips.find("ax650")
    assert caught.value.fix == "did you mean 'AX650'?"
    with pytest.raises(RecipeError) as caught:
        chips.find("K210")
    assert "M57" in caught.value.fix


def test_the_standins_table_agrees():
    """The table that the stand-in parses with has the same messages and fields; it is at hand everywhere."""
    assert {name: set(build_config.fields(name)) for name in build_config.MESSAGES} == {
        name: set(kind.model_fields) for name, kind in MESSAGES.items()
    }
