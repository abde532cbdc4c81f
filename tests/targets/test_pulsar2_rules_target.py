"""Rules on chips, kinds of models, sizes, switches and calibration: one finding each."""

from __future__ import annotations

import pytest
from _build_config import FACTS, calibrated, config, finds, processed, quant, told

from workbench.targets.pulsar2.facts import Facts, NodeFact
from workbench.targets.pulsar2.rules_target import shapes_given

QDQ = Facts({"image": (1, 3, 8, 8)}, {}, nodes=(NodeFact("q", "QuantizeLinear", ("image",), ("x",)),), opset=13)


@pytest.mark.parametrize(
    ("made", "level", "finding", "fix"),
    [
        (
            config(target_hardware="AX620E", npu_mode="NPU3"),
            "error",
            "npu_mode: AX620E has no NPU3",
            "use NPU1 or NPU2",
        ),
        (config(target_hardware="AX8860", npu_mode="NPU3"), "error", "npu_mode: AX8860 has no NPU3", "NPU4"),
        (config(target_hardware="M57", npu_mode="NPU2"), "error", "npu_mode: M57 has no NPU2", "NPU1"),
        (
            config(target_hardware="AX620E", model_type="QuantONNX"),
            "error",
            "model_type: QuantONNX is not for AX620E, only for AX650 and M76H",
            "ONNX",
        ),
        (
            quant(enable_adaround=True, input_configs=[calibrated(calibration_size=128)]),
            "error",
            "quant.device: enable_adaround needs a CUDA GPU, and device is cpu",
            "cuda:0",
        ),
        (
            quant(enable_brecq=True, device="cuda:0"),
            "warning",
            "quant.input_configs[0].calibration_size: 32 samples are few",
            "128 to 512",
        ),
        (
            quant(precision_analysis_method="EndToEnd"),
            "warning",
            "quant.precision_analysis_method: it has no effect without precision_analysis",
            "remove it",
        ),
        (
            quant(smooth_quant_strength=0.6),
            "warning",
            "quant.smooth_quant_strength: it has no effect without enable_smooth_quant",
            "remove it",
        ),
        (
            quant(finetune_lr=0.1),
            "warning",
            "quant.finetune_lr: it has no effect without one of enable_adaround",
            "remove it",
        ),
        (quant(check=2), "error", "quant.check: there is no check 2", "0 to 1"),
        (config(compiler={"check": 4}), "error", "compiler.check: there is no check 4", "0 to 3"),
        (
            config(compiler={"check": 1, "check_cosine_simularity": 0.9}),
            "warning",
            "compiler.check_cosine_simularity: it has an effect with check 3 alone, and check is 1",
            "compiler.check to 3",
        ),
        (
            config(compiler={"check_mode": "CheckPerLayer"}),
            "warning",
            "compiler.check_mode: it has no effect with check 0",
            "compiler.check",
        ),
        (
            config(compiler={"static_batch_sizes": [1, 2], "max_dynamic_batch_size": 4}),
            "error",
            "compiler.max_dynamic_batch_size: static_batch_sizes and max_dynamic_batch_size exclude each other",
            "keep one",
        ),
        (config(compiler={"max_dynamic_batch_size": -1}), "error", "compiler.max_dynamic_batch_size", "0 for none"),
        (config(compiler={"static_batch_sizes": [1, 1]}), "error", "compiler.static_batch_sizes[1]: 1 is", "once"),
        (config(compiler={"static_batch_sizes": [0]}), "error", "compiler.static_batch_sizes[0]: a batch of 0", "posi"),
        (
            config(compiler={"start_tensor_names": ["a"]}),
            "error",
            "compiler.start_tensor_names: start and end belong to an entry of sub_configs",
            "move",
        ),
        (
            config(compiler={"sub_configs": [{"check": 1}]}),
            "error",
            "compiler.sub_configs[0]: a part needs start_tensor_names and end_tensor_names",
            "optimized_quant_axmodel",
        ),
        (
            config(
                compiler={
                    "sub_configs": [{"start_tensor_names": ["a"], "end_tensor_names": ["b"], "sub_configs": [{}]}]
                }
            ),
            "error",
            "compiler.sub_configs[0].sub_configs: a part has no parts",
            "beside",
        ),
        (
            config(const_processors=[{"name": "w", "data": [1], "data_path": "w.npy"}]),
            "error",
            "const_processors[0]: both data and data_path replace 'w'",
            "one of the two",
        ),
        (config(const_processors=[{"name": "w"}]), "error", "const_processors[0]: neither", "one of the two"),
        (
            config(const_processors=[{"name": "w", "data_path": "w.pkl"}]),
            "error",
            "const_processors[0].data_path: 'w.pkl' is no .bin, .npy or .txt file",
            "convert",
        ),
        (config(input_shapes="image=1x3"), "error", "input_shapes: 'image=1x3' is no name:shape", "1x3x224x224"),
        (config(input_shapes="a:1x3,b:1x3"), "error", "input_shapes: 'a:1x3,b:1x3' is no name:shape", "; between"),
        (config(input_shapes="a:1x3;a:1x4"), "error", "input_shapes: 'a' is written twice", "once"),
        (config(input_shapes="a:" + "1x" * 3000 + "1"), "error", "input_shapes: 'a:1x1x1x1x", "name:1x3x224x224"),
        (config(input_shapes="a:1x99999999999"), "error", "input_shapes: 'a:1x99999999999' is no name", "1x3x224x224"),
        (config(input_shapes=" " * 100_000), "error", "input_shapes: '    ", "name:1x3x224x224"),
        (config(input_shapes="a:1x0"), "error", "input_shapes: 'a:1x0' has a size of zero", "positive"),
        (
            quant(input_configs=[calibrated(calibration_dataset="folder/")]),
            "error",
            "quant.input_configs[0].calibration_dataset: 'folder/' is no .tar, .tar.gz, .zip file",
            "pack",
        ),
        (
            quant(input_configs=[calibrated(calibration_size=0)]),
            "error",
            "quant.input_configs[0].calibration_size: 0 samples are none",
            "-1 for all",
        ),
        (
            quant(input_configs=[{**calibrated(), "calibration_format": "NumpyObject"}]),
            "warning",
            "quant.input_configs[0].tensor_name: a NumpyObject has an entry for every input",
            "DEFAULT",
        ),
    ],
)
def test_a_broken_rule_is_the_only_finding(made, level, finding, fix):
    """Each mistake gives one finding without any model."""
    finds(made, None, level, finding, fix)


@pytest.mark.parametrize(
    ("made", "known", "level", "finding", "fix"),
    [
        (config(model_type="QuantONNX"), FACTS, "error", "model_type: the model has no QuantizeLinear", "use ONNX"),
        (config(), QDQ, "warning", "model_type: the model is quantized already", "use QuantONNX"),
        (
            config(),
            Facts({"image": (1, 3, 8, 8)}, {}, opset=9),
            "error",
            "input: the model has opset 9, the tool takes 11 and later",
            "version_converter",
        ),
        (
            config(),
            Facts({"image": (0, 3, 8, 8)}, {}),
            "error",
            "input_shapes: input 'image' has no static shape: [0, 3, 8, 8]",
            "write image:1x3x224x224",
        ),
        (config(input_shapes="image:1x3x8"), FACTS, "error", "input_shapes: [1, 3, 8] for 'image'", "4 sizes"),
        (
            config(input_shapes="image:1x3x16x16"),
            FACTS,
            "warning",
            "input_shapes: 'image' is [1, 3, 8, 8] in the model and becomes [1, 3, 16, 16]",
            "calibration data",
        ),
        (
            config(input_shapes="imgae:1x3x8x8"),
            FACTS,
            "error",
            "input_shapes: the model has no input 'imgae'",
            "did you mean 'image'?",
        ),
        (
            config(op_processors=[{"op_name": "lastt", "attrs": {}}]),
            FACTS,
            "error",
            "op_processors[0].op_name: the model has no node 'lastt'",
            "did you mean 'last'?",
        ),
        (
            config(quant_op_processors=[{"op_name": "nix", "attrs": {}}]),
            FACTS,
            "error",
            "quant_op_processors[0].op_name: the model has no node 'nix'",
            "one of",
        ),
        (
            config(const_processors=[{"name": "v", "data": [1]}]),
            FACTS,
            "error",
            "const_processors[0].name: the model has no constant 'v'",
            "w",
        ),
        (config(quant={}), FACTS, "error", "quant.input_configs: no calibration data for input 'image'", "add"),
        (
            config(input_processors=[]),
            Facts({"image": (1, 3)}, {}),
            "error",
            "quant.input_configs[0].calibration_format: Image is for inputs of four axes, 'image' has 2",
            "Numpy or Binary",
        ),
        (
            config(input_processors=[processed(tensor_format="AutoColorSpace", src_format="AutoColorSpace")]),
            Facts({"image": (1, 3, 8, 8)}, {}, dtypes={"image": "int64"}),
            "error",
            "quant.input_configs[0].calibration_format: pictures become float32, and the model's input 'image' is int6",
            "Numpy",
        ),
        (
            quant(input_configs=[{"tensor_name": "image", "calibration_dataset": "c.zip"}]),
            Facts({"image": (1, 6, 8, 8)}, {}),
            "error",
            "quant.input_configs[0].calibration_format: Image has 1 or 3 channels, 'image' [1, 6, 8, 8] has 6",
            "Numpy",
        ),
    ],
)
def test_a_contradiction_to_the_model(made, known, level, finding, fix):
    """What does not fit the model is found when it is known."""
    if known.inputs["image"][1:2] == (6,):
        made = made.model_copy(update={"input_processors": ()})
    finds(made, known, level, finding, fix)


def test_a_dynamic_model_is_mended_by_input_shapes():
    """Sizes that the model leaves open may be given."""
    assert told(config(input_shapes="image:1x3x8x8"), Facts({"image": (0, 3, 0, 0)}, {})) == []
    assert shapes_given(config(input_shapes=" image:0 : 1x3x8x8; b:2")) == {"image:0": (1, 3, 8, 8), "b": (2,)}
