"""What a correct BuildConfig may say, what the rules know of a model, and that each rule states itself."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from _build_config import FACTS, calibrated, config, layers, processed, quant, told
from onnx import TensorProto, helper

from workbench.errors import ToolError
from workbench.targets.pulsar2.facts import Facts, NodeFact, facts
from workbench.targets.pulsar2.rules import MODEL_RULES, RULES


@pytest.mark.parametrize(
    "made",
    [
        config(),
        layers(op_types=["Relu", "Concat"], data_type="FP32"),
        layers(op_type="Conv", output_data_type="FP32"),
        layers(op_type="Conv", weight_data_type="FP32"),
        layers(start_tensor_names=["DEFAULT"], end_tensor_names=["DEFAULT"], data_type="U16"),
        layers({"layer_name": "relu", "data_type": "U16"}, {"op_type": "Relu", "data_type": "U8"}),
        config(target_hardware="M76H", npu_mode="NPU3"),
        config(target_hardware="AX8860", npu_mode="NPU4"),
        quant(input_configs=[calibrated(tensor_name="DEFAULT", calibration_dataset="c.tar.gz")]),
        quant(enable_lsq=True, device="cuda:3", input_configs=[calibrated(calibration_size=-1)]),
        quant(precision_analysis=True, precision_analysis_method="EndToEnd", precision_analysis_mode="NPUBackend"),
        quant(refine_weight_threshold=-1),
        config(input_processors=[processed(src_format="YUV420SP", csc_mode="FullRange", src_layout="NHWC")]),
        config(input_processors=[processed(src_format="YVU420SP", csc_mode="Matrix", csc_mat=[1.1] * 12)]),
        config(input_processors=[processed(mean=[1, 2, 3], std=[255] * 3)]),
        config(input_processors=[processed(src_dtype="FP32", mean=[0] * 3, std=[1] * 3)]),
        config(output_processors=[{"tensor_name": "heat", "dst_perm": [0, 2, 3, 1], "output_dtype": "U8"}]),
        config(output_processors=[{"tensor_name": "DEFAULT", "dst_perm": [0, 2, 3, 1]}]),
        config(input_shapes="image:1x3x8x8"),
        config(compiler={"static_batch_sizes": [1, 2, 4], "check": 3, "check_cosine_simularity": 0.9}),
        config(compiler={"sub_configs": [{"start_tensor_names": ["op_1:x"], "end_tensor_names": ["op_2:x"]}]}),
        config(const_processors=[{"name": "w", "data_path": "w.npy"}]),
        config(op_processors=[{"op_name": "last", "attrs": {"ceil_mode": 1}}]),
    ],
)
def test_what_is_allowed_is_not_complained_about(made):
    """Legal wishes, many of them the vendor's own examples, give no finding."""
    assert told(made, FACTS) == []


def test_a_quantized_model_needs_no_calibration_data():
    """QuantONNX brings its ranges along."""
    qdq = Facts({"image": (1, 3, 8, 8)}, {}, nodes=(NodeFact("q", "QuantizeLinear", ("image",), ("x",)),), opset=13)
    assert told(config(model_type="QuantONNX", quant={}), qdq) == []


@pytest.mark.parametrize("rule", [*RULES, *MODEL_RULES], ids=lambda rule: rule.__name__)
def test_every_rule_is_a_sentence(rule):
    """What a rule asks for stands in its docstring."""
    assert (rule.__doc__ or "").endswith(".")


def test_facts_are_read_from_the_graph(tmp_path):
    """Initializers that are listed as inputs are none, a size that is not static is 0, Constant nodes are constants."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "n"])
    w = helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    weight = onnx.numpy_helper.from_array(np.ones(1, np.float32), "w")
    held = helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.ones((2, 1), np.int64)))
    nodes = [held, helper.make_node("Mul", ["x", "w"], ["m"], "mul"), helper.make_node("Reshape", ["m", "c"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x, w], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)]), tmp_path / "m.onnx")

    found = facts(tmp_path / "m.onnx")

    assert found == Facts(
        {"x": (1, 0)},
        {"y": (1, 4)},
        nodes=(NodeFact("mul", "Mul", ("x",), ("m",)), NodeFact("", "Reshape", ("m",), ("y",))),
        dtypes={"x": "float32"},
        constants={"w": (1,), "c": (2, 1)},
        opset=9,
    )
    assert found.tensors == {"x", "m", "y"}
    assert not found.quantized


def test_what_is_no_model(tmp_path):
    """A damaged file and a compiled one are refused."""
    (tmp_path / "bad.onnx").write_bytes(b"no")
    with pytest.raises(ToolError, match="not an ONNX file"):
        facts(tmp_path / "bad.onnx")
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("neu mode", [], ["y"])], "g", [], [y])
    onnx.save(helper.make_model(graph), tmp_path / "c.axmodel")
    with pytest.raises(ToolError, match="compiled already"):
        facts(tmp_path / "c.axmodel")


def test_thousands_of_mistakes_of_one_kind_are_cut():
    """Fifty of a rule are told, the last with a word on the others."""
    found = told(layers(layer_names=[f"gone{index}" for index in range(10_000)], data_type="U16"), FACTS)
    assert len(found) == 50
    assert found[0][1].endswith("the model has no node 'gone0'")
    assert found[-1][1].endswith("'gone49'; there may be more of this kind")
