"""A verdict of rewrite is a promise: the lines that are told, run in that order, give a graph that passes."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from _operators import breaking, build
from _surgery import graph, operators, random, run
from pydantic import TypeAdapter

from workbench import catalog
from workbench.graph import io, shapes
from workbench.targets.pulsar2 import operators as tables
from workbench.targets.pulsar2 import remedies
from workbench.targets.pulsar2.lint import lint
from workbench.targets.pulsar2.remedies import treat

CHIPS = ("AX650", "AX620E", "AX615", "AX637", "M57")
BREAKABLE = [
    pytest.param(chip, op_type, limit, id=f"{chip}-{op_type}-{limit.name}")
    for chip in CHIPS
    for op_type, entries in tables.table(chip).operators.items()
    for limit in entries
    if breaking(op_type, limit) is not None
]
# What a pass mends in the smallest graph that breaks it; everything else in the tables stays blocked.
MENDED = {
    ("AveragePool", "auto_pad"): "explicit_padding",
    ("AveragePool", "count_include_pad"): "average_pool_padding",
    ("Conv", "auto_pad"): "explicit_padding",
    ("ConvTranspose", "auto_pad"): "explicit_padding",
    ("ConvTranspose", "dilations"): "conv_transpose_limits",
    ("ConvTranspose", "output_padding"): "conv_transpose_limits",
    ("ConvTranspose", "output_shape"): "conv_transpose_limits",
    ("DepthToSpace", "mode"): "depth_to_space",
    ("Gather", "indices"): "flat_gather",
    ("Gemm", "alpha"): "fold_gemm_scale",
    ("Gemm", "beta"): "fold_gemm_scale",
    ("LayerNormalization", "axis"): "layer_norm_axis",
    ("LpNormalization", "axis"): "replace_missing: {operators: [LpNormalization]}",
    ("MaxPool", "auto_pad"): "explicit_padding",
    ("MaxPool", "dilations"): "max_pool_dilation",
    ("PRelu", "slope"): "prelu_slope",
    ("Pad", "axes"): "pad_every_axis",
    ("Resize", "mode"): "resize_cubic",
    ("Resize", "nearest_mode"): "resize_nearest",
}


def passes_of(lines):
    """The passes of surgery lines, read as a recipe's are."""
    found = []
    for (entry,) in (yaml.safe_load(line) for line in lines):
        name, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        found.append(TypeAdapter(catalog.load("pass", name).PASS).validate_python(options))
    return found


def feeds_of(model):
    """Numbers for every input."""
    return {
        str(value.name): random(*(int(size) for size in value.shape), seed=index)
        for index, value in enumerate(model.graph.inputs)
    }


@pytest.mark.parametrize(("chip", "op_type", "limit"), BREAKABLE)
def test_what_is_mended_and_what_is_not(chip, op_type, limit):
    """Each limit by itself: the pass that mends it, told only where the mended graph passes; or blocked."""
    model = build(op_type, breaking(op_type, limit))
    before = io.to_bytes(model)
    treated = treat(model, chip)
    (found,) = [one for one in treated.before.findings if one.attribute == limit.name]
    expected = MENDED.get((op_type, limit.name))

    assert io.to_bytes(model) == before
    if expected is None:
        assert (found.verdict, found.passes) == ("blocked", ())
        return
    assert (found.verdict, found.passes) == ("rewrite", (f"- {expected}",))
    assert treated.after.of("blocked") == ()
    again = build(op_type, breaking(op_type, limit))
    for step in passes_of(treated.before.passes):
        step(again)
    assert lint(again, chip).of("blocked") == ()
    feeds = feeds_of(model)
    old, new = run(model, feeds), run(treated.model, feeds)
    for name, values in old.items():
        np.testing.assert_allclose(new[name], values, rtol=2e-5, atol=2e-5)


OFFERED = sorted({name for offers in remedies.OFFERS.values() for offer in offers for name, _ in offer})


@pytest.mark.parametrize("name", OFFERED)
def test_every_offer_is_a_pass(name):
    """The table of offers names passes that exist and that need no options."""
    assert remedies._step(name, {}) is not None


@pytest.mark.parametrize(
    ("chip", "text", "expected"),
    [
        ("AX650", "Selu(x)", "decompose_activations: {operators: [Selu]}"),
        ("AX650", "Celu(x)", "decompose_activations: {operators: [Celu]}"),
        ("AX650", "Softsign(x)", "decompose_activations: {operators: [Softsign]}"),
        ("AX650", "LRN<size = 3>(x)", "decompose_lrn"),
        ("AX650", "Mod<fmod = 1>(x, two)", "decompose_mod"),
        ("AX650", "Elu(x)", "explicit_attributes: {operators: [Elu]}"),
        ("AX615", "Pow(x, halves)", "expand_pow"),
        ("AX650", "Neg(x)", "replace_missing: {operators: [Neg]}"),
        ("AX650", "Reciprocal(x)", "replace_missing: {operators: [Reciprocal]}"),
        ("AX620E", "Floor(x)", "replace_missing: {operators: [Floor]}"),
    ],
)
def test_operators_that_a_chip_lacks(chip, text, expected):
    """They are spelled out in what it has, and the numbers stay."""
    model = graph(
        f"(float[1,4,8,8] x) => (float[1,4,8,8] y) {{ y = {text} }}",
        two=np.float32(2),
        halves=np.full((1, 4, 1, 1), 2, np.float32),
    )
    treated = treat(model, chip)

    assert treated.before.passes == (f"- {expected}",), treated.before
    assert treated.after.findings == ()
    feeds = feeds_of(model)
    np.testing.assert_allclose(run(treated.model, feeds)["y"], run(model, feeds)["y"], rtol=2e-5, atol=2e-5)


def test_raw_boxes_and_probabilities_get_outputs_of_their_own():
    """The output that joins them is taken apart; the account tells the host how to join it again."""
    text = """(float[1,4,8,8] x) => (float[1,8,8,8] det) {
        boxes = Conv(x, w) scores = Conv(x, w) likely = Sigmoid(scores) det = Concat<axis = 1>(boxes, likely)
    }"""
    treated = treat(graph(text, w=random(4, 4, 1, 1)), "AX650")

    assert [(one.attribute, one.verdict) for one in treated.before.findings] == [("ranges", "rewrite")]
    assert treated.before.passes == ("- split_outputs",)
    assert [value.name for value in treated.model.graph.outputs] == ["boxes", "likely"]
    assert treated.after.findings == ()


@pytest.mark.parametrize("node", ["Mul(a, one)", "Div(a, one)"])
def test_times_one_is_taken_out(node):
    """Before an output and inside; what made the operand takes the output's name."""
    model = graph(f"(float[4] x) => (float[4] y) {{ a = Relu(x) y = {node} }}", one=np.float32(1))
    treated = treat(model, "AX650")

    assert treated.before.passes == ("- remove_identity_arithmetic",)
    assert operators(treated.model) == ["Relu"]
    assert [value.name for value in treated.model.graph.outputs] == ["y"]


def test_index_arithmetic_becomes_int32():
    """What is computed from ArgMax is narrowed behind it: no int64 but the one ONNX prescribes."""
    text = """(float[1,8] x, float[9,4] table) => (float[1,4] y) {
        best = ArgMax<axis = 1, keepdims = 0>(x)
        next = Add(best, one)
        last = Sub(next, one)
        y = Gather<axis = 0>(table, last)
    }"""
    model = graph(text, one=np.array([1], np.int64))
    treated = treat(model, "AX650")

    assert [(one.node, one.found, one.passes) for one in treated.before.findings] == [
        ("next", "'next' is int64", ("- narrow_indices",))
    ]
    assert treated.after.findings == ()
    feeds = feeds_of(model)
    np.testing.assert_array_equal(run(treated.model, feeds)["y"], run(model, feeds)["y"])


def test_a_cast_to_int64_becomes_one_to_int32():
    """The page's list of types has no int64."""
    text = """(float[1,4] x, float[9,4] table) => (float[4,4] y) {
        wide = Cast<to = 7>(x) row = Reshape(wide, m) y = Gather<axis = 0>(table, row)
    }"""
    treated = treat(graph(text, m=np.array([-1], np.int64)), "AX650")

    assert [(one.operator, one.passes) for one in treated.before.findings] == [("Cast", ("- narrow_indices",))]
    assert treated.after.findings == ()


def test_group_normalization_where_it_is_missing():
    """AX650 has it, AX620E has not."""
    assert treat(build("GroupNormalization"), "AX650").before.findings == ()
    treated = treat(build("GroupNormalization"), "AX620E")

    assert treated.before.passes == ("- decompose_group_norm",)
    assert treated.after.findings == ()


def test_passes_follow_each_other():
    """A pool that pads by rule and does not count it needs two passes; each finding is told the one that mended it."""
    text = """(float[1,3,9,9] x) => (float[1,3,9,9] y) {
        y = AveragePool<kernel_shape = [3,3], auto_pad = "SAME_UPPER">(x)
    }"""
    treated = treat(graph(text), "AX650")

    assert {one.attribute: one.passes for one in treated.before.findings} == {
        "auto_pad": ("- explicit_padding",),
        "count_include_pad": ("- average_pool_padding",),
    }
    assert treated.after.of("blocked") == ()


def test_a_pass_that_blocks_something_else_is_not_offered(monkeypatch):
    """A rewrite into an operator that the chip lacks, too, is no rewrite."""
    offers = {("Sinh", "operator"): ((("max_pool_dilation", {}),), (("explicit_padding", {}),))}
    monkeypatch.setattr(remedies, "OFFERS", offers)
    treated = treat(graph("(float[4] x) => (float[4] y) { y = Sinh(x) }"), "AX650")

    assert treated.remedies == ()
    assert treated.before.of("blocked") == treated.before.findings


def test_what_nothing_reads_needs_no_chip():
    """A blocked node that no output depends on is taken out."""
    treated = treat(graph("(float[4] x) => (float[4] y) { lost = Sinh(x) y = Relu(x) }"), "AX650")

    assert treated.before.passes == ("- remove_dead_outputs",)
    assert operators(treated.model) == ["Relu"]


def test_a_graph_that_needs_nothing_is_the_same_object():
    """No copy, no pass."""
    model = graph("(float[4] x) => (float[4] y) { y = Relu(x) }")
    treated = treat(model, "AX650")

    assert treated.model is model
    assert treated.before is treated.after


def test_a_file_without_output_shapes_is_mended_too():
    """Passes want every output's shape written: it is inferred first, in the copy."""
    model = graph(
        '(float[1,1,8,8] x) => (float[1,1,8,8] y) { y = Conv<auto_pad = "SAME_UPPER">(x, w) }', w=random(1, 1, 3, 3)
    )
    model.graph.outputs[0].shape = None
    treated = treat(model, "AX650")

    assert treated.before.passes == ("- explicit_padding",)
    assert model.graph.outputs[0].shape is None
    assert shapes.infer(treated.model)["y"] == (1, 1, 8, 8)


def test_many_nodes_of_a_kind_cost_one_pass():
    """Three hundred blocked nodes are tried once, not three hundred times."""
    nodes = " ".join(f"a{i + 1} = Sinh(a{i})" for i in range(300))
    text = f"(float[4] a0) => (float[4] y) {{ {nodes} y = Elu(a300) }}"
    treated = treat(graph(text), "AX650")

    assert len(treated.before.of("blocked")) == 300
    assert [remedy.name for remedy in treated.remedies] == ["explicit_attributes"]
    assert operators(treated.model)[-1] == "Elu"


def test_operators_that_are_not_written_out_share_one_line():
    """Elu and LeakyRelu without their alpha are one line of the recipe's surgery."""
    treated = treat(graph("(float[1,4] x) => (float[1,4] y) { a = Elu(x) y = LeakyRelu(a) }"), "AX650")
    assert treated.before.passes == ("- explicit_attributes: {operators: [Elu, LeakyRelu]}",)
    assert not treated.after.findings
