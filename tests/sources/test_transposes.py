"""Transposes of a layout change are pushed out of a graph without moving a number."""

import numpy as np
import onnx_ir as ir
import pytest

from workbench.errors import UnsupportedError
from workbench.graph import io
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.sources import _transposes

HEAD = '<ir_version: 8, opset_import: ["": 18]>'
NHWC = "[0, 2, 3, 1]"
NCHW = "[0, 3, 1, 2]"


def graph(body, out="float[1,3,4,5] y", weights="", inp="float[1,3,4,5] x"):
    """A graph of `body` from x to y; ``NHWC`` and ``NCHW`` stand for the two permutations."""
    text = body.replace("NHWC", NHWC).replace("NCHW", NCHW)
    return ir.from_onnx_text(f"{HEAD} net ({inp}) => ({out}) {weights} {{ {text} }}")


def run(model):
    """The outputs for one fixed picture."""
    data = io.to_bytes(model)
    with OnnxRunner(data, optimize=False) as runner:
        port = runner.inputs[0]
        feed = np.random.default_rng(0).standard_normal(port.shape).astype(np.float32)
        return list(runner.run({port.name: feed}).values())


VECTOR = "<float[3] v = {1, 2, 3}, float[1] one = {0.5}>"
GRAPHS = {
    "elementwise": ("t = Transpose<perm=NHWC>(x) r = Relu(t) y = Transpose<perm=NCHW>(r)", {}),
    "vector": (
        "t = Transpose<perm=NHWC>(x) a = Add(t, v) b = Mul(one, a) y = Transpose<perm=NCHW>(b)",
        {"weights": VECTOR},
    ),
    "two_branches": (
        "t = Transpose<perm=NHWC>(x) r = Relu(t) s = Sigmoid(t) a = Add(r, s) y = Transpose<perm=NCHW>(a)",
        {},
    ),
    "concat": (
        "t = Transpose<perm=NHWC>(x) r = Relu(t) c = Concat<axis=3>(t, r) y = Transpose<perm=NCHW>(c)",
        {"out": "float[1,6,4,5] y"},
    ),
    "softmax": ("t = Transpose<perm=NHWC>(x) r = Softmax<axis=-1>(t) y = Transpose<perm=NCHW>(r)", {}),
    "split": (
        "t = Transpose<perm=NHWC>(x) p, q = Split<axis=1, num_outputs=2>(t) c = Concat<axis=1>(q, p)"
        " y = Transpose<perm=NCHW>(c)",
        {},
    ),
    "mean_kept": (
        "t = Transpose<perm=NHWC>(x) m = ReduceMean(t, k) a = Mul(t, m) y = Transpose<perm=NCHW>(a)",
        {"weights": "<int64[2] k = {1, 2}>"},
    ),
    "mean_dropped": (
        "t = Transpose<perm=NHWC>(x) m = ReduceMean<keepdims=0>(t, k) n = Reshape(m, s) a = Mul(t, n)"
        " y = Transpose<perm=NCHW>(a)",
        {"weights": "<int64[2] k = {1, 2}, int64[4] s = {1, 1, 1, 3}>"},
    ),
    "last_axis_dropped": (
        "t = Transpose<perm=NHWC>(x) y = ReduceMax<keepdims=0>(t, k)",
        {"weights": "<int64[1] k = {-1}>", "out": "float[1,4,5] y"},
    ),
    "ones_only": ("t = Transpose<perm=NHWC>(x) y = Relu(t)", {"inp": "float[1,3,1,1] x", "out": "float[1,1,1,3] y"}),
    "nothing_between": ("t = Transpose<perm=NHWC>(x) y = Transpose<perm=NCHW>(t)", {}),
    "no_move": ("t = Transpose<perm=[0,1,2,3]>(x) y = Relu(t)", {}),
    "clip": (
        "t = Transpose<perm=NHWC>(x) c = Clip(t, a, b) y = Transpose<perm=NCHW>(c)",
        {"weights": "<float a = {-0.5}, float b = {0.5}>"},
    ),
    "reversed_perm": ("t = Transpose(x) r = Relu(t) y = Transpose(r)", {}),
    "two_outputs": (
        "t = Transpose<perm=NHWC>(x) r = Relu(t) y = Transpose<perm=NCHW>(r) s = Neg(r) z = Transpose<perm=NCHW>(s)",
        {"out": "float[1,3,4,5] y, float[1,3,4,5] z"},
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_numbers_stay_where_they_are(name):
    """No Transpose is left, and every output is bit for bit the same."""
    body, options = GRAPHS[name]
    model = graph(body, **options)
    before = run(model)

    _transposes.remove(model)

    assert "Transpose" not in {node.op_type for node in model.graph}
    for old, new in zip(before, run(model), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-6, atol=0)  # a reduction may add in another order


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ("y = Transpose<perm=NHWC>(x)", {"out": "float[1,4,5,3] y"}),
        (
            "t = Transpose<perm=NHWC>(x) y = Reshape(t, s)",
            {"out": "float[1,60] y", "weights": "<int64[2] s = {1, 60}>"},
        ),
        (
            "t = Transpose<perm=NHWC>(x) u = Add(t, z) y = Transpose<perm=NCHW>(u)",
            {"inp": "float[1,3,4,5] x, float[1,4,5,3] z"},
        ),
    ],
)
def test_real_movement_is_unsupported(body, options):
    """An output in another layout, or data flattened in another order, cannot do without: the node is named."""
    with pytest.raises(UnsupportedError, match="a Transpose cannot be removed") as caught:
        _transposes.remove(graph(body, **options))

    assert caught.value.where.startswith("Transpose")
