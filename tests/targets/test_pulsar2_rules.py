"""What must hold between the fields of a BuildConfig."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from workbench.errors import RecipeErrors, ToolError
from workbench.recipe.yaml_marks import Marks
from workbench.targets.pulsar2.rules import Facts, check, enforce, facts
from workbench.targets.pulsar2.schema import BuildConfig

FACTS = Facts({"image": (1, 3, 8, 8)}, {"heat": (1, 2, 4, 4)}, nodes=("conv", "relu", "twice", "twice", "a", "b"))


def config(**changes: Any) -> BuildConfig:
    """A configuration without a mistake, and then `changes`."""
    data = {
        "input": "m.onnx",
        "output_dir": "out",
        "quant": {"input_configs": [calibrated()]},
        "input_processors": [processed()],
    }
    return BuildConfig.model_validate({**data, **changes}, strict=False)


def calibrated(**changes: Any) -> dict[str, Any]:
    """Calibration data without a mistake, and then `changes`."""
    data = {"tensor_name": "image", "calibration_dataset": "c.tar", "calibration_mean": [1, 2, 3]}
    return {**data, "calibration_std": [255, 255, 255], **changes}


def processed(**changes: Any) -> dict[str, Any]:
    """An input processor without a mistake, and then `changes`."""
    return {"tensor_name": "image", "src_format": "BGR", "tensor_format": "BGR", "src_dtype": "U8", **changes}


def layers(**entry: Any) -> BuildConfig:
    """A configuration with one mixed-precision entry."""
    return config(quant={"input_configs": [calibrated()], "layer_configs": [entry]})


def test_a_good_configuration_has_no_finding():
    """Nothing is found in a configuration that the tool takes."""
    assert check(config(), FACTS) == []


@pytest.mark.parametrize(
    ("made", "finding", "fix"),
    [
        (config(target_hardware="AX620E", npu_mode="NPU3"), "npu_mode: AX620E has no NPU3", "use NPU1 or NPU2"),
        (config(target_hardware="AX8860", npu_mode="NPU3"), "npu_mode: AX8860 has no NPU3", "NPU4"),
        (
            config(target_hardware="AX620E", model_type="QuantONNX"),
            "model_type: QuantONNX is not for AX620E, only for AX650 and M76H",
            "ONNX",
        ),
        (
            config(quant={"input_configs": [calibrated(calibration_dataset="folder/")]}),
            "quant.input_configs[0].calibration_dataset: 'folder/' is no .tar, .tar.gz, .zip file",
            "pack",
        ),
        (
            config(quant={"input_configs": [calibrated(calibration_std=[1, 0, 1])]}),
            "quant.input_configs[0].calibration_std: std is a divisor and cannot be zero",
            "divided by",
        ),
        (
            config(input_processors=[processed(mean=[0, 0, 0], std=[1 / 255] * 3)]),
            "input_processors[0].std: std is a divisor, and 0.00392157 looks like a factor",
            "its inverse, 255,",
        ),
        (
            config(quant={"input_configs": [calibrated(calibration_std=[])]}),
            "quant.input_configs[0].calibration_std: 0 values, but calibration_mean has 3",
            "one of each",
        ),
        (
            config(input_processors=[processed(src_format="YUV420SP")]),
            "input_processors[0].csc_mode: YUV420SP needs a colour conversion",
            "FullRange",
        ),
        (
            config(input_processors=[processed(src_format="YVU420SP", csc_mode="Matrix", csc_mat=[1.0] * 9)]),
            "input_processors[0].csc_mat: 9 numbers, a conversion matrix has 12",
            "three rows of four",
        ),
        (
            config(input_processors=[processed(src_format="RGB")]),
            "input_processors[0].src_format: Pulsar2 does not turn RGB into BGR",
            "swap_input_channels",
        ),
        (
            config(input_processors=[processed(), processed()]),
            "input_processors[1].tensor_name: 'image' is described twice",
            "keep one",
        ),
        (layers(data_type="U16"), "quant.layer_configs[0]: no selector, an entry has exactly one", "layer_name"),
        (
            layers(layer_name="a", op_types=["Conv"]),
            "quant.layer_configs[0]: 2 selectors (layer_name, op_types), an entry has exactly one",
            "write one of",
        ),
        (
            layers(start_tensor_names=["a"]),
            "quant.layer_configs[0]: start_tensor_names and end_tensor_names come together",
            "both",
        ),
        (
            layers(op_types=["Add", "Conv"], data_type="FP32"),
            "quant.layer_configs[0].data_type: FP32 is silently ignored for Conv",
            "output_data_type",
        ),
        (
            layers(op_type="MaxPool", data_type="FP32"),
            "quant.layer_configs[0].data_type: FP32 is silently ignored for MaxPool",
            "LeakyRelu",
        ),
        (
            config(
                quant={
                    "input_configs": [calibrated()],
                    "layer_configs": [
                        {"layer_names": ["a", "b"], "data_type": "U16"},
                        {"layer_name": "b", "data_type": "U8"},
                    ],
                }
            ),
            "quant.layer_configs[1]: layer 'b' is also in entry 0",
            "keep one",
        ),
    ],
)
def test_a_broken_rule_is_the_only_finding(made, finding, fix):
    """Each mistake gives one finding, at the path of its field, with its fix."""
    (found,) = check(made)
    assert str(found).startswith(finding)
    assert fix in found.fix


@pytest.mark.parametrize(
    ("made", "finding", "fix"),
    [
        (
            config(input_processors=[processed(tensor_name="imgae")]),
            "input_processors[0].tensor_name: the model has no input 'imgae'",
            "did you mean 'image'?",
        ),
        (
            config(output_processors=[{"tensor_name": "hat"}]),
            "output_processors[0].tensor_name: the model has no output 'hat'",
            "did you mean 'heat'?",
        ),
        (config(quant={}), "quant.input_configs: no calibration data for input 'image'", "add an entry"),
        (
            config(quant={"input_configs": [calibrated(calibration_mean=[1.0], calibration_std=[2.0])]}),
            "quant.input_configs[0].calibration_mean: 1 values for the 3 channels of 'image'",
            "every channel",
        ),
        (
            layers(layer_names=["relu", "conw"], data_type="U16"),
            "quant.layer_configs[0].layer_names[1]: the model has no node 'conw'",
            "did you mean 'conv'?",
        ),
        (
            layers(layer_name="twice", data_type="U16"),
            "quant.layer_configs[0].layer_name: 2 nodes of the model are called 'twice'",
            "names of their own",
        ),
    ],
)
def test_a_contradiction_to_the_model(made, finding, fix):
    """What the model lacks is found when the model is known, and only then."""
    (found,) = check(made, FACTS)
    assert str(found).startswith(finding)
    assert fix in found.fix
    assert check(made) == []


@pytest.mark.parametrize(
    "made",
    [
        layers(op_types=["Add", "Softmax"], data_type="FP32"),
        layers(op_type="Conv", output_data_type="FP32"),
        layers(start_tensor_names=["DEFAULT"], end_tensor_names=["DEFAULT"], data_type="U16"),
        config(target_hardware="M76H", npu_mode="NPU3", model_type="QuantONNX"),
        config(quant={"input_configs": [calibrated(tensor_name="DEFAULT", calibration_dataset="c.tar.gz")]}),
        config(input_processors=[processed(src_format="YUV420SP", csc_mode="FullRange")]),
        config(input_processors=[processed(mean=[123.675] * 3, std=[0.225 * 255] * 3)]),
        config(model_type="QuantONNX", quant={}),
    ],
)
def test_what_is_allowed_is_not_complained_about(made):
    """Legal wishes give no finding."""
    assert check(made, FACTS) == []


def test_findings_are_raised_together_with_their_lines():
    """`enforce` raises every finding, each at the place its field was written."""
    marks = Marks("c.json", values={("npu_mode",): "c.json:4:3"})
    made = config(target_hardware="M57", npu_mode="NPU2", input_processors=[processed(src_format="RGB")])
    with pytest.raises(RecipeErrors) as caught:
        enforce(made, FACTS, marks)
    assert len(caught.value.errors) == 2
    assert "c.json:4:3: npu_mode: M57 has no NPU2" in str(caught.value)
    enforce(config(), FACTS, marks)


def test_facts_are_read_from_the_graph(tmp_path):
    """Initializers that are listed as inputs are none, and a size that is not static is 0."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "n"])
    w = helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    weight = onnx.numpy_helper.from_array(np.ones(1, np.float32), "w")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"], "mul")], "g", [x, w], [y], [weight])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    assert facts(tmp_path / "m.onnx") == Facts({"x": (1, 0)}, {"y": (1, 4)}, nodes=("mul",))
    (tmp_path / "bad.onnx").write_bytes(b"no")
    with pytest.raises(ToolError):
        facts(tmp_path / "bad.onnx")
