"""What Pulsar2's list of widths says of the tensors that were to have 16 bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.errors import ToolError
from workbench.targets.pulsar2.results import widths
from workbench.targets.pulsar2.results.widths import Effect

BOTH = {"a": {"bit_width": 16}, "b": {"bit_width": 16, "state": "OVERLAPPED"}, "w": {"bit_width": 8}}


def found(folder: Path, content: object) -> Effect:
    """What became of tensors a and b."""
    path = folder / "quant_axmodel.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return widths.effect(path, ("a", "b"))


@pytest.mark.parametrize("section", ["", "tensor_configs", "configs"])
def test_tensors_at_16_bits_leave_no_doubt(tmp_path, section):
    """Every layer that knows a tensor knows it with 16 bits, wherever the file has its layers."""
    layers = {"Add_26": BOTH, "Conv_3": {"a": {"bit_width": 16}}}
    told = found(tmp_path, {"quant_config": {}, section: layers, "values": {}} if section else layers)
    assert told == Effect({}, {}, ())
    assert widths.doubts(told, ("a", "b"), "AX650") == []
    widths.enforce(told, ("a", "b"), "AX650", tmp_path)


def test_a_tensor_left_at_8_bits_is_an_error(tmp_path):
    """A tensor that every layer knows with 8 bits had no effect, for certain: tensor and layer are named."""
    told = found(tmp_path, {"Add": {"a": {"bit_width": 16}, "b": {"bit_width": 8}}, "Conv": {"b": {"bit_width": 8}}})
    assert told == Effect({"b": "Add"}, {}, ())
    with pytest.raises(
        ToolError, match=r"AX650: 1 \('b' in layer 'Add'\) of the 2 tensors asked for .* stayed at 8"
    ) as caught:
        widths.enforce(told, ("a", "b"), "AX650", tmp_path)
    assert "take these out of quantization.u16" in caught.value.fix


def test_what_is_not_certain_is_told(tmp_path):
    """A tensor that some layer reads at 8 bits, and one that no layer lists, are warnings."""
    told = found(tmp_path, {"Add": {"a": {"bit_width": 16}}, "Conv": {"a": {"bit_width": 8}}})
    widths.enforce(told, ("a", "b"), "AX650", tmp_path)
    assert widths.doubts(told, ("a", "b"), "AX650") == [
        "AX650: 1 ('a' in layer 'Conv') of the 2 tensors asked for at 16 bits are read at 8",
        "AX650: 1 ('b') of the 2 tensors asked for at 16 bits are not in quant/quant_axmodel.json",
    ]


@pytest.mark.parametrize("content", ["{", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "[" * 100_000])
def test_a_file_that_is_no_json_is_an_error(tmp_path, content):
    """What cannot be read cannot be checked, and nothing ends in a traceback."""
    with pytest.raises(ToolError, match="not JSON"):
        found(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [[], {"a": 1}, {"op": {"a": 16, "b": {"bit_width": "16"}}}, "null", {"tensor_configs": [], "op": {"a": []}}],
)
def test_another_shape_of_json_knows_no_tensor(tmp_path, content):
    """Layers and tensors that are not where they were are told as missing."""
    assert found(tmp_path, content) == Effect({}, {}, ("a", "b"))


def test_a_missing_file_is_an_error(tmp_path):
    """No list, and a link in its place, are told."""
    with pytest.raises(ToolError, match="no such plain file"):
        widths.effect(tmp_path / "no.json", ("a",))
    (tmp_path / "link.json").symlink_to("/etc/hostname")
    with pytest.raises(ToolError, match="no such plain file"):
        widths.effect(tmp_path / "link.json", ("a",))
