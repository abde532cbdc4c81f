"""Measure the ranges of a network's activations by the method of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workbench.engine.progress import Progress
from workbench.quant.methods import choose
from workbench.quant.observe import observe, observe_histograms
from workbench.quant.ranges import Ranges
from workbench.recipe.schema import Quantization


def measure(
    model: Path | bytes,
    feeds: Iterable[Mapping[str, npt.NDArray[np.generic]]],
    settings: Quantization,
    *,
    progress: Progress,
    total: int | None = None,
    labels: Sequence[str] = (),
    partial: Path | None = None,
) -> Ranges:
    """The range of every activation by the method of `settings`; other arguments and errors are those of `observe`."""
    if settings.method == "MinMax":
        return observe(model, feeds, progress=progress, total=total, labels=labels, partial=partial)
    seen = observe_histograms(model, feeds, progress=progress, total=total, labels=labels, partial=partial)
    return choose(seen, settings.method, percentile=settings.percentile)
