"""What a recipe may say to the Pulsar2 target."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from workbench.targets.pulsar2 import Options


def test_the_default_is_one_chip_with_8_bit_input():
    """Nothing has to be said."""
    options = Options()
    assert (options.chips, options.npu_mode, options.input) == (("AX650",), "NPU1", "u8")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"chips": ["AX65O"]}, r"no chip called 'AX65O' \(did you mean 'AX650'\?\)"),
        ({"chips": []}, "at least 1 item"),
        ({"chips": ["AX650", "AX650"]}, "chip AX650 is listed twice"),
        ({"chips": ["AX650", "AX630C"], "npu_mode": "NPU3"}, r"AX630C has no NPU3 \(use NPU1 or NPU2\)"),
        ({"chip": "AX650"}, "Extra inputs"),
        ({"input": "int8"}, "'u8', 'fp32', 'nv12' or 'nv21'"),
        ({"inputs": {"image": "yuv"}}, "'u8', 'fp32', 'nv12' or 'nv21'"),
        ({"csc": "bt709"}, "'full' or 'limited'"),
        ({"model": "qdq", "chips": ["AX620E"]}, r"AX620E takes no QDQ model, only AX650 and M76H do \(use float"),
        ({"precision_analysis_mode": "Reference"}, r"no analysis to do so \(set precision_analysis: true\)"),
        ({"precision_analysis": True, "precision_analysis_method": "PerNode"}, "'PerLayer' or 'EndToEnd'"),
        ({"batch_sizes": [1, 2, 1]}, "1 is listed twice"),
        ({"batch_sizes": [0]}, "greater than or equal to 1"),
        ({"npu_perf": "maybe"}, "boolean"),
        ({"timeout_minutes": 0}, "greater than 0"),
    ],
)
def test_mistakes_are_told(said, message):
    """Wrong options say what is wrong and what would be right."""
    with pytest.raises(ValidationError, match=message):
        Options.model_validate(said)


def test_each_input_may_be_fed_in_its_own_way():
    """One kind for all, and another for an input by name."""
    options = Options.model_validate({"input": "nv12", "inputs": {"depth": "fp32"}})
    assert (options.kind("image"), options.kind("depth")) == ("nv12", "fp32")


def test_every_option_says_what_it_is_for():
    """Help and schema are made of the descriptions."""
    for name, option in Options.model_json_schema()["properties"].items():
        assert len(option["description"]) > 15, name


def test_editors_can_complete_chips():
    """The JSON Schema lists every chip and alias."""
    names = Options.model_json_schema()["properties"]["chips"]["items"]["enum"]
    assert {"AX650", "AX630C", "M57"} <= set(names)
