"""What surgery writes in the place of an operator can be lowered too, and computes the same in LiteRT."""

import numpy as np
import onnx_ir as ir
import pytest
from _lite import assert_equal
from _surgery import graph, random

from workbench.graph import io, shapes
from workbench.surgery.conv_transpose_limits import ConvTransposeLimits
from workbench.surgery.decompose_activations import DecomposeActivations
from workbench.surgery.decompose_group_norm import DecomposeGroupNorm
from workbench.surgery.decompose_lrn import DecomposeLrn
from workbench.surgery.decompose_mod import DecomposeMod
from workbench.surgery.depth_to_space import DepthToSpace
from workbench.surgery.expand_pow import ExpandPow
from workbench.surgery.fold_gemm_scale import FoldGemmScale
from workbench.surgery.layer_norm_axis import LayerNormAxis
from workbench.surgery.narrow_indices import NarrowIndices
from workbench.surgery.replace_missing import ReplaceMissing

X = "(float[1,4,5,6] x) => (float[a,b,c,d] y)"
SCALE = random(4, low=0.5, high=2)
CASES = [
    *((DecomposeActivations(), f"{X} {{ y = {name}(x) }}", opset, {}) for name, opset in (
        ("HardSigmoid", 17), ("HardSwish", 17), ("Mish", 18), ("Selu", 17), ("Celu<alpha = 0.5>", 17),
        ("ThresholdedRelu", 17), ("Softsign", 17), ("Shrink", 17), ('Gelu<approximate = "tanh">', 20),
    )),
    (DecomposeGroupNorm(), f"{X} {{ y = GroupNormalization<num_groups = 2>(x, s, s) }}", 21, {"s": SCALE}),
    (DecomposeLrn(), f"{X} {{ y = LRN<size = 3, alpha = 0.5>(x) }}", 17, {}),
    (DecomposeMod(), f"{X} {{ y = Mod<fmod = 1>(x, s) }}", 17, {"s": np.float32(0.5)}),
    (DecomposeMod(), f"{X} {{ i = Cast<to = 6>(x) m = Mod(i, s) y = Cast<to = 1>(m) }}", 17, {"s": np.int32(-2)}),
    (DepthToSpace(), f'{X} {{ y = DepthToSpace<blocksize = 2, mode = "CRD">(x) }}', 17, {}),
    (ExpandPow(), f"{X} {{ a = Sigmoid(x) y = Pow(a, s) }}", 17, {"s": np.float32(-1.75)}),
    (ExpandPow(), f"{X} {{ y = Pow(x, s) }}", 17, {"s": np.float32(0)}),
    (
        FoldGemmScale(),
        "(float[2,4] x) => (float[2,4] y) { y = Gemm<alpha = 0.5, beta = 2.0>(x, k, s) }",
        17,
        {"k": random(4, 4), "s": SCALE},
    ),
    (LayerNormAxis(), f"{X} {{ y = LayerNormalization<axis = 2>(x, s, s) }}", 17, {"s": random(5, 6)}),
    (
        ConvTransposeLimits(),
        f"{X} {{ y = ConvTranspose<strides = [2, 2], output_padding = [1, 1], dilations = [2, 2]>(x, k, s) }}",
        17,
        {"k": random(4, 4, 2, 2), "s": SCALE},
    ),
    *((ReplaceMissing(), f"{X} {{ {nodes} }}", 17, {"r": np.array([1, 2, 1, 3], np.int64)}) for nodes in (
        "y = Neg(x)", "y = Floor(x)", "y = Cos(x)", "y = Sign(x)", "y = Mean(x, x, x)", "y = Tile(x, r)",
        "n = Neg(x) b = Less(x, n) y = Where(b, x, n)",
        "n = Neg(x) a = Less(x, n) b = Less(n, x) c = Or(a, b) d = Not(c) y = Cast<to = 1>(d)",
        "y = ReduceMin<axes = [2, 3]>(x)", "y = ReduceL1<axes = [1]>(x)", "y = ReduceSumSquare<axes = [-1]>(x)",
        "y = GlobalLpPool(x)", "y = LpNormalization<axis = 1>(x)",
    )),
    (
        NarrowIndices(),
        f"{X} {{ g = Gather<axis = 1>(x, i) s = Slice(g, b, e) m = ArgMax<axis = 3>(s) d = Add(m, w)"
        " y = Cast<to = 1>(d) }",
        17,
        {"i": np.array([2, 0], np.int64), "b": np.array([0], np.int64), "e": np.array([2**62]), "w": np.int64(3)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("step", "text", "opset", "weights"), CASES)
def test_it_is_lowered_and_stays_the_same(step, text, opset, weights, tmp_path):
    """One case for each form that a pass writes."""
    model = graph(text, opset, **weights)
    assert step(model)
    (out,) = model.graph.outputs
    out.shape = ir.Shape(shapes.infer(model)[str(out.name)])
    shapes.refresh(model)
    assert_equal(io.to_proto(model), tmp_path, tolerance=3e-5)
