"""What the contract cannot know about `decompose_mod`."""

import numpy as np
import pytest
from _chips import blocked
from _surgery import graph, operators, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import io
from workbench.surgery.decompose_mod import DecomposeMod

FULL = ["Div", "Mul", "Sub", "Add", "Div", "Mul", "Sub"]
SHORT = ["Div", "Mul", "Sub"]


def mod(kind: str, divisor, fmod: int = 0, opset: int = 17):
    """A list of 64 numbers, and what is left of them."""
    return graph(f"({kind}[64] x) => ({kind}[64] y) {{ y = Mod<fmod = {fmod}>(x, d) }}", opset, d=divisor)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from([("int32", np.int32), ("int64", np.int64)]),
    divisor=st.integers(-1000, 1000).filter(lambda number: number not in (0, -1)),
    fmod=st.integers(0, 1),
    opset=st.sampled_from([13, 17, 22]),
    seed=st.integers(0, 99),
)
def test_whole_numbers_leave_what_they_left(kind, divisor, fmod, opset, seed):
    """Every sign of dividend and divisor, both rules of sign, up to the ends of int32: equal to the last bit."""
    name, dtype = kind
    model = mod(name, dtype(divisor), fmod, opset)
    wide = np.random.default_rng(seed).integers(-(2**31), 2**31, 48)
    x = np.array([*range(-8, 8), *wide], dtype)
    before = run(model, {"x": x})["y"]
    edits = DecomposeMod()(model)
    np.testing.assert_array_equal(run(model, {"x": x})["y"], before)
    assert operators(model) == (SHORT if fmod else FULL)
    assert len(edits.changed) == 1
    assert blocked(model) == [] or name == "int64"  # no input may be


@settings(max_examples=40, deadline=None)
@given(
    power=st.integers(-6, 8),
    sign=st.sampled_from([-1, 1]),
    seed=st.integers(0, 99),
)
def test_a_power_of_two_divides_floats_exactly(power, sign, seed):
    """Neither quotient nor product is rounded, so the remainder is the same number."""
    model = mod("float", np.float32(sign * 2.0**power), fmod=1)
    x = random(64, seed=seed, low=-1e3, high=1e3) ** 2 * np.sign(random(64, seed=seed + 1))
    before = run(model, {"x": x})["y"]
    DecomposeMod()(model)
    np.testing.assert_array_equal(run(model, {"x": x})["y"], before)
    assert blocked(model) == []


@settings(max_examples=40, deadline=None)
@given(
    divisor=st.integers(1, 5000),
    seed=st.integers(0, 99),
)
def test_whole_floats_leave_what_they_left(divisor, seed):
    """An index that was cast to float is divided without rounding to the next whole number."""
    model = graph(
        "(int32[64] i) => (float[64] y) { x = Cast<to = 1>(i) y = Mod<fmod = 1>(x, d) }", d=np.float32(divisor)
    )
    x = np.random.default_rng(seed).integers(-(2**24) + 1, 2**24, 64).astype(np.int32)
    before = run(model, {"i": x})["y"]
    assert DecomposeMod()(model)
    np.testing.assert_array_equal(run(model, {"i": x})["y"], before)


def test_an_index_needs_one_round():
    """What ArgMax finds is not negative, seen through what only moves it."""
    model = graph(
        "(float[2,20] x) => (int64[2,1] y, int32[2] z) { best = ArgMax<axis = 1>(x) y = Mod(best, five)"
        " flat = Squeeze(best, one) short = Cast<to = 6>(flat) z = Mod(short, four) }",
        five=np.int64(5),
        four=np.int32(4),
        one=np.array([1], np.int64),
    )
    edits = DecomposeMod()(model)
    assert edits.changed == (
        "Mod -> 'y': spelled out as Div, Mul, Sub",
        "Mod -> 'z': spelled out as Div, Mul, Sub",
    )


def test_a_divisor_for_each_column():
    """Divisors may differ from element to element."""
    divisors = np.array([3, -4, 5, -7] * 16, np.int32)
    model = mod("int32", divisors)
    x = np.arange(-32, 32, dtype=np.int32) * 5
    before = run(model, {"x": x})["y"]
    DecomposeMod()(model)
    np.testing.assert_array_equal(run(model, {"x": x})["y"], before)


def test_constants_are_folded():
    """The remainder of two shapes is known; its readers read a constant."""
    model = graph(
        "(int64[1] x) => (int64[1] y) { r = Mod(a, b) y = Add(x, r) }",
        a=np.array([-7], np.int64),
        b=np.array([3], np.int64),
    )
    edits = DecomposeMod()(model)
    assert edits.changed == ("Mod -> 'r': folded, both numbers are constant",)
    assert operators(model) == ["Add"]
    assert list(model.graph.initializers) == ["r_folded"]
    np.testing.assert_array_equal(run(model, {"x": np.array([0], np.int64)})["y"], [2])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            mod("float", np.float32(0.1), fmod=1),
            "its remainder hangs on the last bit of the quotient, which is exact by a power of two only",
        ),
        (
            mod("float", np.float32(3), fmod=1),
            "its remainder hangs on the last bit of the quotient, which is exact by a power of two only",
        ),
        (mod("int32", np.int32(0)), "its divisor is zero"),
        (mod("int32", np.int32(2**30 + 1)), "a remainder and its divisor may overflow INT32"),
        (mod("int32", np.array([1, -(2**31)] * 32, np.int32)), "a remainder and its divisor may overflow INT32"),
        (mod("uint8", np.uint8(3)), "remainders of UINT8 are not covered"),
        (
            graph("(int32[2] x, int32[2] d) => (int32[2] y) { y = Mod(x, d) }"),
            "its divisor is computed at run time",
        ),
        (
            graph("(int32[2] x) => (int32[2] y) { t = custom.Twist(x) y = Mod(t, d) }", d=np.int32(2)),
            "the type of its input is not known",
        ),
    ],
)
def test_what_has_no_exact_form_is_left(model, reason):
    """Other floats, zero, huge divisors, divisors of the run, and types without a Div."""
    before = io.to_bytes(model)
    edits = DecomposeMod()(model)
    assert edits.left == (f"Mod -> 'y': {reason}",)
    assert io.to_bytes(model) == before
