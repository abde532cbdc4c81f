"""The calibration set at a glance: a few thumbnails, and the statistics of all its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.calib.pictures import read_fitted
from workbench.report import imagery

_THUMBNAILS = 24
_THUMBNAIL = 88  # pixels of the longer side
_BINS = 32


@dataclass(frozen=True)
class Summary:
    """What the ranges were measured on.

    Attributes:
        origin: where the pictures are from.
        count: how many there are, crops included.
        thumbnails: (name, data address) of some, evenly spread.
        mean: of the pixels 0..255, a channel each (red, green, blue; or grey).
        std: likewise.
        dark: share of all values below 8, clipped to black.
        bright: share of all values above 247.
        histogram: shares of 32 equal steps of brightness; the highest is 1.
        skipped: name and reason of the pictures that could not be read.
    """

    origin: str
    count: int
    thumbnails: tuple[tuple[str, str], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dark: float
    bright: float
    histogram: tuple[float, ...]
    skipped: tuple[tuple[str, str], ...]


def summary(folder: Path, origin: str, told: Mapping[str, Any]) -> Summary | None:
    """Look through the fitted pictures in `folder`; None when there are none.

    Args:
        folder: of 8-bit PNG pictures, in name order.
        origin: where they are from, for people.
        told: ``used``, names in the order of the files, and ``skipped``, names with reasons.

    Raises:
        ToolError: a picture is damaged.
    """
    total = sum(1 for _ in folder.glob("*.png"))
    if not total:
        return None
    chosen = {round(place) for place in np.linspace(0, total - 1, min(total, _THUMBNAILS))}
    names: Sequence[str] = [*told["used"], *[""] * total]
    thumbnails: list[tuple[str, str]] = []
    counts = np.zeros((0, 256), np.int64)
    for index, pixels in enumerate(read_fitted(folder)):
        if not len(counts):
            counts = np.zeros((pixels.shape[2], 256), np.int64)
        for channel in range(pixels.shape[2]):
            counts[channel] += np.bincount(pixels[:, :, channel].ravel(), minlength=256)
        if index in chosen:
            thumbnails.append((names[index], imagery.photo(pixels, _THUMBNAIL)))
    values = np.arange(256)
    sizes = counts.sum(axis=1)
    mean = counts @ values / sizes
    std = np.sqrt(counts @ (values**2) / sizes - mean**2)
    together = counts.sum(axis=0)
    bins = together.reshape(_BINS, -1).sum(axis=1)
    return Summary(
        origin,
        total,
        tuple(thumbnails),
        tuple(round(float(one), 1) for one in mean),
        tuple(round(float(one), 1) for one in std),
        float(together[:8].sum() / together.sum()),
        float(together[248:].sum() / together.sum()),
        tuple(round(float(one), 4) for one in bins / bins.max()),
        tuple((str(name), str(reason)) for name, reason in told["skipped"]),
    )
