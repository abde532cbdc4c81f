"""Pictures and heatmaps as small data addresses: the same pixels give the same bytes, and nothing is loaded."""

from __future__ import annotations

import base64
import io
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_QUALITY = 82
_LEVELS = 40  # colours of a heatmap; the eye sees no steps in a blurred spot, and the file is a third
_LONGEST_MAP = 128  # cells of a side that are kept
# From nothing over violet and orange to pale yellow: darker is less on a bright picture and on a dark one.
_COLOURS = ((0.0, (48, 18, 99)), (0.35, (150, 30, 120)), (0.65, (237, 105, 37)), (1.0, (252, 245, 165)))
_DENSEST = 225  # alpha of the highest value, of 255


def photo(pixels: Pixels, longest: int) -> str:
    """uint8 (H, W, 3 or 1) as a JPEG data address, no side longer than `longest`."""
    plain = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    share = longest / max(plain.size)
    if share < 1:
        size = (max(1, round(plain.width * share)), max(1, round(plain.height * share)))
        plain = plain.resize(size, Image.Resampling.BILINEAR)
    packed = io.BytesIO()
    plain.save(packed, "JPEG", quality=_QUALITY, subsampling=1, optimize=True, progressive=False)
    return _address("image/jpeg", packed.getvalue())


def step(cells: tuple[int, ...]) -> int:
    """Of how many cells across and down one is kept."""
    return -(-max(cells) // _LONGEST_MAP)


def heat(maps: npt.NDArray[np.floating], highest: float) -> str:
    """Heatmaps (J, H, W) below each other as one transparent PNG: first the highest value over all, then each.

    Args:
        maps: finite.
        highest: what the densest colour stands for; the lowest colour, fully transparent, stands for 0 and less.
    """
    every = step(maps.shape[1:])
    kept = maps[:, ::every, ::every]
    strip = np.concatenate([kept.max(axis=0, keepdims=True), kept]).reshape(-1, kept.shape[2])
    levels = np.rint(np.clip(strip / max(highest, 1e-6), 0, 1) * (_LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(levels)
    image = image.convert("P") if image.mode != "P" else image
    image.putpalette([part for level in range(_LEVELS) for part in _colour(level / (_LEVELS - 1))])
    image.info["transparency"] = bytes(round(_DENSEST * (level / (_LEVELS - 1)) ** 0.6) for level in range(_LEVELS))
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True, transparency=image.info["transparency"])
    return _address("image/png", packed.getvalue())


def _colour(share: float) -> tuple[int, int, int]:
    for (low, before), (high, after) in pairwise(_COLOURS):
        if share <= high:
            way = (share - low) / (high - low)
            red, green, blue = (round(a + (b - a) * way) for a, b in zip(before, after, strict=True))
            return red, green, blue
    return _COLOURS[-1][1]


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
