"""Make the float graph that every 8-bit target starts from: exact rewrites first, then the errors that are left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.engine.progress import Progress
from workbench.errors import RecipeError, ToolError, UnsupportedError
from workbench.graph import io
from workbench.quant import sweep
from workbench.quant.activations import activations
from workbench.quant.channel_stats import observe_channels
from workbench.quant.equalize import LIMIT, equalize, largest_difference
from workbench.quant.equalize import Report as Equalized
from workbench.quant.observe import observe
from workbench.quant.ranges import Ranges
from workbench.quant.split_range import FEWEST, split_range, splittable
from workbench.quant.unroll_sum import unroll_sum
from workbench.recipe.schema import Quantization

Array = npt.NDArray[np.generic]

READS = ("equalize", "split", "unroll", "correct_bias", "rounding")
"""The keys of a recipe's section that `bake` looks at."""

_LEAST = 2  # what a single picture shows holds for no other
_CHECKED = 4  # pictures on which the rewrites are compared with the graph they started from


@dataclass(frozen=True)
class Report:
    """What was done to the graph.

    Attributes:
        unrolled: the sums that are not formed any more.
        equalized: what `equalize` reports; None when it was not asked for.
        split: parts by tensor.
        difference: the largest change of a float output by all of these, as a share of its largest value.
        swept: what `sweep.bake` reports; None when neither bias correction nor rounding was asked for.
    """

    unrolled: tuple[str, ...] = ()
    equalized: Equalized | None = None
    split: Mapping[str, int] = field(default_factory=dict)
    difference: float = 0.0
    swept: sweep.Report | None = None

    def summary(self) -> list[str]:
        """A few lines for people."""
        lines = []
        if self.equalized is not None:
            lines.append(
                f"equalized: {len(self.equalized.changed)} tensors changed, {len(self.equalized.declined)} left"
            )
        if self.unrolled:
            lines.append(f"unrolled: {len(self.unrolled)} sums")
        if self.split:
            lines.append(f"split: {len(self.split)} ranges, into {sum(self.split.values())} parts")
        if self.swept is not None:
            lines.append(
                f"swept: {len(self.swept.layers)} layers on {self.swept.used} pictures, {len(self.swept.left)} left"
            )
        return lines

    def to_json(self) -> dict[str, object]:
        """All of it, for ``bake.json``."""
        return {
            "unrolled": list(self.unrolled),
            "equalized": None if self.equalized is None else asdict(self.equalized),
            "split": dict(self.split),
            "difference": self.difference,
            "swept": None if self.swept is None else asdict(self.swept),
        }


def bake(
    model: ir.Model,
    samples: Sequence[Mapping[str, Array]],
    settings: Quantization,
    *,
    progress: Progress,
    labels: Sequence[str] = (),
) -> Report:
    """Prepare `model`, in place, as `settings` says; with all of it switched off nothing changes.

    First what leaves the float function as it is: sums are unrolled in the order given, ranges equalized, then split.
    Then bias correction and rounding, which answer the errors of 8 bits and do change it.

    Args:
        model: a float graph with static shapes; half changed after an error.
        samples: the calibration pictures, each {input: array}; asked for one at a time, and several times each. The
            sweep keeps the tensors of as many as fit into `sweep.BUDGET`.
        settings: the recipe's section.
        progress: told what is being done.
        labels: what to call the samples in an error, e.g. the names of their files.

    Raises:
        RecipeError: a tensor of `settings.split` or `settings.unroll` cannot be; `at` is its key.
        ToolError: fewer than two pictures, an activation that is NaN or infinite (the first such tensor and picture are
            named), or a rewrite that changed the float outputs.
        UnsupportedError: as `activations`.
    """
    optimizes = settings.correct_bias or settings.rounding == "optimal"
    if not (optimizes or settings.equalize or settings.split or settings.unroll):
        return Report()
    if len(samples) < _LEAST:
        raise ToolError(
            f"{len(samples) or 'no'} calibration picture{'s' * (len(samples) != 1)}: at least {_LEAST} are needed",
            fix="add pictures to calibration.pictures, or raise calibration.count",
        )
    before = io.to_bytes(model)
    activations(io.from_bytes(before))  # refuses what cannot be quantized, before anything runs it
    for index, name in enumerate(settings.unroll):
        _at(("unroll", index), unroll_sum, model, name)
    known = splittable(model) if settings.split else ()
    for name in (name for name in settings.split if name not in known):  # told before any picture is looked at
        _at(("split", name), split_range, model, name, FEWEST)
    equalized = None
    if settings.equalize:
        stats = observe_channels(model, samples, progress=progress, total=len(samples), labels=labels)
        equalized = equalize(model, stats, samples[:_CHECKED])
    if settings.split:
        tops = observe(io.to_bytes(model), samples, progress=progress, total=len(samples), labels=labels)
        _split(model, tops, settings.split)
    difference = 0.0
    if settings.unroll or settings.equalize or settings.split:
        difference = _difference(before, model, samples[:_CHECKED], progress, labels)
    swept = None
    if optimizes:
        ranges = observe(io.to_bytes(model), samples, progress=progress, total=len(samples), labels=labels)
        swept = sweep.bake(
            model,
            ranges,
            samples,
            correct_bias=settings.correct_bias,
            rounding=settings.rounding,
            progress=progress,
        )
    return Report(settings.unroll, equalized, dict(settings.split), difference, swept)


def _difference(
    before: bytes, after: ir.Model, samples: Sequence[Mapping[str, Array]], progress: Progress, labels: Sequence[str]
) -> float:
    """How far the float outputs moved, which is no more than `LIMIT`.

    Raises:
        ToolError: it is more, or an activation is not finite.
    """
    with np.errstate(invalid="ignore"):  # Inf less Inf, told by name below
        difference = largest_difference(io.from_bytes(before), after, samples)
    if math.isnan(difference):
        observe(before, samples, progress=progress, labels=labels)
    if not difference <= LIMIT:
        raise ToolError(
            f"preparing the graph changed its float outputs by {difference:.1e} of their largest value",
            fix="quantization: {equalize: false, split: {}, unroll: []} goes without; please report this network",
        )
    return difference


def _split(model: ir.Model, tops: Ranges, parts: Mapping[str, int]) -> None:
    """Split each of `parts`; `tops` are of the graph as it is before the first."""
    for name, count in parts.items():
        top = float(np.float32(tops[name].high)) if name in tops else None
        _at(("split", name), split_range, model, name, count, top)


def _at(key: tuple[str | int, ...], rewrite: Callable[..., None], *arguments: object) -> None:
    """Call `rewrite`; what it refuses is a mistake at `key` of the recipe's section."""
    try:
        rewrite(*arguments)
    except UnsupportedError as error:
        # The place of such an error is a line of the recipe, which the pipeline knows; so its node goes into the text.
        listed = f"[{key[1]}]" if isinstance(key[1], int) else ""
        node = f" ({error.where})" if error.where else ""
        what = f"quantization.{key[0]}{listed}: {error.what}{node}"
        raise RecipeError(what, fix=error.fix, at=("quantization", *key)) from error
