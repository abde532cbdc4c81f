"""What the contract cannot know about `fold_gemm_scale`."""

import numpy as np
import pytest
from _chips import blocked
from _surgery import graph, operate, operators, random
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import attributes, io
from workbench.surgery.fold_gemm_scale import FoldGemmScale


def factors(model) -> list[tuple[float, float]]:
    """Alpha and beta of each Gemm, NaN where they are not written out."""
    return [
        (attributes.decimal(node, "alpha", np.nan), attributes.decimal(node, "beta", np.nan))
        for node in model.graph
        if node.op_type == "Gemm"
    ]


@settings(max_examples=60, deadline=None)
@given(
    alpha=st.sampled_from([1.0, 0.5, -3.25, 0.1, 0.0]),
    beta=st.sampled_from([1.0, 2.0, -0.7, 0.0]),
    across=st.tuples(st.booleans(), st.booleans()),
    fixed=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    bias=st.sampled_from([None, (3,), (1, 3), (2, 1), (), (2, 3)]),
    opset=st.sampled_from([13, 17, 22]),
)
def test_every_form_of_gemm_keeps_its_numbers(alpha, beta, across, fixed, bias, opset):
    """Either matrix transposed, each operand constant or not, every shape of bias: the product stays."""
    shapes = {"a": (4, 2) if across[0] else (2, 4), "b": (3, 4) if across[1] else (4, 3)}
    if bias is not None:
        shapes["c"] = bias
    weights = {
        name: random(*shape, seed=3) for (name, shape), known in zip(shapes.items(), fixed, strict=False) if known
    }
    inputs = ", ".join(
        (f"float[{','.join(map(str, shape))}] {name}" if shape else f"float {name}")
        for name, shape in shapes.items()
        if name not in weights
    )
    model = graph(
        f"({inputs + ', ' if inputs else ''}float[1] extra) => (float[2,3] y, float[1] z) {{"
        f" y = Gemm<alpha = {alpha}, beta = {beta}, transA = {int(across[0])}, transB = {int(across[1])}>"
        f"({', '.join(shapes)}) z = Relu(extra) }}",
        opset,
        **weights,
    )
    operate(model, FoldGemmScale())
    if (alpha, beta) != (1, 1):
        assert factors(model) == [(1, 1)]
    assert blocked(model) == []
    assert operators(model).count("Mul") <= 2


def test_constants_take_the_factors():
    """With constant weights and bias nothing is added to the graph, and the names stay."""
    model = graph(
        "(float[2,4] x) => (float[2,3] y) { y = Gemm<alpha = 0.5, beta = 3.0>(x, k, a) }", k=random(4, 3), a=random(3)
    )
    edits = operate(model, FoldGemmScale()).log[0][1]
    assert edits.changed == ("Gemm -> 'y': 'k' is multiplied by 0.5, 'a' is multiplied by 3",)
    assert operators(model) == ["Gemm"]
    assert set(model.graph.initializers) == {"k", "a"}
    assert factors(model) == [(1, 1)]


def test_weights_of_others_stay():
    """A matrix that two layers read is copied for the one whose alpha it takes."""
    model = graph("(float[2,3] x) => (float[2,3] y) { h = Gemm<alpha = 2.0>(x, k) y = Gemm(h, k) }", k=random(3, 3))
    operate(model, FoldGemmScale())
    np.testing.assert_array_equal(model.graph.initializers["k"].const_value.numpy(), random(3, 3))
    assert set(model.graph.initializers) == {"k", "k_scaled"}
    assert factors(model)[0] == (1, 1)


def test_operands_of_the_run_are_multiplied_by_nodes():
    """Where nothing is constant, a Mul stands in front of the data and one in front of the bias."""
    model = graph(
        "(float[2,4] a, float[4,3] b, float[3] c) => (float[2,3] y) { y = Gemm<alpha = 0.5, beta = 3.0>(a, b, c) }"
    )
    edits = operate(model, FoldGemmScale()).log[0][1]
    assert edits.changed == ("Gemm -> 'y': a Mul by 0.5 in front of it for 'a', a Mul by 3 in front of it for 'c'",)
    assert operators(model) == ["Mul", "Mul", "Gemm"]
    assert len({node.name for node in model.graph if node.op_type == "Mul"}) == 2


def test_a_bias_times_zero_is_not_read():
    """Beta 0 switches the bias off, constant or not."""
    model = graph("(float[2,4] x) => (float[2,3] y) { y = Gemm<beta = 0.0>(x, k, a) }", k=random(4, 3), a=random(3))
    edits = operate(model, FoldGemmScale()).log[0][1]
    assert edits.changed == ("Gemm -> 'y': 'a' times 0 is left out",)
    assert set(model.graph.initializers) == {"k"}


def test_a_beta_without_a_bias_means_nothing():
    """It is written as 1 all the same, since the compiler looks at the number."""
    model = graph("(float[2,4] x) => (float[2,3] y) { y = Gemm<beta = 5.0>(x, k) }", k=random(4, 3))
    edits = operate(model, FoldGemmScale()).log[0][1]
    assert edits.changed == ("Gemm -> 'y': beta without a bias is 1",)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            graph("(int32[2,2] a, int32[2,2] b) => (int32[2,2] y) { y = Gemm<alpha = 2.0>(a, b) }"),
            "Gemm -> 'y': its input is INT32, not float32",
        ),
        (
            graph(
                "(float[1,2] x) => (float[1,1] y) { y = Gemm<alpha = 1e30>(x, k) }",
                k=np.array([[1e20], [1]], np.float32),
            ),
            "Gemm -> 'y': 1e+30 times 'k' leaves the range of float32",
        ),
    ],
)
def test_what_cannot_take_a_factor_is_left(model, reason):
    """Whole numbers, and weights that would become infinite."""
    before = io.to_bytes(model)
    edits = FoldGemmScale()(model)
    assert edits.left == (reason,)
    assert io.to_bytes(model) == before
