"""What the cloth of the drawn people looks like: folds, stripes, checks and prints, as factors on its colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workbench.calib.people_look import Look
from workbench.calib.people_raster import Floats

Pattern = Callable[[Floats, Floats], Floats]
"""Given the share of the way along a part and the side across it (-1..1): a factor (..., 1 or 3)."""


def folds(strength: float) -> Pattern:
    """Cloth: soft folds along and across."""

    def factor(share: Floats, across: Floats) -> Floats:
        slant = share * 4.0 + across * 0.7
        ridge = slant - np.floor(slant)
        return (1 - 0.09 * strength * (2 * ridge - 1) ** 2 * (1 - 0.5 * share))[..., np.newaxis]

    return factor


def top_pattern(look: Look, scale: float) -> Pattern:
    """The print of the top; `scale` is the length of the part in trunks."""
    ratio = np.array(look.second, np.float64) / np.maximum(np.array(look.top, np.float64), 1)
    cloth = folds(0.7)

    def factor(share: Floats, across: Floats) -> Floats:
        along, aside = share * scale * 10, across * 4.5
        if look.pattern == "stripes":
            other = np.mod(along, 1.6) < 0.6
        elif look.pattern == "checks":
            other = (np.mod(along, 1.8) < 0.45) | (np.mod(aside + 0.2, 1.8) < 0.4)
        elif look.pattern == "block":
            other = (share < 0.52) & (scale == 1.0)
        elif look.pattern == "print" and scale == 1.0:
            other = ((share - 0.66) / 0.13) ** 2 + (across / 0.42) ** 2 < 1
        else:
            return cloth(share, across)
        return cloth(share, across) * np.where(other[..., np.newaxis], ratio, 1.0)

    return factor
