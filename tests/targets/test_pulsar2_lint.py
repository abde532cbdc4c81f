"""Every limit of every table, kept and broken; and what else stands between a graph and a chip."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from _operators import Run, Spec, breaking, build
from _surgery import graph
from onnx import TensorProto

from workbench.errors import RecipeError, UnsupportedError
from workbench.graph import io
from workbench.targets.pulsar2 import limits, operators
from workbench.targets.pulsar2.lint import lint
from workbench.targets.pulsar2.operators import Limit, Rule

CHIPS = ("AX650", "AX620E", "AX615", "AX637", "M57")
LIMITS = [
    pytest.param(chip, op_type, limit, id=f"{chip}-{op_type}-{limit.name or 'node'}-{limit.rule.word}")
    for chip in CHIPS
    for op_type, entries in operators.table(chip).operators.items()
    for limit in entries
]
BREAKABLE = [one for one in LIMITS if one.values[2].rule.word not in ("unlimited", "information", "by_hand")]


def alarms(findings):
    """What is not fine, as (operator, attribute, verdict)."""
    return [(one.operator, one.attribute, one.verdict) for one in findings]


def only(text, chip="AX650", opset=17, **weights):
    """The only finding of a graph in text form."""
    (found,) = lint(graph(text, opset, **weights), chip).findings
    return found


@pytest.mark.parametrize("chip", CHIPS)
def test_every_operator_of_the_table_is_fine_when_its_limits_are_kept(chip):
    """The smallest graph of every operator has no finding, but where the page itself asks for a person."""
    table = operators.table(chip)
    for op_type, entries in table.operators.items():
        by_hand = any(limit.rule.word == "by_hand" for limit in entries) or op_type == "ConvTranspose"
        found = {one.verdict for one in lint(build(op_type), chip).findings}
        assert found == ({"by hand"} if by_hand else set()), op_type


@pytest.mark.parametrize(("chip", "op_type", "limit"), BREAKABLE)
def test_every_limit_can_be_broken(chip, op_type, limit):
    """For each rule there is a graph that breaks it, and the finding quotes the vendor's sentence."""
    report = lint(build(op_type, breaking(op_type, limit)), chip)
    found = [one for one in report.findings if one.attribute == limit.name and one.limit == limit.sentence]

    assert [one.verdict for one in found] == ["blocked"], report.findings
    assert found[0].node == "it"
    assert found[0].found


@pytest.mark.parametrize("chip", CHIPS)
def test_a_graph_of_unlimited_operators_gives_no_alarm(chip):
    """All operators whose page says nothing but Unlimited, in one graph each after the other: not one finding."""
    table = operators.table(chip)
    free = [name for name, entries in table.operators.items() if {one.rule.word for one in entries} == {"unlimited"}]
    assert len(free) > 40
    for op_type in free:
        report = lint(build(op_type), chip)
        assert report.findings == (), op_type
        assert report.notes == ()


def test_an_operator_that_is_not_listed_is_blocked():
    """What the table does not name, the chip does not take; the four that end a build are told apart."""
    plain = only("(float[4] x) => (float[4] y) { y = Sinh(x) }")
    fatal = only("(float[1,4,2,2] x) => (float[1,4,2,2] y) { y = LRN<size = 3>(x) }")

    assert (plain.verdict, plain.limit) == ("blocked", "not in AX650's table")
    assert fatal.limit == "not in AX650's table: no CPU fallback, the whole build fails"


def test_chips_differ():
    """AX620E lacks Floor and GroupNormalization, AX650 has both."""
    text = "(float[4] x) => (float[4] y) { y = Floor(x) }"

    assert lint(graph(text), "AX650").findings == ()
    assert only(text, "AX620E").verdict == "blocked"


def test_a_default_that_is_not_written_counts():
    """count_include_pad is 0, DepthToSpace's mode DCR and nearest_mode round_prefer_floor when nobody writes them."""
    pool = "(float[1,1,4,4] x) => (float[1,1,3,3] y) { y = AveragePool<kernel_shape = [2,2]>(x) }"
    shuffle = "(float[1,4,2,2] x) => (float[1,1,4,4] y) { y = DepthToSpace<blocksize = 2>(x) }"
    resize = "(float[1,1,2,2] x) => (float[1,1,4,4] y) { y = Resize(x, , s) }"

    assert only(pool).found == "is 0"
    assert lint(graph(shuffle), "AX650").findings == ()
    assert only(resize, s=np.array([1, 1, 2, 2], np.float32)).found == "is round_prefer_floor"


@pytest.mark.parametrize("opset", [13, 17, 18, 22])
def test_an_attribute_that_the_operator_set_has_not_yet_is_no_alarm(opset):
    """Reductions other than the sum have noop_with_empty_axes since operator set 18; before, it cannot be 1."""
    model = graph("(float[1,4] x) => (float[1,1] y) { y = ReduceMean(x) }", opset)
    assert all(lint(model, chip).findings == () for chip in ("AX650", "AX620E", "AX615", "AX637", "M57"))


def test_nearest_mode_does_not_matter_for_linear():
    """Exporters write nearest_mode=floor into linear Resizes, which never read it."""
    text = """(float[1,1,2,2] x) => (float[1,1,4,4] y) {
        y = Resize<mode = "linear", nearest_mode = "floor">(x, , s)
    }"""

    assert lint(graph(text, s=np.array([1, 1, 2, 2], np.float32)), "AX650").findings == ()


def test_what_a_list_leaves_out_is_for_a_person():
    """The page lists Resize's attributes without the coordinate mode: another than the default is not passed."""
    text = """(float[1,1,2,2] x) => (float[1,1,4,4] y) {
        y = Resize<mode = "linear", coordinate_transformation_mode = "asymmetric">(x, , s)
    }"""
    found = only(text, s=np.array([1, 1, 2, 2], np.float32))

    assert (found.attribute, found.verdict) == ("coordinate_transformation_mode", "by hand")
    assert found.limit == "not in the table's list (mode, nearest_mode, scales)"


def test_an_input_that_a_list_leaves_out_is_for_a_person():
    """Scales are unlimited, of sizes nothing is said; an empty constant counts as not given."""
    text = '(float[1,1,2,2] x) => (float[1,1,4,4] y) { y = Resize<mode = "linear">(x, roi, none, size) }'
    empty = np.zeros(0, np.float32)
    found = only(text, roi=empty, none=empty, size=np.array([1, 1, 4, 4], np.int64))

    assert (found.attribute, found.found, found.verdict) == ("sizes", "is given", "by hand")


def test_m57_says_nothing_of_ceil_mode():
    """Its page is the only one that leaves AveragePool's ceil_mode out."""
    text = """(float[1,1,5,5] x) => (float[1,1,3,3] y) {
        y = AveragePool<kernel_shape = [2,2], strides = [2,2], ceil_mode = 1, count_include_pad = 1>(x)
    }"""

    assert lint(graph(text), "AX650").findings == ()
    assert only(text, "M57").attribute == "ceil_mode"


def test_values_that_change_nothing_are_no_alarm():
    """A dilation of 1 that an exporter writes into AveragePool is not in the list, and not there either."""
    text = """(float[1,1,4,4] x) => (float[1,1,3,3] y) {
        y = AveragePool<kernel_shape = [2,2], dilations = [1,1], count_include_pad = 1>(x)
    }"""

    assert lint(graph(text, 19), "AX650").findings == ()
    assert only(text.replace("[1,1], c", "[2,2], c").replace("3,3", "2,2"), opset=19).found == "is [2, 2]"


def test_sizes_must_be_numbers():
    """A symbol in an input is one finding, not one for every tensor behind it."""
    found = only("(float[N,3,4,4] x) => (float[N,3,4,4] y) { a = Relu(x) y = Sigmoid(a) }")

    assert (found.operator, found.attribute, found.found) == ("input", "shape", "is [N, 3, 4, 4]")
    assert found.verdict == "blocked"


def test_a_size_that_depends_on_data_is_found_where_it_begins():
    """A Reshape to a computed shape is named, what follows it is not."""
    text = """(float[4] x, float[1] n) => (float[M] z) {
        s = Cast<to = 6>(n) t = Cast<to = 7>(s) y = Reshape(x, t) z = Relu(y)
    }"""
    found = [one for one in lint(graph(text), "AX650").findings if one.attribute == "shape"]

    assert [one.operator for one in found] == ["Reshape"]


@pytest.mark.parametrize("kind", ["int64", "double", "bool"])
def test_element_types_of_inputs(kind):
    """The configuration has no src_dtype for these; what only passes them on is not told again."""
    found = only(f"({kind}[2,2] x) => ({kind}[4] y) {{ y = Reshape(x, s) }}", s=np.array([4], np.int64))

    assert (found.operator, found.attribute, found.verdict) == ("input", "type", "blocked")
    assert found.limit.startswith("src_dtype: U8")


def test_casts_to_what_the_chip_has_no_type_for():
    """Cast's own sentence lists the types; int64 and bool are not among them."""
    for kind in (TensorProto.INT64, TensorProto.BOOL, TensorProto.DOUBLE):
        found = lint(build("Cast", Spec({"input": Run()}, {"to": kind})), "AX650").findings
        assert alarms(found) == [("Cast", "to", "blocked")]


def test_int64_that_onnx_prescribes_is_no_alarm():
    """ArgMax and TopK make int64 whatever anybody wants, and both are listed."""
    assert lint(build("ArgMax"), "AX650").findings == ()
    assert lint(build("TopK"), "AX650").findings == ()


def test_int64_arithmetic_is_for_a_person_and_float64_is_blocked():
    """Of int64 the page only says that Cast cannot make it; float64 is no DataType at all."""
    nodes = "(float[4] x) => (int64[4] n) { f = Greater(x, z) n = Where(f, k, k) }"
    wide = "(float[4] x) => (double[4] n) { f = Greater(x, z) n = Where(f, k, k) }"
    zero = np.zeros(4, np.float32)
    (found,) = lint(graph(nodes, z=zero, k=np.arange(4)), "AX650").findings
    assert (found.attribute, found.verdict) == ("type", "by hand")
    (found,) = lint(graph(wide, z=zero, k=np.arange(4.0)), "AX650").findings
    assert (found.limit, found.verdict) == ("DataType has no float64", "blocked")


def test_quantized_graphs_are_for_two_chips():
    """QuantONNX is documented for AX650 and M76H; elsewhere Q and DQ nodes are blocked."""
    text = """(float[4] x) => (float[4] y) {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)
    }"""
    given = {"s": np.float32(0.5), "z": np.uint8(3)}

    able = lint(graph(text, **given), "AX650")
    assert able.findings == ()
    assert "model_type QuantONNX (2 nodes)" in able.notes[0]
    assert lint(graph(text, **given), "M76H").findings == ()
    found = lint(graph(text, **given), "AX620E").findings
    assert [one.limit for one in found] == ["QuantONNX is for AX650 and M76H only"] * 2


def test_foreign_domains():
    """An operator of another domain is not ONNX's of that name; one that ONNX lacks has no domain to be wrong."""
    gelu = lint(graph("(float[4] x) => (float[4] y) { y = custom.Gelu(x) }"), "AX650").findings
    twist = lint(graph("(float[4] x) => (float[4] y) { y = custom.Twist(x) }"), "AX650").findings
    silu = lint(graph("(float[4] x) => (float[4] y) { y = custom.Silu(x) }"), "AX650").findings

    assert [(one.found, one.verdict) for one in gelu] == [("is of domain custom", "by hand")]
    assert [(one.found, one.verdict) for one in twist] == [("is not listed", "blocked")]
    assert silu == ()


def test_what_an_unknown_operator_makes_does_not_hide_what_follows():
    """Its stated shape is taken, so that the nodes behind it are checked; without one a person must look."""
    told = """(float[1,1,4,4] x) => (float[1,1,2,2] y) <float[1,1,4,4] a> {
        a = custom.Silu(x) y = MaxPool<kernel_shape = [2,2], dilations = [2,2]>(a)
    }"""
    silent = told.replace(" <float[1,1,4,4] a>", "").replace("float[1,1,2,2] y", "float[N,M,O,P] y")

    assert [one.attribute for one in lint(graph(told), "AX650").findings] == ["dilations"]
    assert [one.attribute for one in lint(graph(silent), "AX650").findings] == ["shape", "dilations"]


@pytest.mark.parametrize("opset", [18, 21])
def test_group_normalization_of_both_kinds(opset):
    """The form that ONNX withdrew is listed as well as the one that came after; what follows has a shape."""
    text = "(float[1,4,2,2] x) => (float[1,4,2,2] y) { n = GroupNormalization<num_groups = 2>(x, s, s) y = Relu(n) }"
    model = graph(text, opset, s=np.ones(2 if opset < 21 else 4, np.float32))

    assert lint(model, "AX650").findings == ()


def test_subgraphs_and_functions_are_blocked():
    """A chip runs operators: no branch, no loop, no function of the file."""
    branch = """(float[4] x, bool f) => (float[4] y) {
        y = If(f) <
            then_branch = a () => (float[4] t) { t = Relu(x) }, else_branch = b () => (float[4] e) { e = Neg(x) }
        >
    }"""
    found = lint(graph(branch), "AX650").findings
    assert [(one.operator, one.found) for one in found] == [("input", "is bool"), ("If", "holds a subgraph")]

    called = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17, "mine": 1]>
        g (float[4] x) => (float[4] y) { y = mine.twice(x) }
        <domain: "mine", opset_import: ["": 17]> twice (a) => (b) { b = Add(a, a) }
    """)
    (found,) = lint(ir.serde.deserialize_model(called), "AX650").findings
    assert found.found == "calls a function of the file"


def test_an_old_operator_set():
    """The vendor takes 11 and newer."""
    found = only("(float[4] x) => (float[4] y) { y = Relu(x) }", opset=10)

    assert (found.operator, found.attribute, found.found, found.limit) == ("graph", "opset", "is 10", "at least 11")


def test_an_operator_set_of_the_future_is_refused():
    """Nothing is known of it, so nothing is said."""
    model = graph("(float[4] x) => (float[4] y) { y = Relu(x) }")
    model.graph.opset_imports[""] = 9999

    with pytest.raises(UnsupportedError, match="operator set 9999, the installed ONNX knows 1 to"):
        lint(model, "AX650")


def test_a_broken_graph_is_refused():
    """Shapes that contradict each other are an error with a fix, not a finding."""
    with pytest.raises(UnsupportedError, match="contradict each other") as caught:
        lint(graph("(float[4] x, float[5] z) => (float[4] y) { y = Add(x, z) }"), "AX650")
    assert caught.value.fix


def test_an_unknown_chip_names_the_near_miss():
    """A typo is a usage error."""
    with pytest.raises(RecipeError, match="did you mean 'AX650'"):
        lint(graph("(float[4] x) => (float[4] y) { y = Relu(x) }"), "AX65O")


def test_a_rule_that_cannot_be_interpreted_is_for_a_person(monkeypatch):
    """A word that the program does not know is shown, with the sentence, and never passed."""
    limit = Limit("attribute", "alpha", Rule("wobbles", 3), (), ("alpha: wobbles up to 3",))
    changed = operators.Table("AX650", ("AX650",), (), 11, {}, {"Elu": (limit,)})
    monkeypatch.setattr(operators, "table", lambda _: changed)
    (found,) = lint(build("Elu"), "AX650").findings

    assert (found.verdict, found.limit) == ("by hand", "alpha: wobbles up to 3")
    assert found.found == "the table's rule 'wobbles: 3' cannot be interpreted"


def test_the_graph_is_not_changed():
    """A check leaves every byte as it was."""
    model = build("Resize")
    before = io.to_bytes(model)
    lint(model, "AX650")

    assert io.to_bytes(model) == before


def test_every_rule_of_the_tables_has_a_meaning():
    """No word of the shipped tables is left to a person by mistake."""
    for chip in CHIPS:
        for op_type, entries in operators.table(chip).operators.items():
            for limit in entries:
                assert limit.rule.word in limits.RULES, (chip, op_type, limit)
                assert all(rule.word in limits.RULES for _, rule in limit.when), (chip, op_type, limit)


@pytest.mark.parametrize("exponent", ["runtime", "constant node", "vector"])
def test_pow_wants_a_scalar_initializer(exponent):
    """At run time or of many numbers it is blocked; whether a Constant node counts nobody says."""
    texts = {
        "runtime": "(float[4] x, float[1] e) => (float[4] y) { y = Pow(x, e) }",
        "constant node": "(float[4] x) => (float[4] y) { e = Constant<value_float = 2.0>() y = Pow(x, e) }",
        "vector": "(float[4] x) => (float[4] y) <float[4] e = {1, 2, 3, 4}> { y = Pow(x, e) }",
    }
    expected = {"runtime": "blocked", "constant node": "by hand", "vector": "blocked"}

    assert only(texts[exponent]).verdict == expected[exponent]


def test_slopes_that_mean_something_else():
    """(channel,) on a square picture is one slope a column for ONNX: a person must say which was meant."""
    text = "(float[1,4,4,4] x) => (float[1,4,4,4] y) { y = PRelu(x, s) }"

    assert only(text, s=np.full(4, 0.5, np.float32)).verdict == "by hand"
    assert only(text, s=np.full((4, 1, 1), 0.5, np.float32)).found == "has the shape (4, 1, 1) for 4 channels"
    assert only(text.replace("1,4,4,4", "1,4,4"), s=np.full((4, 1), 0.5, np.float32)).verdict == "by hand"


def test_the_page_s_notes_are_information():
    """That a depthwise convolution is slower forbids nothing; it is counted, not listed."""
    text = "(float[1,4,4,4] x) => (float[1,4,4,4] z) { y = Conv<group = 4>(x, w) z = Conv<group = 4>(y, w) }"
    report = lint(graph(text, w=np.ones((4, 1, 1, 1), np.float32)), "AX650")

    assert report.findings == ()
    assert report.notes == (
        "Conv: The efficiency would be lower when using DepthWise/Group Conv and dilation not equals to 1 (2 nodes)",
    )


def test_a_report_is_plain_data():
    """Counts by verdict, and the nodes without a finding by operator."""
    text = "(float[4] x) => (float[4] y) { a = Relu(x) b = Relu(a) y = Sinh(b) }"
    told = lint(graph(text), "AX630C").to_json()

    assert (told["chip"], told["table"]) == ("AX620E", "AX620E's table")
    assert (told["blocked"], told["rewrite"], told["by_hand"], told["ok"]) == (1, 0, 0, 2)
    assert told["ok_operators"] == {"Relu": 2}
    assert told["findings"][0]["operator"] == "Sinh"
