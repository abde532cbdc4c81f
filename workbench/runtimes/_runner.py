"""What every runtime offers: named ports with shapes, one call that runs one batch, and its own tensor layout."""

from __future__ import annotations

from collections.abc import Mapping
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


class Runner(Protocol):
    """An opened model. Use it as a context manager; `layout` is that of its 4-D picture tensors."""

    runtime: str
    layout: Literal["NCHW", "NHWC"]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; `feeds` has exactly the names, shapes and dtypes of `inputs`, the result those of `outputs`."""

    def __enter__(self) -> Self:
        """Return self."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the model."""
