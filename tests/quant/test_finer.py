"""Facts about the choice of finer ranges: multiplications go where they gain most, and no sum is half gone."""

from __future__ import annotations

import onnx.parser
import pytest
from _conflict import HEAD, network

from workbench.graph import io
from workbench.quant.cost import cost
from workbench.quant.finer import Candidates, Finer, Layer, Sum, candidates, choose
from workbench.quant.plan import Plan
from workbench.quant.sensitivity import Sensitivity
from workbench.quant.split_range import split_range
from workbench.quant.unroll_sum import unroll_sum

CHAIN = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,8,8] image) => (float[1,3,8,8] heat)
<float[3,3,1,1] w0 = {1,0,0, 0,1,0, 0,0,1}, float[3,3,1,1] w1 = {1,0,0, 0,1,0, 0,0,1},
 float[3,3,1,1] w2 = {1,0,0, 0,1,0, 0,0,1}, float[3,3,1,1] w3 = {1,0,0, 0,1,0, 0,0,1}> {
    a = Conv (image, w0)
    one = Add (a, image)
    b = Conv (one, w1)
    two = Add (b, one)
    c = Conv (two, w2)
    three = Add (c, two)
    heat = Conv (three, w3)
}"""


LAYERS = (Layer(40, "image", "a"), Layer(60, "a", "x"), Layer(50, "y", "b"), Layer(50, "b", "heat"))


def measured(**losses):
    """Sensitivities with these losses, each grid of one tensor."""
    return [Sensitivity(name, (name,), 1.0 - loss, 1.0 - loss, 0.0) for name, loss in losses.items()]


def test_a_sum_goes_only_when_the_sums_that_read_it_are_gone():
    """Of three sums in a chain the last is free to go; the first costs the convolutions of all three."""
    model = io.from_bytes(onnx.parser.parse_model(CHAIN).SerializeToString())
    found = candidates(model)
    one = 8 * 8 * 3 * 3
    assert found.sums == {
        "one": Sum(("a", "image"), ("two",)),
        "two": Sum(("b", "one"), ("three",)),
        "three": Sum(("c", "two"), ()),
    }

    chosen = choose(found, measured(one=0.2, two=0.01, three=0.01), goal=0.05, budget=100 * one)
    assert chosen.unroll == ("one", "two", "three")
    assert choose(found, measured(one=0.2, two=0.01, three=0.01), goal=0.05, budget=5 * one).unroll == ("two", "three")

    before = cost(model, Plan({}, {}, frozenset(), {})).macs
    for name in chosen.unroll:
        unroll_sum(model, name)
    assert cost(model, Plan({}, {}, frozenset(), {})).macs - before == chosen.macs


def test_a_sum_that_something_else_reads_is_no_candidate():
    """A sum in a Sigmoid stays on its grid, and with it the sum that it reads."""
    text = CHAIN.replace("heat = Conv (three, w3)", "d = Sigmoid (three)\n heat = Conv (d, w3)")
    model = io.from_bytes(onnx.parser.parse_model(text).SerializeToString())
    assert candidates(model).sums == {}


def test_the_head_can_be_split():
    """A Relu between two convolutions is a candidate; those that meet in a Concat are not."""
    model = io.from_bytes(network().SerializeToString())
    assert list(candidates(model).split) == [HEAD]


def test_parts_divide_a_loss_by_their_square():
    """The largest gain for a multiplication comes first, and what is left is told."""
    found = Candidates(("a", "b"), {}, LAYERS)
    chosen = choose(found, measured(a=0.16, b=0.04, c=0.01), goal=0.06, budget=10_000)
    assert chosen.split == {"a": 4, "b": 2}
    assert chosen.macs == 400
    assert chosen.rest == pytest.approx(0.01 + 0.01 + 0.01)


def test_a_layer_between_two_finer_tensors_costs_their_product():
    """A split behind a sum of three makes nine layers of one; the prediction is what the rewritten graph has."""
    text = CHAIN.replace("heat = Conv (three, w3)", "d = Conv (three, w3)\n e = Relu (d)\n heat = Conv (e, w4)")
    text = text.replace(" float[3,3,1,1] w3", " float[3,3,1,1] w4 = {1,0,0, 0,1,0, 0,0,1}, float[3,3,1,1] w3")
    model = io.from_bytes(onnx.parser.parse_model(text).SerializeToString())
    found = candidates(model)
    before = cost(model, Plan({}, {}, frozenset(), {})).macs
    predicted = found.macs({"e": 4}, {"two", "three"}) - found.macs({}, ())
    for name in ("two", "three"):
        unroll_sum(model, name)
    split_range(model, "e", 4, 6.0)

    assert cost(model, Plan({}, {}, frozenset(), {})).macs - before == predicted


def test_nothing_is_done_below_the_goal_or_beyond_the_budget():
    """A goal that is reached and a budget that is too small both leave everything alone."""
    found = Candidates(("a",), {}, LAYERS[:2])
    assert choose(found, measured(a=0.01), goal=0.02, budget=1000) == Finer(rest=pytest.approx(0.01))
    assert choose(found, measured(a=0.5), goal=0.02, budget=99) == Finer(rest=pytest.approx(0.5))


def test_a_second_measurement_refines_the_first_choice():
    """Losses of a graph with a split tensor belong to the parts it has, under the name that it has there."""
    found = Candidates(("a", "b"), {}, LAYERS)
    first = Finer({"a": 2}, (), 100, 0.1)
    chosen = choose(found, measured(**{"a/split": 0.2, "b": 0.01}), goal=0.05, budget=10_000, before=first)
    assert chosen.split["a"] > 2
    assert chosen.macs == 100 * sum(parts - 1 for parts in chosen.split.values())
