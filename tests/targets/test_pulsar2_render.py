"""Rendered configurations and scripts: golden files, and what they must agree with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import RecipeError, RecipeErrors
from workbench.recipe.schema import InputSpec
from workbench.targets.pulsar2 import render
from workbench.targets.pulsar2.facts import Facts, NodeFact
from workbench.targets.pulsar2.options import Options
from workbench.targets.pulsar2.schema import LayerConfig

sys.path.append(str(Path(__file__).resolve().parents[1] / "standins"))
from build_config import mistakes

BGR = InputSpec(name="data", shape=(1, 3, 256, 456), color="BGR", mean=(128,), std=(256,))
RGB = InputSpec(
    name="image", shape=(1, 192, 160, 3), layout="NHWC", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
)
GRAY = InputSpec(name="depth.map-0", shape=(1, 1, 64, 64), color="GRAY", std=(255,))
MIXED = (
    LayerConfig(layer_names=("stage/Concat", 'Add "5"'), data_type="U16"),
    LayerConfig(layer_names=("stage/Conv",), data_type="U8", output_data_type="U16"),
)
CASES = {
    "u8_bgr.ax650": ("AX650", (BGR,), Options()),
    "u8_two_inputs.ax630c": (
        "AX630C",
        (RGB, GRAY),
        Options(chips=("AX630C",), npu_mode="NPU2", calibration_method="KL", precision_analysis=True),
    ),
    "fp32_rgb.m57": ("M57", (RGB,), Options(chips=("M57",), input="fp32", calibration_method="Percentile")),
    "nv12_bgr.ax615": ("AX615", (BGR,), Options(chips=("AX615",), input="nv12", csc="limited")),
    "qdq_bgr.m76h": ("M76H", (BGR,), Options(chips=("M76H",), model="qdq", npu_mode="NPU3")),
    "camera_and_depth.ax637": (
        "AX637",
        (BGR, GRAY),
        Options(chips=("AX637",), input="nv21", inputs={"depth.map-0": "fp32"}, batch_sizes=(1, 2), npu_perf=True),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_configurations_are_golden(case, golden):
    """The rendered configuration is the reviewed one, byte for byte."""
    chip, inputs, options = CASES[case]
    golden(f"pulsar2/{case}.json", render.rendered(chip, inputs, options).text)


def test_layers_at_16_bits_are_golden(golden):
    """Each entry has the one selector layer_names, names are quoted, and the vendor's table takes it."""
    text = render.rendered("AX650", (BGR,), Options(), layers=MIXED).text
    golden("pulsar2/mixed_bgr.ax650.json", text)
    assert mistakes(json.loads(text), "BuildConfig") == []


def test_layers_are_held_against_the_model():
    """A layer that the model does not have is refused with the near miss."""
    nodes = tuple(NodeFact(name) for name in ("stage/Conv", 'Add "5"', "stage/Concat2"))
    known = Facts({"data": (1, 3, 256, 456)}, {}, nodes=nodes)
    with pytest.raises(RecipeErrors, match="did you mean 'stage/Concat2'"):
        render.rendered("AX650", (BGR,), Options(), known, MIXED)


@pytest.mark.parametrize("case", CASES)
def test_the_vendors_table_takes_them(case):
    """Fields, types and enum values are those of the vendor's table, read a second time by the stand-in."""
    chip, inputs, options = CASES[case]
    assert mistakes(json.loads(render.rendered(chip, inputs, options).text), "BuildConfig") == []


def test_the_script_is_golden_and_a_shell_reads_it(golden, tmp_path):
    """The build script is the reviewed one, and sh finds no syntax error in it."""
    text = render.script("net", "AX630C", Options(chips=("AX630C",), npu_mode="NPU2"))
    golden("pulsar2/build.sh", text)
    (tmp_path / "build.sh").write_text(text)
    subprocess.run(["sh", "-n", str(tmp_path / "build.sh")], check=True)


def test_a_mark_in_the_model_is_no_command(tmp_path):
    """Why a model must not be shipped is read from its file: in the script it is one line of text."""
    mark = f'x"; touch {tmp_path}/a; echo "\ntouch {tmp_path}/b\n$(touch {tmp_path}/c)\\n\''
    (tmp_path / "build.sh").write_text(render.script("net", "AX650", Options(), mark))
    done = subprocess.run(["sh", tmp_path / "build.sh"], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith(f'NOT DEPLOYABLE: x"; touch {tmp_path}/a; echo " touch')
    assert done.stderr.count("NOT DEPLOYABLE") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"build.sh"}


def test_scripts_pass_words_to_the_engine(tmp_path, monkeypatch):
    """PULSAR2_ENGINE_OPTIONS stand before the engine's command, PULSAR2_RUN_OPTIONS after ours; nothing is pulled."""
    (tmp_path / "pulsar2" / "AX650").mkdir(parents=True)
    (tmp_path / "case").mkdir()
    (tmp_path / "pulsar2" / "model.onnx").touch()
    engine = tmp_path / "engine"
    engine.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    engine.chmod(0o755)
    for name, value in (
        ("IMAGE", "pulsar2:7.0"),
        ("ENGINE", str(engine)),
        ("ENGINE_OPTIONS", "--storage-driver vfs"),
        ("RUN_OPTIONS", "--network host --memory 8g"),
    ):
        monkeypatch.setenv(f"PULSAR2_{name}", value)
    facts = {"inside": "case", "root": "..", "arguments": ["build"], "licences": "/no", "script": "x", "missing": ""}
    for path, text in (
        ("pulsar2/AX650/build.sh", render.script("net", "AX650", Options())),
        ("reproduce.sh", render.template("reproduce.sh.j2", facts)),
    ):
        (tmp_path / path).write_text(text)
        done = subprocess.run(["sh", tmp_path / path], capture_output=True, text=True)
        words = done.stdout.splitlines()
        assert words[:6] == ["--storage-driver", "vfs", "run", "--rm", "--pull", "never"], done.stderr
        assert words.index("none") < words.index("host") < words.index("8g") < words.index("pulsar2:7.0")


def test_calibration_and_runtime_see_the_same_colours():
    """For 8-bit input one colour order stands in both formats, with mean and std the same for both."""
    made = json.loads(render.rendered("AX650", (BGR,), Options()).text)
    (processor,), (data,) = made["input_processors"], made["quant"]["input_configs"]
    assert processor["tensor_format"] == processor["src_format"] == "BGR"
    assert processor["mean"] == data["calibration_mean"] == [128.0] * 3
    assert processor["std"] == data["calibration_std"] == [256.0] * 3
    assert (processor["src_dtype"], processor["src_layout"], processor["tensor_layout"]) == ("U8", "NHWC", "NCHW")


def test_float_input_embeds_nothing():
    """For float input mean 0 and std 1 are written out and no layout changes."""
    made = json.loads(render.rendered("AX650", (RGB,), Options(input="fp32")).text)
    (processor,), (data,) = made["input_processors"], made["quant"]["input_configs"]
    assert (processor["mean"], processor["std"], processor["src_dtype"]) == ([0.0] * 3, [1.0] * 3, "FP32")
    assert processor["src_layout"] == processor["tensor_layout"] == "NCHW"
    assert data["calibration_format"] == "Numpy"
    assert "calibration_mean" not in data


def test_camera_input_is_converted_and_calibrated_as_pictures():
    """For NV12 the chip converts and normalizes bytes; the calibration pictures become the same pixels."""
    made = json.loads(render.rendered("AX650", (BGR,), Options(input="nv12")).text)
    (processor,), (data,) = made["input_processors"], made["quant"]["input_configs"]
    assert (processor["src_format"], processor["csc_mode"], processor["src_dtype"]) == ("YUV420SP", "FullRange", "U8")
    assert (processor["tensor_format"], processor["src_layout"]) == ("BGR", "NHWC")
    assert (data["calibration_format"], data["calibration_mean"]) == ("Image", processor["mean"])


@pytest.mark.parametrize(
    ("spec", "said", "message", "at"),
    [
        (GRAY, {"input": "nv12"}, "nv12 is a colour format, input 'depth.map-0' is GRAY", ("input",)),
        (GRAY, {"inputs": {"depth.map-0": "nv21"}}, "nv21 is a colour format", ("inputs", "depth.map-0")),
        (
            InputSpec(name="x", shape=(1, 3, 7, 8)),
            {"input": "nv12"},
            "nv12 needs an even size, input 'x' is RGB, 8 wide and 7 high",
            ("input",),
        ),
        (BGR, {"inputs": {"dat": "fp32"}}, "targets.pulsar2.inputs: there is no input 'dat'", ("inputs", "dat")),
    ],
)
def test_an_input_that_cannot_be_fed_so(spec, said, message, at):
    """Options that do not fit an input are errors at their key."""
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        render.rendered("AX650", (spec,), Options.model_validate(said))
    assert caught.value.at == ("targets", "pulsar2", *at)
    assert caught.value.fix


def test_a_factor_written_as_std_is_an_error_of_the_recipe():
    """A recipe with std 1/255 never becomes a configuration, and the error names the recipe's key, once."""
    wrong = InputSpec(name="x", shape=(1, 3, 8, 8), std=(1 / 255,))
    with pytest.raises(RecipeErrors, match="looks like a factor") as caught:
        render.rendered("AX650", (wrong,), Options())
    (error,) = caught.value.errors
    assert error.at == ("inputs", 0, "std")
    assert error.what.startswith("inputs[0].std: std is a divisor")
    assert "(config.json: quant.input_configs[0].calibration_std)" in error.what


def test_names_are_held_against_the_model():
    """An input that the model does not have is refused with the near miss."""
    with pytest.raises(RecipeErrors, match="did you mean 'dat'"):
        render.rendered("AX650", (BGR,), Options(), Facts({"dat": (1, 3, 256, 456)}, {}))


def test_strange_input_names_become_safe_files():
    """Dots become underscores, as in the tool's own files."""
    assert render.archives((GRAY,)) == ("calibration/depth_map-0.tar",)


def test_inputs_that_would_share_a_file_are_refused():
    """Two names that differ only in such characters are an error at the second one."""
    other = InputSpec(name="depth_map-0", shape=(1, 1, 64, 64), color="GRAY")
    with pytest.raises(RecipeError, match="would share the file calibration/depth_map-0") as caught:
        render.archives((GRAY, other))
    assert caught.value.at == ("inputs", 1, "name")


def test_what_is_doubtful_is_a_warning_of_the_rendering():
    """A model that is quantized already is rendered, and told."""
    known = Facts({"data": (1, 3, 256, 456)}, {}, nodes=(NodeFact("q", "QuantizeLinear", ("data",), ("x",)),))
    made = render.rendered("AX650", (BGR,), Options(), known)
    assert [finding.level for finding in made.warnings] == ["warning"]
    assert "quantized already" in str(made.warnings[0])


def test_arguments_are_the_documented_ones():
    """An alias is compiled for its chip; paths are relative to the kit."""
    assert " ".join(render.arguments("AX8850", Options(chips=("AX8850",), npu_mode="NPU3"))) == (
        "build --input ../model.onnx --config config.json --output_dir build --target_hardware AX650 --npu_mode NPU3"
    )
