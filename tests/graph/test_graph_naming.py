"""Facts about names of nodes."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
from hypothesis import given
from hypothesis import strategies as st

from workbench.graph.naming import name_nodes


def graph(names):
    """A chain of Relus with the given node names."""
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> g (float[2] t0) => (float[2] t0) {}')
    proto.graph.node.extend(
        onnx.helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"], name) for i, name in enumerate(names)
    )
    proto.graph.output[0].name = f"t{len(names)}"
    return ir.serde.deserialize_model(proto).graph


def test_the_first_keeps_its_name():
    """Nodes without a name are called after what they make; of two namesakes the later one changes."""
    made = graph(["a", "", "a", "Relu_t2"])
    assert name_nodes(made)
    assert [node.name for node in made] == ["a", "Relu_t2_2", "Relu_t3", "Relu_t2"]


@given(st.lists(st.sampled_from(["", "a", "b", "Relu_t1", "Relu_t2", "Relu_t2_2"]), min_size=1, max_size=8))
def test_names_are_unique_and_stay_so(names):
    """Afterwards every node has a name of its own, good names are kept, and a second run changes nothing."""
    made = graph(names)
    changed = name_nodes(made)
    after = [node.name for node in made]
    assert changed == (len(set(names)) < len(names) or "" in names)
    assert len(set(after)) == len(names)
    assert all(after)
    assert {name for name in names if name} <= set(after)
    assert not name_nodes(made)
