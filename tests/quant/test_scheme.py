"""Facts about the chip's grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.quant import scheme
from workbench.quant.ranges import Range

values = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
spans = st.tuples(values, values).map(lambda ends: Range(min(ends), max(ends)))
bits = st.sampled_from([8, 16])


@given(spans, bits, st.booleans())
def test_zero_is_on_every_grid(span, bits, symmetric):
    """Zero, which pads pictures and rectified features, is represented exactly."""
    grid = scheme.activation_grid(span, bits=bits, symmetric=symmetric)
    zero = np.zeros(1, np.float32)
    assert grid.dequantize(grid.quantize(zero))[0] == 0
    assert grid.lowest <= grid.zero_point <= grid.highest


@given(spans, st.floats(0, 1), bits, st.booleans())
def test_values_in_range_move_half_a_step_at_most(span, where, bits, symmetric):
    """Any value of the span comes back within half a step; at 16 bits float32 adds a hundredth of one."""
    grid = scheme.activation_grid(span, bits=bits, symmetric=symmetric)
    value = np.array([span.low + where * (span.high - span.low)], np.float32)
    moved = float(np.abs(grid.dequantize(grid.quantize(value)) - value)[0])
    assert moved <= (0.5005 if bits == 8 else 0.51) * grid.scale


@given(spans, st.booleans())
def test_16_bits_have_257_steps_for_one(span, symmetric):
    """The grid of 16 bits holds the same span in 65535 steps, 257 for each of 8 bits (258 where signed)."""
    coarse, fine = (scheme.activation_grid(span, bits=bits, symmetric=symmetric) for bits in (8, 16))
    assert (fine.highest - fine.lowest) == (65534 if symmetric else 65535)
    assert fine.dtype == (np.int16 if symmetric else np.uint16)
    if coarse.scale < 1 and fine.scale > 1e-37:
        assert coarse.scale / fine.scale == pytest.approx(32767 / 127 if symmetric else 257, rel=1e-6)
    for grid in (coarse, fine):
        ends = grid.dequantize(np.array([grid.lowest, grid.highest])).astype(np.float64)
        assert ends[0] <= min(span.low, 0) + 0.51 * grid.scale
        assert ends[1] >= max(span.high, 0) - 0.51 * grid.scale


@given(spans, bits)
def test_integers_survive_the_round_trip(span, bits):
    """Every integer of a grid stands for a value that quantizes back to it."""
    grid = scheme.activation_grid(span, bits=bits)
    integers = np.arange(grid.lowest, grid.highest + 1)
    assert np.array_equal(grid.quantize(grid.dequantize(integers)), integers)


def test_the_scale_is_that_of_the_range():
    """0..255 has steps of 1, -1..1 has 2/255 with its zero in the middle, and 16 bits are 257 times finer."""
    assert scheme.activation_grid(Range(0, 255)) == scheme.Grid(1.0, 0)
    assert scheme.activation_grid(Range(-1, 1)) == scheme.Grid(float(np.float32(2 / 255)), 128)
    assert scheme.activation_grid(Range(0, 65535), bits=16) == scheme.Grid(1.0, 0, 16)


def test_ranges_are_widened_to_zero():
    """A span that does not hold 0 gets the scale of one that does."""
    assert scheme.activation_grid(Range(3, 5)) == scheme.activation_grid(Range(0, 5))
    assert scheme.activation_grid(Range(-5, -3)) == scheme.activation_grid(Range(-5, 0))


@pytest.mark.parametrize(
    "span", [Range(0, 0), Range(1e-30, 1e-30), Range(0, 1e-44), Range(-1e30, 1e30), Range(-3e38, 3e38), Range(7, 7)]
)
def test_degenerate_ranges_have_a_usable_scale(span):
    """Constant, tiny and huge spans give a positive, normal float32 scale that brings the end back."""
    grid = scheme.activation_grid(span)
    assert np.finfo(np.float32).tiny <= grid.scale < np.inf
    end = np.array([span.high], np.float32)
    assert abs(float((grid.dequantize(grid.quantize(end)) - end)[0])) <= 0.51 * grid.scale


weights = hnp.arrays(np.float32, (4, 3, 2), elements=st.floats(-100, 100, width=32, allow_subnormal=False))


@given(weights, st.sampled_from([0, 1, 2]))
def test_weights_move_half_a_step_at_most(data, axis):
    """Each weight comes back within half its channel's step, and a channel's extreme weight is +-127 exactly."""
    scales = scheme.weight_scales(data, axis, input_scale=0.1)
    integers = scheme.quantize_weights(data, scales, axis)
    assert scales.shape == (data.shape[axis],)
    assert (scales > 0).all()
    rows, steps = np.moveaxis(data, axis, 0), np.moveaxis(integers, axis, 0).astype(np.float64)
    for row, step, scale in zip(rows, steps, scales, strict=True):
        assert np.abs(step * scale - row).max() <= 0.5001 * scale
        peak = np.abs(row).max()
        if peak > 1e-35:
            assert np.abs(step).max() == 127


def test_a_dead_channel_keeps_its_bias():
    """A channel without weights gets a scale on which its bias is exact to six digits, whatever the input's scale."""
    data = np.zeros((2, 3), np.float32)
    data[0] = 1
    bias = np.array([1.0, 0.123456], np.float32)
    scales = scheme.weight_scales(data, 0, input_scale=50.0, bias=bias)
    steps = scales * np.float32(50.0)
    assert scheme.quantize_bias(bias, steps)[1] * float(steps[1]) == pytest.approx(0.123456, rel=1e-6)


def test_a_dead_channel_without_bias_has_scale_one():
    """A channel of nothing gets a scale that no kernel divides by zero with."""
    assert scheme.weight_scales(np.zeros((1, 3), np.float32), 0, input_scale=1.0)[0] == 1.0


def test_a_tiny_channel_gives_way_to_its_bias():
    """Weights so small that the bias would overflow 32 bits get a larger scale, and the bias comes back."""
    data = np.full((1, 4), 1e-12, np.float32)
    bias = np.array([3.0], np.float32)
    scales = scheme.weight_scales(data, 0, input_scale=0.01, bias=bias)
    steps = scales * np.float32(0.01)
    integers = scheme.quantize_bias(bias, steps)
    assert abs(int(integers[0])) <= 2**30 + 2**8
    assert integers[0] * float(steps[0]) == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("input_scale", [4e-33, 1e28])
def test_bias_steps_stay_in_float32(input_scale):
    """With an input range of 1e-30 or 1e30 the bias step is still a normal float32."""
    data = np.full((1, 2), 1e-3, np.float32)
    scales = scheme.weight_scales(data, 0, input_scale=input_scale, bias=np.ones(1, np.float32))
    step = scales[0] * np.float32(input_scale)
    assert np.finfo(np.float32).tiny <= step < np.inf


def test_groups_of_a_transposed_convolution_share_scales():
    """A bias of two groups counts both entries of a channel when the scale is raised for it."""
    data = np.full((4, 1, 1, 1), 1e-12, np.float32)
    scales = scheme.weight_scales(data, 1, input_scale=1.0, bias=np.array([0.5, 8.0], np.float32))
    assert scales.shape == (1,)
    assert abs(int(scheme.quantize_bias(np.array([8.0]), scales)[0])) <= 2**30 + 2**8


@given(
    hnp.arrays(np.int8, (3, 5), elements=st.integers(-127, 127)),
    hnp.arrays(np.int32, (3,), elements=st.integers(-(2**30), 2**30)),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
)
def test_no_sum_needs_more_than_its_bits(weights, bias, zero_point, seed):
    """Whatever the input, the integer sum fits a signed accumulator of `sum_bits`; an adversary comes close to it."""
    grid = scheme.Grid(1.0, zero_point, 16)
    bits = scheme.sum_bits(weights, 0, grid, bias)
    inputs = np.random.default_rng(seed).integers(0, 65536, 5)
    largest = np.abs(weights.astype(np.int64) @ (inputs - zero_point) + bias).max()
    assert largest <= 2 ** (bits - 1) * (1 + 1e-12)


def test_the_worst_input_takes_all_bits():
    """129 full products of 16 and 8 bits and a bias at its limit are a signed 32-bit integer, and not one more."""
    grid = scheme.Grid(1.0, 0, 16)
    for count, fits in ((129, True), (130, False)):
        weights = np.full((1, count), 127, np.int8)
        bits = scheme.sum_bits(weights, 0, grid, np.array([2**30], np.int32))
        assert (bits <= 32) is fits
