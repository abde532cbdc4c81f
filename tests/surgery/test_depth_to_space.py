"""What the contract cannot know about `depth_to_space`."""

import numpy as np
import pytest
from _chips import blocked
from _surgery import graph, operate, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import io
from workbench.surgery.depth_to_space import DepthToSpace

SHUFFLE = 'DepthToSpace<blocksize = 2, mode = "CRD">'


def after(nodes: str, outputs: str = "float[1,2,6,8] y", **weights):
    """A shuffle of blocks of two by two behind `nodes`, which make c of eight channels from x of four."""
    return graph(f"(float[1,4,3,4] x) => ({outputs}) {{ {nodes} y = {SHUFFLE}(c) }}", **weights)


@settings(max_examples=30, deadline=None)
@given(
    block=st.integers(1, 4),
    channels=st.integers(1, 4),
    conv=st.booleans(),
    bias=st.booleans(),
    opset=st.sampled_from([13, 17, 22]),
)
def test_every_pixel_is_where_it_was(block, channels, conv, bias, opset):
    """Any block and number of channels, behind a convolution and without one: equal to the last bit."""
    count = channels * block**2
    inputs = 3 if conv else count
    weights = {"k": random(count, 3, 3, 3), **({"a": random(count)} if bias else {})} if conv else {}
    source = f"c = Conv(x, {', '.join(weights)}) " if conv else ""
    shuffle = f'DepthToSpace<blocksize = {block}, mode = "CRD">({"c" if conv else "x"})'
    model = graph(f"(float[2,{inputs},4,5] x) => (float[a,b,d,e] y) {{ {source}y = {shuffle} }}", opset, **weights)
    x = random(2, inputs, 4, 5)
    before = run(model, {"x": x})["y"]
    assert DepthToSpace()(model)
    np.testing.assert_allclose(run(model, {"x": x})["y"], before, rtol=1e-6, atol=1e-6)
    assert operators(model) == (["Conv"] if conv else ["Gather"]) + ["DepthToSpace"]
    assert blocked(model) == []


def test_activations_between_do_not_mind():
    """The filters change places behind a Clip and a Relu; tensors with another order of channels have another name."""
    model = after(
        "b = Conv(x, k, a) r = Relu(b) c = Clip(r, low, high)",
        k=random(8, 4, 1, 1),
        a=random(8),
        low=np.float32(0.1),
        high=np.float32(0.5),
    )
    edits = operate(model, DepthToSpace()).log[0][1]
    assert edits.changed == ("DepthToSpace -> 'y': mode DCR, the filters of Conv -> 'b' are in another order",)
    assert edits.removed == ("b", "r", "c")
    assert [node.outputs[0].name for node in model.graph] == ["b_dcr", "r_dcr", "c_dcr", "y"]
    assert set(model.graph.initializers) == {"k", "a", "low", "high"}


def test_filters_of_others_stay():
    """Weights that two layers read are copied for the one that is reordered."""
    model = after(
        "h = Conv(x, k) d = Conv(x, k) c = Relu(d)", "float[1,2,6,8] y, float[1,8,3,4] h", k=random(8, 4, 1, 1)
    )
    operate(model, DepthToSpace())
    np.testing.assert_array_equal(model.graph.initializers["k"].const_value.numpy(), random(8, 4, 1, 1))
    assert "k_dcr" in model.graph.initializers


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        ("c = Conv(x, k)", "float[1,2,6,8] y, float[1,8,3,4] c"),
        ("c = Conv<group = 4>(x, g)", "float[1,2,6,8] y"),
        ("n = Neg(k) c = Conv(x, n)", "float[1,2,6,8] y"),
        ("d = Conv(x, k) c = Softmax<axis = 1>(d)", "float[1,2,6,8] y"),
        ("c = Concat<axis = 1>(x, x)", "float[1,2,6,8] y"),
    ],
)
def test_what_else_makes_the_channels_is_gathered(nodes, outputs):
    """A result that others read, groups, weights of the run, and what mixes channels: a Gather does it."""
    model = after(nodes, outputs, k=random(8, 4, 1, 1), g=random(8, 1, 1, 1))
    edits = operate(model, DepthToSpace()).log[0][1]
    assert edits.changed == ("DepthToSpace -> 'y': mode DCR, a Gather puts its channels into another order",)
    gather = next(node for node in model.graph if node.op_type == "Gather")
    np.testing.assert_array_equal(gather.inputs[1].const_value.numpy(), [0, 4, 1, 5, 2, 6, 3, 7])


@pytest.mark.parametrize("mode", ['blocksize = 2, mode = "DCR"', "blocksize = 2"])
def test_dcr_stays(mode):
    """The mode that is asked for, and the default, which is the same."""
    model = graph(f"(float[1,4,2,2] x) => (float[1,1,4,4] y) {{ y = DepthToSpace<{mode}>(x) }}")
    edits = DepthToSpace()(model)
    assert not edits
    assert edits.left == ()


def test_open_channels_are_left():
    """Without their number there is no order."""
    model = graph(f"(float[1,C,2,2] x) => (float[1,D,4,4] y) {{ y = {SHUFFLE}(x) }}")
    before = io.to_bytes(model)
    edits = DepthToSpace()(model)
    assert edits.left == ("DepthToSpace -> 'y': the number of its channels is not static",)
    assert io.to_bytes(model) == before
