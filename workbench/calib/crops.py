"""Seeded crops of pictures: parts that cut people, on which networks are less sure and 8 bits fail first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from PIL import Image

from workbench.calib.preprocess import upright

SHARE = (0.3, 1.0)  # of each side; what a calibration crop keeps, from a hand to nearly the whole picture
LEAST = 16  # pixels of a side, where the picture has as many

Box = tuple[int, int, int, int]


def boxes(
    size: tuple[int, int], key: bytes, count: int, *, share: tuple[float, float] = SHARE, seed: int = 0
) -> tuple[Box, ...]:
    """`count` boxes (left, top, right, bottom) inside a picture of `size` (width, height).

    Each keeps one share of both sides, uniform in `share`, at a place that is uniform among those that fit. The numbers
    come from SHA-256 of seed, number and `key` and of nothing else: a picture has the same crops in every set, on every
    machine and with every version of numpy; the first crops of five are the crops of two.

    Args:
        size: of the picture, in pixels, upright.
        key: what tells pictures apart; the hash of their content, so that a renamed picture keeps its crops.
        count: how many.
        share: smallest and largest share of a side, within 0..1.
        seed: another one gives other crops.

    Raises:
        ValueError: `share` is no such pair, or the picture is empty.
    """
    low, high = share
    width, height = size
    if not 0 < low <= high <= 1:
        raise ValueError(f"a share of a side is above 0 and at most 1, from low to high, not {low}..{high}")
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width} x {height} pixels has no crops")
    made = []
    for number in range(count):
        digest = hashlib.sha256(f"{seed} {number} ".encode() + key).digest()
        part, x, y = (int.from_bytes(digest[at : at + 8]) / 2**64 for at in (0, 8, 16))
        kept = low + (high - low) * part
        across, down = (min(side, max(LEAST, round(side * kept))) for side in size)
        # 2**64 - 1 divided by 2**64 is 1.0 in float64, hence the second bound.
        left = min(int(x * (width - across + 1)), width - across)
        top = min(int(y * (height - down + 1)), height - down)
        made.append((left, top, left + across, top + down))
    return tuple(made)


def crops(
    picture: Image.Image, key: bytes, count: int, *, share: tuple[float, float] = SHARE, seed: int = 0
) -> Iterator[Image.Image]:
    """The crops of `picture`, turned upright first, one at a time; arguments and errors as of `boxes`."""
    plain = upright(picture)
    for box in boxes(plain.size, key, count, share=share, seed=seed):
        yield plain.crop(box)
