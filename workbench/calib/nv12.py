"""Pixels as the YUV a camera writes, NV12 or NV21, and back: what a model with such an input is fed."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Range = Literal["full", "limited"]
Order = Literal["uv", "vu"]

# ITU-R BT.601-7, 2.5.1: the weights of red and blue in luma; green has the rest.
_RED, _BLUE = 0.299, 0.114
# BT.601-7, 2.5.3: luma 16..235 and chroma 16..240 in the limited range; JFIF 1.02: 0..255 for both in the full one.
_LEVELS: dict[Range, tuple[float, float, float]] = {"full": (0.0, 255.0, 255.0), "limited": (16.0, 219.0, 224.0)}


def to_nv12(pixels: Pixels, levels: Range = "full", order: Order = "uv") -> Pixels:
    """Pixels as one plane of luma and, below it, half as many lines of chroma, one pair for four pixels.

    Args:
        pixels: uint8 (H, W, 3) RGB; H and W even.
        levels: full, or limited as in video.
        order: uv is NV12 (YUV420SP), vu is NV21 (YVU420SP).

    Returns:
        uint8 (H * 3 / 2, W). Chroma is the mean over each two by two pixels, values are rounded to the nearest.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"takes uint8 (height, width, 3) RGB, not {pixels.dtype} {pixels.shape}")
    height, width, _ = pixels.shape
    _check_even(height, width)
    black, luma, chroma = _LEVELS[levels]
    red, green, blue = np.moveaxis(pixels.astype(np.float64) / 255.0, 2, 0)
    bright = _RED * red + (1 - _RED - _BLUE) * green + _BLUE * blue
    pairs = {"u": (blue - bright) / (2 * (1 - _BLUE)), "v": (red - bright) / (2 * (1 - _RED))}
    out = np.empty((height * 3 // 2, width), np.uint8)
    out[:height] = _bytes(black + luma * bright)
    for start, letter in enumerate(order):
        four = pairs[letter].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        out[height:, start::2] = _bytes(128.0 + chroma * four)
    return out


def from_nv12(planes: Pixels, levels: Range = "full", order: Order = "uv") -> Pixels:
    """The pixels that a converter makes of `planes`: each pair of chroma holds for its four pixels.

    Args:
        planes: uint8 (H * 3 / 2, W), as `to_nv12` returns it.
        levels: as there.
        order: as there.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    if planes.dtype != np.uint8 or planes.ndim != 2 or planes.shape[0] % 3 or 0 in planes.shape:
        raise ValueError(f"takes uint8 (height * 3 / 2, width), not {planes.dtype} {planes.shape}")
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    _check_even(height, width)
    black, luma, chroma = _LEVELS[levels]
    bright = (planes[:height] - black) / luma
    pairs = {
        letter: ((planes[height:, start::2] - 128.0) / chroma).repeat(2, axis=0).repeat(2, axis=1)
        for start, letter in enumerate(order)
    }
    blue = bright + 2 * (1 - _BLUE) * pairs["u"]
    red = bright + 2 * (1 - _RED) * pairs["v"]
    green = (bright - _RED * red - _BLUE * blue) / (1 - _RED - _BLUE)
    return _bytes(np.stack([red, green, blue], axis=2) * 255.0)


def _bytes(values: npt.NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _check_even(height: int, width: int) -> None:
    if height % 2 or width % 2:
        raise ValueError(f"one pair of chroma is for four pixels, so {width} x {height} must be even")
