"""Compare two streams of outputs, run by run, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from workbench.errors import ParityError
from workbench.parity.metrics import Array, Metric, Row
from workbench.parity.pairing import Pair


def compare_runs(
    reference: Iterable[Mapping[str, Array]], got: Iterable[Mapping[str, Array]], pairs: Sequence[Pair]
) -> list[Row]:
    """One row a pair, in the order of `pairs`; each item of the two streams is one run, outputs by name.

    Raises:
        ParityError: one stream ends before the other, an output is missing from a run, or shapes differ.
    """
    metrics = [Metric(pair.reference) for pair in pairs]
    for ours, theirs in zip_longest(reference, got):
        if ours is None or theirs is None:
            short, done = ("reference", "compared side") if ours is None else ("compared side", "reference")
            raise ParityError(f"the {short} has fewer runs than the {done}", fix="run both models on the same inputs")
        for pair, metric in zip(pairs, metrics, strict=True):
            metric.add(
                _of(ours, pair.reference, "reference"), pair.to_reference(_of(theirs, pair.got, "compared side"))
            )
    return [metric.row() for metric in metrics]


def _of(run: Mapping[str, Array], name: str, side: str) -> Array:
    try:
        return run[name]
    except KeyError as error:
        raise ParityError(
            f"the {side} did not produce {name!r}, only {', '.join(sorted(run)) or 'nothing'}",
            fix="compare models with the same outputs",
        ) from error
