"""Fitted pictures as the tensors a network wants, one sample at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from workbench.calib.pictures import read_fitted
from workbench.calib.preprocess import to_tensor
from workbench.recipe.schema import InputSpec

Feeds = dict[str, npt.NDArray[np.float32]]


def feeds(folder: Path, inputs: Sequence[InputSpec]) -> Iterator[Feeds]:
    """For each picture in ``folder/<input>/``, {input name: float32 (1, C, H, W)}, in the order of the file names."""
    for fitted in zip(*(read_fitted(folder / spec.folder) for spec in inputs), strict=True):
        yield {spec.name: to_tensor(picture, spec) for spec, picture in zip(inputs, fitted, strict=True)}


def count(folder: Path, inputs: Sequence[InputSpec]) -> int:
    """How many samples `feeds` yields."""
    return sum(1 for _ in (folder / inputs[0].folder).glob("*.png"))


class Samples(Sequence[Feeds]):
    """Some fitted pictures of ``folder/<input>/``, kept as bytes: each takes four times that while it is a tensor.

    Args:
        folder: as `feeds` has it.
        inputs: the recipe's.
        chosen: places of the pictures among all, from 0, in the order of the file names; None takes all.
    """

    def __init__(self, folder: Path, inputs: Sequence[InputSpec], chosen: Collection[int] | None = None) -> None:
        self._inputs = inputs
        pictures = zip(*(read_fitted(folder / spec.folder) for spec in inputs), strict=True)
        self._fitted = [fitted for index, fitted in enumerate(pictures) if chosen is None or index in chosen]

    def __len__(self) -> int:
        return len(self._fitted)

    @overload
    def __getitem__(self, index: int) -> Feeds: ...
    @overload
    def __getitem__(self, index: slice) -> list[Feeds]: ...
    def __getitem__(self, index: int | slice) -> Feeds | list[Feeds]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        pictures = zip(self._inputs, self._fitted[index], strict=True)
        return {spec.name: to_tensor(picture, spec) for spec, picture in pictures}
