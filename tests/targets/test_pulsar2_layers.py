"""Facts about the layers that Pulsar2 is told to compute at 16 bits, and about reading what it did."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from workbench.targets.pulsar2 import layers

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
