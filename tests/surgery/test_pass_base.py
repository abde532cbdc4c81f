"""The contract that the base class enforces, whatever a pass does."""

import re
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, node, random

from workbench.errors import RecipeError, UnsupportedError
from workbench.graph import io
from workbench.surgery._pass import Edits, Pass, as_yaml, near
from workbench.surgery.cut_outputs import CutOutputs
from workbench.surgery.static_batch import StaticBatch

RELU = "(float[1,2,3,3] x) => (float[1,2,3,3] y) { a = Relu(x) y = Neg(a) }"


@dataclass(frozen=True, kw_only=True)
class Rogue(Pass):
    """Do to the graph what the test wants."""

    deed: str

    @classmethod
    def example(cls):
        """Not needed here."""
        return cls(deed=""), graph(RELU)

    def apply(self, model):
        """Break one promise."""
        neg = node(model, "y")
        if self.deed == "silent change":
            neg.op_type = "Abs"
            return Edits()
        if self.deed == "lost output":
            model.graph.outputs[0].name = "other"
        if self.deed == "lost input":
            model.graph.inputs[0].name = "other"
        if self.deed == "dangling":
            model.graph.remove(node(model, "a"))
        if self.deed == "wrong shape":
            model.graph.outputs[0].shape = ir.Shape([1, 7, 3, 3])
        if self.deed == "no such operator":
            neg.op_type = "Nagate"
        return Edits(changed=("Neg -> 'y': broken",))


@pytest.mark.parametrize(
    ("deed", "complaint"),
    [
        ("silent change", "changed the graph and did not say so"),
        ("lost output", r"turned the outputs \('y',\) into \('other',\)"),
        ("lost input", r"turned the inputs \('x',\) into \('other',\)"),
        ("dangling", "left a broken graph"),
        ("wrong shape", "left a broken graph"),
        ("no such operator", "left a broken graph"),
    ],
)
def test_a_pass_that_breaks_its_promise_is_our_bug(deed, complaint):
    """What a pass does is checked, not believed; the complaint is no user error."""
    with pytest.raises(RuntimeError, match=complaint):
        Rogue(deed=deed)(graph(RELU))


def test_removed_tensors_are_found_by_comparing():
    """The base class lists the tensors that are gone; constants are not tensors of the network."""
    model = graph(
        "(float[1,2,3,3] x) => (float[1,2,3,3] y) { a = Relu(x) c = Constant<value_float=2.0>() y = Mul(a, c) }"
    )
    edits = CutOutputs(tensors=("a",))(model)
    assert edits.removed == ("y",)


def test_edits_are_true_when_something_changed():
    """A line of what was left alone is no change."""
    assert not Edits(left=("Relu 'r': a reason",))
    assert Edits(changed=("Relu 'r': removed",))


def test_an_invalid_graph_is_refused_before_anything_happens():
    """A graph that ONNX's checker rejects is the file's fault, and the message is ONNX's."""
    model = graph("(float[1,2,3,3] x) => (float[1,2,3,3] y) { y = Reluu(x) }")
    with pytest.raises(UnsupportedError, match="not a valid ONNX graph: No Op registered for Reluu"):
        StaticBatch()(model)


def test_contradicting_shapes_are_refused():
    """An output declared with another shape than its node makes is the file's fault."""
    model = graph("(float[1,2,3,3] x) => (float[1,9,3,3] y) { y = Relu(x) }")
    with pytest.raises(UnsupportedError, match="the shapes of the graph contradict each other"):
        StaticBatch()(model)


def test_an_old_operator_set_is_refused():
    """Before opset 13 passes would have to look for options in other places."""
    with pytest.raises(UnsupportedError, match="operator set 11 is too old") as caught:
        StaticBatch()(graph(RELU, opset=11))
    assert "opset 17" in caught.value.fix


def test_local_functions_are_refused():
    """A graph that calls functions of its own hides nodes from a pass."""
    text = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
    caller (float[1,2] x) => (float[1,2] y) { y = local.twice(x) }
    <domain: "local", opset_import: ["": 17]> twice (a) => (b) { b = Add(a, a) }"""
    with pytest.raises(UnsupportedError, match=r"local functions \(twice\)"):
        StaticBatch()(ir.from_onnx_text(text))


def test_a_subgraph_that_passes_an_outer_tensor_through_is_refused():
    """ONNX wants a subgraph to make what it returns; who reads such a tensor could not be followed."""
    model = graph(
        """(float[1,2] x, bool flag) => (float[1,2] y) {
            a = Relu(x)
            y = If(flag) <then_branch = t () => (float[1,2] u) { u = Neg(a) },
                          else_branch = e () => (float[1,2] w) { w = Abs(a) }>
        }"""
    )
    inner = node(model, "y").attributes["then_branch"].as_graph()
    inner.outputs[0] = node(model, "a").outputs[0]
    with pytest.raises(UnsupportedError, match="Graph output 'a' is not an output of any node"):
        StaticBatch(batch=2)(model)


def test_only_options_that_differ_are_written():
    """A default needs no mention in a recipe."""
    assert as_yaml(StaticBatch()) == "- static_batch"
    assert as_yaml(StaticBatch(batch=4)) == "- static_batch: {batch: 4}"


def test_names_from_hostile_graphs_stay_yaml():
    """A tensor name that is YAML syntax is quoted in the example line."""
    assert as_yaml(CutOutputs(tensors=("a: b, [c]", "on"))) == "- cut_outputs: {tensors: ['a: b, [c]', 'on']}"


def test_a_near_miss_is_named_and_a_wall_of_names_is_not():
    """Of hundreds of tensors only the near one is worth a line."""
    many = {f"tensor_{number}": None for number in range(300)}
    assert near("tensor_7x", many).startswith("did you mean 'tensor_7")
    assert near("qqqqqq", many) == "none of the 300 names is near; look at the exported ONNX in a viewer"
    assert near("qqqqqq", {"heat": None}) == "one of: heat"


def test_weights_are_not_copied_for_the_checks():
    """A network of many megabytes is checked without its weights, which keep their identity."""
    weight = random(64, 64, 3, 3)
    model = graph("(float[1,64,4,4] x) => (float[1,64,4,4] y) { y = Conv<pads = [1,1,1,1]>(x, w) }", w=weight)
    tensor = model.graph.initializers["w"].const_value
    before = io.to_bytes(model)
    StaticBatch()(model)
    assert model.graph.initializers["w"].const_value is tensor
    assert io.to_bytes(model) == before
    np.testing.assert_array_equal(tensor.numpy(), weight)


def test_a_recipe_error_knows_its_option():
    """The option's path inside the pass goes with the error, for the line in the recipe."""
    with pytest.raises(RecipeError, match=re.escape("no tensor called 'aa'")) as caught:
        CutOutputs(tensors=("y", "aa"))(graph(RELU))
    assert caught.value.at == ("tensors", 1)
    assert caught.value.fix == "did you mean 'a'?"


def test_a_nan_in_the_file_is_no_change():
    """A constant that is not a number equals itself, bit for bit."""
    model = graph("(float[1] x) => (float[1] y) { c = Constant<value_float = 1.0>() y = Add(x, c) }")
    node(model, "c").attributes["value_float"] = ir.AttrFloat32("value_float", float("nan"))
    assert not StaticBatch()(model)
