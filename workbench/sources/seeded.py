"""Random weights that anyone can rebuild: they depend on nothing but each parameter's name and shape."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def parameter(name: str, shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """The seeded value of one parameter.

    Weights of layers are uniform with variance 2 / fan-in, which keeps the size of activations behind a ReLU (He et al.
    2015, "Delving deep into rectifiers", eq. 10), and a quarter of that where a 1x1 layer reduces channels: such layers
    are linear projections and heads, and with He's variance a residual network's outputs reach thousands. Scales are
    near 1, running variances a little above, biases and running means near 0; integers and booleans are 0.

    Args:
        name: as in the state_dict; its CRC-32 is the seed.
        shape: any; the weight of a layer is (outputs, inputs per group, ...).
        dtype: of the result.
    """
    kind = np.dtype(dtype)
    size = tuple(int(length) for length in shape)
    if kind.kind != "f":
        return np.zeros(size, kind)
    unit = _uniform(zlib.crc32(name.encode()), size)
    last = name.rpartition(".")[2]
    if len(size) >= 2:
        fan_in = int(np.prod(size[1:]))
        projection = fan_in == size[1] and size[0] < fan_in
        variance = (0.5 if projection else 2.0) / max(1, fan_in)
        unit *= np.sqrt(3.0 * variance)
    elif last == "running_var":
        unit = 1.0 + 0.1 * np.abs(unit)
    elif last == "weight":
        unit = 1.0 + 0.1 * unit
    else:
        unit *= 0.05
    return unit.astype(kind)


def _uniform(seed: int, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Uniform in [-1, 1).

    Made from the raw 64-bit stream, which NumPy promises never to change; its distributions carry no such promise.
    """
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape, dtype=np.int64)))
    unit: npt.NDArray[np.float64] = (np.asarray(raw, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    return unit.reshape(shape)
