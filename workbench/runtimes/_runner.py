"""What every runtime offers: named ports with shapes, runs one by one or many at once, and its own tensor layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Port:
    """One input or output of a model file: its name, shape (None where not static) and numpy dtype name."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Latency:
    """How long one inference took on the chip, in milliseconds, as its own program measured it."""

    minimum: float
    average: float
    maximum: float


class Runner(Protocol):
    """An opened model. Use it as a context manager; `layout` is that of its 4-D picture tensors.

    A runtime inherits from it, and thereby `run_all` and the entering. `latency` is known after a run on a board,
    `notes` say what must not be overlooked about where the results come from.
    """

    runtime: str
    layout: Literal["NCHW", "NHWC"]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    latency: Latency | None = None
    notes: tuple[str, ...] = ()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; `feeds` has exactly the names, shapes and dtypes of `inputs`, the result those of `outputs`."""

    def run_all(self, feeds: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        """Run once for each of `feeds`, in their order: what `run` gives for each of them.

        Here one by one. Where a program must be started it runs many samples in one start; they wait on disk, so that
        one sample is in memory at a time.
        """
        for feed in feeds:
            yield self.run(feed)

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the model."""
