"""Names and order depend on nothing but the graph."""

import onnx_ir as ir

from workbench.sources import _naming

HEAD = '<ir_version: 8, opset_import: ["": 18]> net'


def test_numbers_are_dropped_and_weights_named_after_their_first_reader():
    """tf2onnx's counters go; TensorFlow's own names stay, without ':0'."""
    model = ir.from_onnx_text(
        HEAD + "(float[1,2,4,4] x) => (float[1,2,4,4] out)"
        " <float[2,2,1,1] const_fold_opt__17 = {1,2,3,4}, float[2] w__3 = {1,2}, float lo__9 = {0}> {"
        " a__5 = Conv(x, const_fold_opt__17, w__3) b = Clip(a__5, lo__9) c__2 = Conv(b, const_fold_opt__17, w__3)"
        " out = Relu(c__2) }"
    )
    for node, name in zip(model.graph, ["net/conv__12", "", "net/conv__99", "act"], strict=True):
        node.name = name
    model.graph[1].outputs[0].name = "b:0"
    _naming.settle(model.graph)

    assert [node.name for node in model.graph] == ["net/conv", "clip", "net/conv_2", "act"]
    assert [node.outputs[0].name for node in model.graph] == ["net/conv", "b", "net/conv_2", "out"]
    assert list(model.graph.initializers) == ["net/conv/weight", "net/conv/bias", "clip/min"]
    assert [value.name for value in model.graph[2].inputs] == ["b", "net/conv/weight", "net/conv/bias"]


def test_order_follows_the_operands():
    """Two listings of one graph become one: nodes stand in the order of a walk from the output."""
    lines = ["a = Relu(x)", "b = Neg(x)", "c = Add(b, a)", "dead = Abs(a)", "y = Exp(c)"]
    orders = []
    for chosen in (lines, [lines[1], lines[0], *lines[2:]]):
        model = ir.from_onnx_text(HEAD + "(float[2] x) => (float[2] y) {" + " ".join(chosen) + "}")
        _naming.settle(model.graph)
        orders.append([node.op_type for node in model.graph])

    assert orders == [["Neg", "Relu", "Add", "Exp"]] * 2
