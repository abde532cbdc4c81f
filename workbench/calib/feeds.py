"""Fitted pictures as the tensors a network wants, one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workbench.calib.pictures import read_fitted
from workbench.calib.preprocess import to_tensor
from workbench.recipe.schema import InputSpec

Feeds = dict[str, npt.NDArray[np.float32]]


def feeds(folder: Path, inputs: Sequence[InputSpec]) -> Iterator[Feeds]:
    """For each picture in ``folder/<input>/``, {input name: float32 (1, C, H, W)}, in the order of the file names."""
    for fitted in zip(*(read_fitted(folder / spec.name) for spec in inputs), strict=True):
        yield {spec.name: to_tensor(picture, spec) for spec, picture in zip(inputs, fitted, strict=True)}


def count(folder: Path, inputs: Sequence[InputSpec]) -> int:
    """How many samples `feeds` yields."""
    return sum(1 for _ in (folder / inputs[0].name).glob("*.png"))
