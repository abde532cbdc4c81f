"""Facts about the layers that Pulsar2 is told to compute at 16 bits, and about reading what it did."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from workbench.targets.pulsar2 import layers, widths

STAGE = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,2,4,4] y, float[1,8,2,2] z) {
    [first] c = Conv (x, w)
    [relu] r = Relu (c)
    [second] d = Conv (r, w)
    [third] e = Conv (r, w)
    [meet] k = Concat <axis = 1> (d, e)
    [pool] p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (k)
    [again] z = Concat <axis = 1> (p, p)
    [sum] s = Add (d, e)
    [keep] i = Identity (s)
    [flat] f = Reshape (i, shape)
    [last] y = Sigmoid (f)
}"""


@pytest.fixture
def model():
    """Convolutions that meet in a Concat, and what is moved from it."""
    proto = onnx.parser.parse_model(STAGE)
    weight = np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)
    shape = np.array([1, 2, 4, 4], np.int64)
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(data, name) for name, data in (("w", weight), ("shape", shape))
    )
    return ir.serde.deserialize_model(proto)


def told(model, *u16):
    """Per entry its types and its layers."""
    return {
        (entry.data_type, entry.output_data_type if "output_data_type" in entry.model_fields_set else ""): list(
            entry.layer_names
        )
        for entry in layers.layer_configs(model, u16)
    }


def test_makers_movers_and_readers_are_named(model):
    """A path at 16 bits lists the layers that make it, the Concats and the pool it crosses, and those that read it."""
    assert told(model, "d", "e", "k", "p", "z") == {
        ("U16", ""): ["meet", "pool", "again", "sum"],
        ("U8", "U16"): ["second", "third"],
    }


def test_a_convolution_between_two_is_16_bits_on_both_sides(model):
    """One that reads and makes 16 bits says both; its Relu belongs to it, by its own name."""
    assert told(model, "x", "r") == {("U16", ""): ["relu", "second", "third"], ("U16", "U16"): ["first"]}


def test_an_output_needs_only_its_maker(model):
    """Nothing reads an output of the network."""
    assert told(model, "y") == {("U16", ""): ["last"]}


def test_nothing_asked_for_is_nothing_told(model):
    """Without tensors at 16 bits there is no entry."""
    assert layers.layer_configs(model, ()) == ()


def test_the_notes_say_what_may_come_otherwise(model):
    """Layers computed inside others, moved data, removed layers and operators nobody has seen at U16 are told apart."""
    u16 = ("r", "s", "i", "f", "p")
    text = layers.notes(model, u16, layers.layer_configs(model, u16))
    assert text.startswith("config.json puts ")
    assert all(f"  {name}\n" in text for name in u16)
    parts = dict(part.split(":\n", 1) for part in text.split("\n\n") if ":\n  " in part)
    found = {why.split()[0]: lines.strip().split("\n  ") for why, lines in parts.items()}
    assert found["Computed"] == ["Relu 'relu'"]
    assert found["Only"] == ["Reshape 'flat'"]
    assert found["Probably"] == ["Identity 'keep'"]
    assert found["No"] == ["MaxPool 'pool'"]
    assert "quant_axmodel.json" in text


def test_an_input_at_16_bits_is_told(model):
    """Of a graph input no layer can say how many bits it has."""
    assert "No layer makes x" in layers.notes(model, ("x",), layers.layer_configs(model, ("x",)))


def widths_of(folder, content):
    """What is said of tensors a and b."""
    path = folder / "quant_axmodel.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return widths.doubts(path, ("a", "b"), "AX650")


def test_tensors_at_16_bits_leave_no_doubt(tmp_path):
    """Every layer that knows a tensor knows it with 16 bits."""
    both = {"a": {"bit_width": 16}, "b": {"bit_width": 16, "state": "OVERLAPPED"}, "w": {"bit_width": 8}}
    assert widths_of(tmp_path, {"Add_26": both, "Conv_3": {"a": {"bit_width": 16}}}) == []


def test_tensors_left_at_8_bits_are_told(tmp_path):
    """A tensor that one layer knows with 8 bits stayed there; one that no layer knows was renamed."""
    assert widths_of(tmp_path, {"Add": {"a": {"bit_width": 16}}, "Conv": {"a": {"bit_width": 8}}}) == [
        "AX650: 1 ('a') of the 2 tensors asked for at 16 bits stayed at 8",
        "AX650: 1 ('b') of the 2 tensors asked for at 16 bits are not in quant/quant_axmodel.json",
    ]


@pytest.mark.parametrize("content", ["{", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "[" * 100_000])
def test_a_file_that_is_no_json_is_a_sentence(tmp_path, content):
    """What cannot be read cannot be checked, and nothing ends in a traceback."""
    assert widths_of(tmp_path, content) == [
        "AX650: cannot see which tensors have 16 bits: quant/quant_axmodel.json is not JSON"
    ]


@pytest.mark.parametrize("content", [[], {"a": 1}, {"op": {"a": 16, "b": {"bit_width": "16"}}}, "null"])
def test_another_shape_of_json_knows_no_tensor(tmp_path, content):
    """Layers and tensors that are not where they were are told as missing."""
    (found,) = widths_of(tmp_path, content)
    assert found.startswith("AX650: 2 ('a', 'b') of the 2 tensors")


def test_a_missing_file_is_a_sentence(tmp_path):
    """A tool that writes no list of widths is no error of the conversion."""
    (found,) = widths.doubts(tmp_path / "no.json", ("a",), "AX650")
    assert "No such file" in found
    (tmp_path / "link.json").symlink_to("/etc/hostname")
    (found,) = widths.doubts(tmp_path / "link.json", ("a",), "AX650")
    assert "no plain file" in found
