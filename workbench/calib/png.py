"""A small PNG writer, so that the same pixels are the same bytes whatever codec Pillow was built with."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Shorts = npt.NDArray[np.int16]
_GREY, _COLOUR = 0, 2  # colour types of the format


def encode(pixels: Pixels, *, level: int = 6) -> bytes:
    """`pixels` as a PNG file: 8 bits, no alpha, no metadata.

    Each row takes the filter whose output has the smallest sum of absolute values (the PNG specification's heuristic,
    W3C PNG section 12.7), the rows are deflated by Python's own zlib at `level`.

    Args:
        pixels: uint8 (H, W, 3) RGB or (H, W, 1) grey.
        level: 1 fast to 9 small.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise ValueError(f"a PNG here is uint8 (height, width, 1 or 3), not {pixels.dtype} {pixels.shape}")
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR if channels == 3 else _GREY, 0, 0, 0)
    body = zlib.compress(_filtered(pixels), level)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _filtered(pixels: Pixels) -> bytes:
    """Every row as its filter number and its filtered bytes."""
    height, _, channels = pixels.shape
    here = pixels.reshape(height, -1).astype(np.int16)
    left = np.zeros_like(here)
    left[:, channels:] = here[:, :-channels]
    up = np.zeros_like(here)
    up[1:] = here[:-1]
    corner = np.zeros_like(here)
    corner[1:] = left[:-1]
    predictions = (np.zeros_like(here), left, up, (left + up) >> 1, _paeth(left, up, corner))
    rows = np.stack([(here - prediction).astype(np.uint8) for prediction in predictions])
    costs = np.abs(rows.view(np.int8).astype(np.int32)).sum(axis=2)
    best = costs.argmin(axis=0)
    lines = np.empty((height, here.shape[1] + 1), np.uint8)
    lines[:, 0] = best
    lines[:, 1:] = rows[best, np.arange(height)]
    return lines.tobytes()


def _paeth(left: Shorts, up: Shorts, corner: Shorts) -> Shorts:
    """Whichever neighbour is closest to ``left + up - corner``; ties: left, then up."""
    by_left = np.abs(up - corner)
    by_up = np.abs(left - corner)
    by_corner = np.abs(left + up - 2 * corner)
    return np.where((by_left <= by_up) & (by_left <= by_corner), left, np.where(by_up <= by_corner, up, corner))
