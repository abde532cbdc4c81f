"""Random weights depend on nothing but names and shapes."""

import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.sources import seeded


def test_the_stream_is_pinned():
    """A value of today is the value of any machine and NumPy: it comes from the raw bit stream."""
    value = seeded.parameter("features.0.weight", (2, 3, 3, 3))

    assert value.dtype == np.float32
    assert zlib.crc32(value.tobytes()) == 0xEB9D12AA


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=20), st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_weights_have_the_documented_variance_bound(name, shape):
    """A layer's weights stay within sqrt(3 * variance), and are the same every time."""
    value = seeded.parameter(f"{name}.weight", shape)
    fan_in = int(np.prod(shape[1:]))
    projection = fan_in == shape[1] and shape[0] < fan_in
    bound = np.sqrt(3 * (0.5 if projection else 2.0) / fan_in)

    assert np.abs(value).max() <= bound * (1 + 1e-6)
    assert np.array_equal(value, seeded.parameter(f"{name}.weight", shape))


def test_variance_is_that_of_he():
    """A large convolution has variance 2 / fan-in and no bias to one side."""
    value = seeded.parameter("big.weight", (64, 32, 3, 3)).astype(np.float64)

    assert value.var() == pytest.approx(2 / (32 * 9), rel=0.05)
    assert abs(value.mean()) < 0.02 * value.std()


def test_norms_stay_near_identity():
    """Scales near 1, variances a little above 1, everything else near 0; counters are integers and 0."""
    assert np.abs(seeded.parameter("bn.weight", (100,)) - 1).max() <= 0.1
    assert (
        1 <= seeded.parameter("bn.running_var", (100,)).min() <= seeded.parameter("bn.running_var", (100,)).max() <= 1.1
    )
    assert np.abs(seeded.parameter("bn.bias", (100,))).max() <= 0.05
    counter = seeded.parameter("bn.num_batches_tracked", (), np.int64)
    assert counter.dtype == np.int64
    assert counter == 0


def test_names_decide():
    """Two parameters of one shape differ, and half precision stays half precision."""
    assert not np.array_equal(seeded.parameter("a.weight", (4, 4)), seeded.parameter("b.weight", (4, 4)))
    assert seeded.parameter("a.weight", (4, 4), np.float16).dtype == np.float16


def test_another_process_agrees():
    """The hash seed of the process changes nothing."""
    code = "from workbench.sources import seeded; print(seeded.parameter('a.b.weight', (3, 5)).tobytes().hex())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert runs[0] == runs[1] == seeded.parameter("a.b.weight", (3, 5)).tobytes().hex() + "\n"
