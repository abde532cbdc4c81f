"""`workbench pulsar2`: a recipe's configuration with the origin of each line, and anybody's held against everything."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import _tiny
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from workbench.cli import main
from workbench.targets.pulsar2 import formats

sys.path.append(str(Path(__file__).resolve().parents[1] / "standins"))
from build_config import mistakes


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run `workbench` in a folder of its own, the tiny recipe's weights in a mirror."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_MIRROR", str(tmp_path / "recipes"))

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == code, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return run


def samples(path: Path, shape: tuple[int, ...] = (1, 3, 32, 48), count: int = 2, dtype: type = np.float32) -> None:
    """An archive of tensors."""
    with tarfile.open(path, "w") as archive:
        for index in range(count):
            buffer = io.BytesIO()
            np.save(buffer, np.zeros(shape, dtype))
            entry = tarfile.TarInfo(f"{index}.npy")
            entry.size = buffer.tell()
            archive.addfile(entry, io.BytesIO(buffer.getvalue()))


BY_HAND = """{
  // as the vendor's examples have it: input and output_dir come from the command line
  "target_hardware": "AX620E",
  "quant": {
    "input_configs": [
      {"tensor_name": "image", "calibration_dataset": "calib.tar", "calibration_format": "Numpy"}
    ],
    "layer_configs": [{"layer_names": ["conv1"], "output_data_type": "FP32"}] # of the last layer
  },
  "input_processors": [{"tensor_name": "image", "src_dtype": "FP32", "mean": [0, 0, 0], "std": [1, 1, 1]}]
}
"""


@pytest.fixture
def by_hand(tmp_path):
    """A configuration without a mistake, its model and its calibration data, in a folder of its own."""
    folder = tmp_path / "hand"
    folder.mkdir()
    onnx.save(_tiny.network(), folder / "m.onnx")
    samples(folder / "calib.tar")

    def write(text: str = BY_HAND, name: str = "config.json", **changes: str) -> Path:
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (folder / name).write_text(text)
        return folder / name

    return write


def test_a_config_says_where_each_line_comes_from(call, tmp_path):
    """File, line and column of the recipe stand behind each value; the tool reads it as it is."""
    recipe = _tiny.write(tmp_path / "recipes")
    result = call("pulsar2", "config", recipe)

    line = next(number for number, row in enumerate(recipe.read_text().splitlines(), 1) if "std: [256]" in row)
    assert f"// {recipe}:{line}:60 inputs[0].std" in result.stdout
    assert "// targets.pulsar2.npu_mode (default)" in result.stdout
    assert "// workbench: " in result.stdout
    values = [row for row in result.stdout.splitlines() if '": ' in row and not row.endswith(("{", "["))]
    assert len(values) > 15
    assert all(" // " in row for row in values)
    assert "not converted yet" in result.stderr
    plain = call("pulsar2", "config", recipe, "--json").stdout
    assert formats.parse(result.stdout, "c")[0] == formats.parse(plain, "c")[0]
    assert mistakes(json.loads(plain), "BuildConfig") == []


def test_the_group_has_the_report_kit():
    """Commands that live in files of their own are listed with the others."""
    told = CliRunner().invoke(main, ["pulsar2", "--help"]).output
    assert [line.split()[0] for line in told.split("Commands:")[1].splitlines() if line.strip()][:1] == ["bundle"]
    assert CliRunner().invoke(main, ["pulsar2", "bundle", "--help"]).exit_code == 0


def test_chips_and_overrides(call, tmp_path):
    """Any chip can be asked for; what --set says is the origin of its value."""
    recipe = _tiny.write(tmp_path / "recipes")
    result = call("pulsar2", "config", recipe, "--chip", "AX630C", "--set", "targets.pulsar2.input=nv12")
    assert '"target_hardware": "AX620E"' in result.stdout
    assert "// workbench: --chip" in result.stdout
    assert '"src_format": "YUV420SP"' in result.stdout
    assert "// --set targets.pulsar2.input=nv12" in result.stdout


@pytest.mark.parametrize(
    ("changes", "arguments", "message", "fix"),
    [
        (
            {"std: [256]": "std: [0.0039]"},
            [],
            ":5:60: inputs[0].std: std is a divisor, and 0.0039",
            "write its inverse",
        ),
        ({}, ["--chip", "AX65O"], "no chip called 'AX65O'", "did you mean 'AX650'?"),
        ({"  pulsar2: {chips: [AX650]}\n": ""}, [], ":13:3: tiny has no pulsar2 target", "--chip"),
        (
            {"chips: [AX650]": "chips: [AX650], npu_mode: NPU3"},
            ["--chip", "M57"],
            "targets.pulsar2.npu_mode: M57 has no NPU3",
            "npu_mode=NPU1",
        ),
    ],
)
def test_mistakes_in_a_recipe_name_its_line(call, tmp_path, changes, arguments, message, fix):
    """What the rules find is an error of the recipe, in three parts, exit 2."""
    result = call("pulsar2", "config", _tiny.write(tmp_path / "recipes", **changes), *arguments, code=2)
    assert message in result.stderr
    assert fix in result.stderr
    assert result.stdout == ""


def test_layers_are_known_after_a_conversion(call, tmp_path):
    """Before it, a recipe with 16-bit tensors is an error; after it, its layers are there, and why."""
    changes = {
        "quantization: {method: MinMax}": "quantization:\n  u16:\n    - heat\n",
        "int8: {cosine: 0.9}": "int8: {cosine: 0.9}\n    mixed: {cosine: 0.9}",
    }
    recipe = _tiny.write(tmp_path / "recipes", **changes)
    result = call("pulsar2", "config", recipe, code=3)
    assert "which layers carry 16 bits is known once the model is made" in result.stderr
    assert f"{recipe}:" in result.stderr

    call("convert", recipe)
    result = call("pulsar2", "config", recipe)
    line = next(number for number, row in enumerate(recipe.read_text().splitlines(), 1) if "- heat" in row)
    assert f"// {recipe}:{line}:7 quantization.u16[0]: makes heat" in result.stdout
    assert result.stderr == ""
    published = tmp_path / "dist" / "tiny" / "pulsar2" / "AX650" / "config.json"
    assert call("pulsar2", "config", recipe, "--json").stdout == published.read_text()
    assert "0 errors, 0 warnings" in call("pulsar2", "validate", published).stdout


def test_what_surgery_changed_is_told(call, tmp_path):
    """A pass that swaps the colours is the reason why the configuration differs from the recipe."""
    recipe = _tiny.write(tmp_path / "recipes", **{"[fold_batchnorm]": "[fold_batchnorm, swap_input_channels]"})
    call("convert", recipe)
    result = call("pulsar2", "config", recipe)
    assert '"tensor_format": "BGR"' in result.stdout
    assert "inputs[0].color (default), changed by surgery" in result.stdout


@pytest.mark.parametrize("name", ["config.json", "config.jsonc"])
def test_a_config_by_hand_is_held_against_everything(call, by_hand, name):
    """Schema, rules, the model and each sample: paths start from the configuration's own folder."""
    path = by_hand(name=name)
    result = call("pulsar2", "validate", path, "--model", path.parent / "m.onnx")
    assert result.stdout == (
        f"{path}: 0 errors, 0 warnings; held against the schema, the rules, the model {path.parent / 'm.onnx'} and its"
        " calibration data\n"
    )


@pytest.mark.parametrize(
    ("changes", "code", "where", "what", "fix"),
    [
        ({'["conv1"]': '["conv2"]'}, 2, "8:40", "layer_names[0]: the model has no node 'conv2'", "did you mean 'conv"),
        ({'["conv1"]': '["relu0"]'}, 2, "8:40", "output_data_type is for Conv, the Relu 'relu0' ignores it", "remove"),
        ({"AX620E": "AX62OE"}, 2, "3:22", "target_hardware: 'AX62OE' is not allowed", "did you mean 'AX620E'?"),
        ({'"Numpy"': '"Image"'}, 2, "6:55", "'0.npy' is no sample for calibration_format Image", "Numpy"),
        ({"calib.tar": "calob.tar"}, 3, "6:55", "no such archive", "tar"),
        ({', "mean": [0, 0, 0]': ""}, 0, "", "0 errors", ""),
        ({"tensor_name": "tensor_nam"}, 2, "", "unknown key 'tensor_nam'", "did you mean 'tensor_name'?"),
    ],
)  # fmt: skip
def test_findings_have_a_place_and_a_fix(call, by_hand, changes, code, where, what, fix):
    """Exit 2 where the configuration is wrong, 3 where a file it names is missing."""
    path = by_hand(**changes)
    result = call("pulsar2", "validate", path, "--model", path.parent / "m.onnx", code=code)
    assert what in result.stdout
    assert f"{path}:{where}" in result.stdout
    assert fix in result.stdout


def test_names_cannot_move_the_cursor(call, by_hand):
    """What a file calls its things is printed without the characters that a terminal obeys."""
    path = by_hand(**{"calib.tar": "\\u001b[2J\\u0000.tar"})
    told = call("pulsar2", "validate", path, "--model", path.parent / "m.onnx", code=3).stdout
    assert "\\x1b[2J\\x00.tar: quant.input_configs[0].calibration_dataset: no such archive" in told
    assert all(sign.isprintable() or sign == "\n" for sign in told)


def test_a_mistake_of_the_whole_file_is_no_recipes(call, tmp_path):
    """A key that is written twice belongs to no field, and to no recipe."""
    (tmp_path / "c.yaml").write_text("npu_mode: NPU1\nnpu_mode: NPU2\n")
    told = call("pulsar2", "validate", tmp_path / "c.yaml", code=2).stdout
    assert told.startswith(f"error: {tmp_path}/c.yaml:2:1: key 'npu_mode' is written twice")


def test_missing_and_damaged_files(call, by_hand, tmp_path):
    """No configuration, no model, no base folder, no notation: three parts, exit 3 or 2."""
    path = by_hand()
    for arguments, code, message in (
        ([tmp_path / "none.json"], 3, "cannot read the configuration: No such file"),
        ([path, "--model", tmp_path / "none.onnx"], 3, "cannot read the model: No such file"),
        ([path, "--base", tmp_path / "none"], 3, "no such folder"),
        ([path.parent / "m.onnx"], 2, ".onnx says not how the configuration is written"),
    ):
        result = call("pulsar2", "validate", *arguments, code=code)
        assert message in result.stderr
        assert "fix: " in result.stderr


def test_the_model_it_names_is_taken(call, by_hand):
    """Without --model the configuration's own input is looked for; without any, names are not compared, and told."""
    path = by_hand()
    assert "no model (give --model)" in call("pulsar2", "validate", path).stdout
    named = by_hand(**{'"target_hardware"': '"input": "m.onnx", "target_hardware"'})
    assert f"the model {path.parent / 'm.onnx'}" in call("pulsar2", "validate", named).stdout


def test_a_model_that_it_names_must_be_there(call, by_hand):
    """A model that is not where the configuration says is missed before the tool is; --model names another."""
    gone = by_hand(**{'"target_hardware"': '"input": "gone.onnx", "target_hardware"'})
    told = call("pulsar2", "validate", gone, code=3).stdout
    assert f"{gone}:3:12: {gone.parent / 'gone.onnx'}: input: no such model\n  fix: give it with --model" in told
    call("pulsar2", "validate", gone, "--model", gone.parent / "m.onnx")


def test_what_breaks_the_schema_was_not_held_against_more(call, by_hand):
    """The last line does not ask for a model that is there."""
    told = call("pulsar2", "validate", by_hand(AX620E="AX62OE"), code=2).stdout
    assert told.endswith("1 error, 0 warnings; held against the schema alone: the rules follow when these are mended\n")


def test_paths_start_from_a_base(call, by_hand, tmp_path):
    """--base is where the tool would be started; --no-samples leaves the archives alone."""
    path = by_hand()
    assert "no such archive" in call("pulsar2", "validate", path, "--base", tmp_path, code=3).stdout
    assert "no calibration data" in call("pulsar2", "validate", path, "--base", tmp_path, "--no-samples").stdout


def test_scripts_get_json(call, by_hand):
    """With --json stdout is one document, whatever was found."""
    path = by_hand(**{'["conv1"]': '["conv2"]'})
    told = json.loads(call("pulsar2", "validate", path, "--model", path.parent / "m.onnx", "--json", code=2).stdout)
    (finding,) = told["findings"]
    assert told["ok"] is False
    assert (finding["level"], finding["path"]) == ("error", "quant.layer_configs[0].layer_names[0]")
    assert finding["where"] == f"{path}:8:40"
    told = json.loads(call("pulsar2", "validate", by_hand(AX620E="AX62OE"), "--json", code=2).stdout)
    assert [finding["path"] for finding in told["findings"]] == ["target_hardware"]
    assert json.loads(call("pulsar2", "validate", by_hand(), "--json").stdout)["ok"] is True


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "npu_mode: NPU3\ntarget_hardware: AX620E\n"),
        ("c.toml", 'npu_mode = "NPU3"\ntarget_hardware = "AX620E"\n'),
        ("c.prototxt", "npu_mode: NPU3\ntarget_hardware: AX620E\n"),
    ],
)
def test_other_notations(call, by_hand, name, text):
    """YAML, TOML and protobuf text are read; the first two know the line."""
    path = by_hand(text, name)
    result = call("pulsar2", "validate", path, code=2)
    assert "npu_mode: AX620E has no NPU3\n  fix: use NPU1 or NPU2" in result.stdout
    assert (f"{path}:1:" in result.stdout) == (name != "c.prototxt")


def test_a_warning_fails_nothing(call, by_hand):
    """What is only likely to be a mistake is told, exit 0."""
    path = by_hand(**{'"layer_configs"': '"finetune_lr": 0.1, "layer_configs"'})
    result = call("pulsar2", "validate", path, "--model", path.parent / "m.onnx")
    assert "warning: " in result.stdout
    assert "0 errors, 1 warning;" in result.stdout


def test_convert_refuses_before_any_work(call, tmp_path):
    """What no surgery can mend is told with all other mistakes, at its line, before the first stage."""
    changes = {"std: [256]": "std: [0.0039]", "samples: 2": "samples: 60"}
    result = call("convert", _tiny.write(tmp_path / "recipes", **changes), code=2)
    assert "tiny.yaml:5:60: inputs[0].std: std is a divisor, and 0.0039 looks like a factor" in result.stderr
    assert "parity.samples: 60 pictures judge" in result.stderr
    assert ".  " not in result.stderr
