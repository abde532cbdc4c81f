"""Seeded random numbers whose stream never changes: the choices behind the drawn people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Floats = npt.NDArray[np.float64]


class Dice:
    """Random numbers from raw PCG64 words: numpy keeps those for good, but not what its distributions make of them."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(list(seed))

    def grid(self, *shape: int) -> Floats:
        """Numbers in [0, 1) in an array of `shape`."""
        raw = np.asarray(self._bits.random_raw(math.prod(shape)), np.uint64)
        return ((raw >> np.uint64(11)).astype(np.float64) / 2.0**53).reshape(shape)

    def unit(self) -> float:
        """A number in [0, 1)."""
        return float(self.grid(1)[0])

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.unit()

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, share: float) -> bool:
        """True in `share` of all calls."""
        return self.unit() < share

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[int(self.unit() * len(items))]


def smooth_noise(dice: Dice, height: int, width: int, cell: int) -> Floats:
    """Blotches about `cell` pixels wide: (height, width) in [0, 1), random cells joined by cubic steps."""
    rows, columns = height // cell + 2, width // cell + 2
    cells = dice.grid(rows, columns)
    y, x = np.arange(height), np.arange(width)
    top, left = y // cell, x // cell
    down = _ease((y % cell) / cell)[:, np.newaxis]
    across = _ease((x % cell) / cell)[np.newaxis, :]
    upper = cells[top][:, left] * (1 - across) + cells[top][:, left + 1] * across
    lower = cells[top + 1][:, left] * (1 - across) + cells[top + 1][:, left + 1] * across
    return upper * (1 - down) + lower * down


def _ease(share: Floats) -> Floats:
    return share * share * (3 - 2 * share)
