"""Whether the compared outputs are within the recipe's limits, and in words which one is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.parity.metrics import Row
from workbench.recipe.schema import Limits

_AT_LEAST = ("cosine", "snr_db")
_WORDS = {
    "cosine": "cosine",
    "max_abs": "largest difference",
    "mean_abs": "mean difference",
    "relative_l2": "relative L2",
    "snr_db": "SNR in dB",
}


@dataclass(frozen=True)
class Verdict:
    """Passed, or every reason why not: each names the output, the metric, its value and the limit."""

    passed: bool
    failures: tuple[str, ...]


def judge(rows: Sequence[Row], limits: Limits | None) -> Verdict:
    """Hold `rows` against `limits`.

    NaN, Inf and an empty comparison fail even without limits; ``cosine`` is that over all samples, not the worst one.
    """
    failures: list[str] = [] if rows else ["nothing was compared"]
    for row in rows:
        if not row.elements:
            failures.append(f"{row.name}: nothing was compared")
        elif not (row.reference_finite and row.got_finite):
            sides = [
                side
                for side, finite in (("the reference", row.reference_finite), ("the compared side", row.got_finite))
                if not finite
            ]
            failures.append(f"{row.name}: NaN or Inf in {' and '.join(sides)}")
        elif math.isnan(row.cosine):
            failures.append(f"{row.name}: the numbers are too large to be compared")
        else:
            failures.extend(_beyond(row, limits))
    return Verdict(not failures, tuple(failures))


def _beyond(row: Row, limits: Limits | None) -> list[str]:
    failures = []
    for metric, limit in (limits.model_dump(exclude_none=True) if limits else {}).items():
        value = getattr(row, metric)
        within = value >= limit if metric in _AT_LEAST else value <= limit
        if not within:  # a NaN compares false and lands here too
            word = "below" if metric in _AT_LEAST else "above"
            shown = f"{value:.6g}"
            if float(shown) == limit:  # rounding must not print two equal numbers and call one larger
                shown = repr(value)
            failures.append(f"{row.name}: {_WORDS[metric]} {shown} is {word} the limit {limit:g}")
    return failures
