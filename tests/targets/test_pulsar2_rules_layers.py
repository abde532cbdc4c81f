"""Rules on mixed precision: selectors, types that are silently ignored, and a Concat that narrows a wide path."""

from __future__ import annotations

import pytest
from _build_config import FACTS, finds, layers, told

AT = "quant.layer_configs[0]"


@pytest.mark.parametrize(
    ("made", "level", "finding", "fix"),
    [
        (layers(data_type="U16"), "error", f"{AT}: no selector, an entry has exactly one", "layer_name"),
        (
            layers(layer_name="a", op_types=["Conv"]),
            "error",
            f"{AT}: 2 selectors (layer_name, op_types), an entry has exactly one",
            "write one of",
        ),
        (
            layers(start_tensor_names=["a"]),
            "error",
            f"{AT}: start_tensor_names and end_tensor_names come together",
            "both",
        ),
        (
            layers(op_types=["Add", "Conv"], data_type="FP32"),
            "error",
            f"{AT}.data_type: FP32 is silently ignored for Conv",
            "output_data_type",
        ),
        (
            layers(op_type="MaxPool", data_type="FP32"),
            "error",
            f"{AT}.data_type: FP32 is silently ignored for MaxPool",
            "LeakyRelu",
        ),
        (
            layers(op_type="Add", output_data_type="U16"),
            "error",
            f"{AT}.output_data_type: output_data_type is for Conv, Add ignores it",
            "remove",
        ),
        (
            layers(op_types=["Conv", "Gemm"], weight_data_type="FP32"),
            "error",
            f"{AT}.weight_data_type: weight_data_type is for Conv, Gemm ignores it",
            "Conv alone",
        ),
        (
            layers({"layer_names": ["a", "b"], "data_type": "U16"}, {"layer_name": "b", "data_type": "U8"}),
            "error",
            "quant.layer_configs[1]: layer 'b' is also in entry 0",
            "keep one",
        ),
        (
            layers({"op_type": "Add", "data_type": "U16"}, {"op_types": ["Add"], "data_type": "U8"}),
            "error",
            "quant.layer_configs[1]: operator type 'Add' is also in entry 0",
            "keep one",
        ),
    ],
)
def test_a_broken_rule_is_the_only_finding(made, level, finding, fix):
    """Each mistake gives one finding without any model."""
    finds(made, None, level, finding, fix)


@pytest.mark.parametrize(
    ("made", "level", "finding", "fix"),
    [
        (
            layers(layer_names=["relu", "conw"], data_type="U16"),
            "error",
            f"{AT}.layer_names[1]: the model has no node 'conw'",
            "did you mean 'conv'?",
        ),
        (
            layers(layer_name="op_17:AxAdd", data_type="U16"),
            "error",
            f"{AT}.layer_name: the model has no node 'op_17:AxAdd'",
            "frontend/optimized.onnx",
        ),
        (
            layers(layer_name="twice", data_type="U16"),
            "error",
            f"{AT}.layer_name: 2 nodes of the model are called 'twice'",
            "names of their own",
        ),
        (
            layers(layer_name="conv", data_type="FP32"),
            "error",
            f"{AT}.layer_name: FP32 is silently ignored for the Conv 'conv'",
            "output_data_type",
        ),
        (
            layers(layer_names=["relu", "shape"], data_type="FP32"),
            "error",
            f"{AT}.layer_names[1]: FP32 is silently ignored for the Reshape 'shape'",
            "only LeakyRelu",
        ),
        (
            layers(layer_name="relu", output_data_type="FP32"),
            "error",
            f"{AT}.layer_name: output_data_type is for Conv, the Relu 'relu' ignores it",
            "from this entry",
        ),
        (
            layers(start_tensor_names=["c"], end_tensor_names=["heat"], data_type="FP32"),
            "warning",
            f"{AT}.data_type: FP32 is silently ignored for Conv, Reshape in this part of the graph",
            "output_data_type",
        ),
        (
            layers(start_tensor_names=["relu"], end_tensor_names=["heat"], data_type="U16"),
            "error",
            f"{AT}.start_tensor_names[0]: the model has no tensor 'relu'",
            "that is a node: name the tensor",
        ),
        (
            layers(start_tensor_names=["image"], end_tensor_names=["hat"], data_type="U16"),
            "error",
            f"{AT}.end_tensor_names[0]: the model has no tensor 'hat'",
            "did you mean 'heat'?",
        ),
        (
            layers(op_type="conv", data_type="U16"),
            "warning",
            f"{AT}.op_type: no node of the model is a conv",
            "did you mean 'Conv'?",
        ),
        (
            layers(op_types=["Silu"], data_type="U16"),
            "warning",
            f"{AT}.op_types: no node of the model is a Silu",
            "optimizer",
        ),
    ],
)
def test_a_contradiction_to_the_model(made, level, finding, fix):
    """Names and types are looked up in the model."""
    finds(made, FACTS, level, finding, fix)


@pytest.mark.parametrize(
    "made",
    [
        layers(layer_names=["relu", "last"], data_type="U16"),
        layers({"layer_name": "relu", "data_type": "U16"}, {"op_type": "Conv", "data_type": "U16"}),
        layers({"layer_name": "conv", "output_data_type": "U16"}, {"layer_name": "last", "data_type": "U16"}),
        layers(
            {"start_tensor_names": ["DEFAULT"], "end_tensor_names": ["DEFAULT"], "data_type": "U16"},
            {"op_type": "Concat", "data_type": "U8"},
        ),
    ],
)
def test_a_concat_between_wide_layers_must_be_wide(made):
    """The path falls back to U8 there; a Reshape between them is looked through."""
    (found,) = told(made, FACTS)
    assert "the Concat 'cat' between layers at U16 is not at U16" in found[1]
    assert found[0] == "error"
    assert "add it" in found[2]


@pytest.mark.parametrize(
    "made",
    [
        layers(layer_names=["relu", "cat", "last"], data_type="U16"),
        layers(layer_names=["relu"], data_type="U16"),
        layers(layer_names=["last"], data_type="U16"),
        layers({"layer_names": ["relu", "last"], "data_type": "U16"}, {"op_type": "Concat", "data_type": "U16"}),
        layers(
            {"op_type": "Relu", "data_type": "U16"},
            {"start_tensor_names": ["r"], "end_tensor_names": ["heat"], "data_type": "U16"},
        ),
    ],
)
def test_a_wide_path_with_its_concat_is_fine(made):
    """In the list by name, by type or by part of the graph; and where only one side is wide nothing is crossed."""
    assert told(made, FACTS) == []


def test_a_name_beats_a_type_beats_a_part():
    """The Concat of a part at U16 that a type puts back to U8 is at U16 again by its name."""
    whole = {"start_tensor_names": ["DEFAULT"], "end_tensor_names": ["DEFAULT"], "data_type": "U16"}
    typed, named = {"op_type": "Concat", "data_type": "U8"}, {"layer_name": "cat", "data_type": "U16"}
    assert told(layers(named, whole, typed), FACTS) == []
