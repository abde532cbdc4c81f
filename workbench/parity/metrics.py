"""How far one output is from its reference: a streaming accumulator, and the row of numbers it ends in."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from workbench.errors import ParityError

Array = npt.NDArray[np.generic]
_NAN = math.nan


@dataclass(frozen=True)
class Row:
    """The numbers of one output, over all elements of all samples unless said otherwise.

    All are NaN when nothing was compared, when either side holds a NaN or an Inf, or when squares leave float64.

    Args:
        name: the output.
        samples: how many runs were compared.
        elements: how many numbers were compared, all samples together.
        reference_finite: the reference holds no NaN and no Inf.
        got_finite: the compared side holds none either.
        cosine: ``a.b / (|a| |b|)``, -1..1; two zero tensors have 1, a zero and a non-zero tensor 0.
        worst_cosine: the smallest cosine of a single sample.
        max_abs: the largest ``|a - b|``, in the output's own unit.
        mean_abs: the mean of ``|a - b|``.
        relative_l2: ``|a - b| / |a|`` (Euclidean norms), with a the reference; 0 when equal.
        snr_db: signal to noise, ``10 log10(sum a^2 / sum (a - b)^2)``, as the signal-to-quantization-noise ratio of
            Widrow and Kollar, "Quantization Noise" (2008); +inf when equal, -inf when only the reference is zero.
    """

    name: str
    samples: int
    elements: int
    reference_finite: bool
    got_finite: bool
    cosine: float
    worst_cosine: float
    max_abs: float
    mean_abs: float
    relative_l2: float
    snr_db: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; a number JSON cannot hold (NaN, infinities) becomes the string Python writes for it."""
        return {field.name: _to_json(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The row that `to_json` wrote."""
        numbers = ("cosine", "worst_cosine", "max_abs", "mean_abs", "relative_l2", "snr_db")
        read: dict[str, Any] = {key: float(value) if key in numbers else value for key, value in values.items()}
        return cls(**read)


class Metric:
    """Accumulates the comparison of one output in float64, sample by sample; its size does not grow."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.samples = 0
        self.elements = 0
        self.reference_finite = True
        self.got_finite = True
        self._dot = self._reference = self._got = self._noise = self._abs = 0.0
        self._max = 0.0
        self._worst = math.inf

    def add(self, reference: Array, got: Array) -> None:
        """Take in one sample; both arrays have one shape and a numeric or boolean dtype.

        Raises:
            ParityError: the shapes differ, or a side does not hold numbers.
        """
        if reference.shape != got.shape:
            raise ParityError(
                f"output {self.name!r} has shape {list(got.shape)}, the reference {list(reference.shape)}",
                fix="compare models with the same outputs",
            )
        for side in (reference, got):
            if side.dtype.kind not in "fiub":
                raise ParityError(
                    f"output {self.name!r} holds {side.dtype}, not numbers", fix="cut the graph before it"
                )
        self.samples += 1
        self.elements += reference.size
        a = np.asarray(reference, np.float64).ravel()
        b = np.asarray(got, np.float64).ravel()
        a_finite, b_finite = bool(np.isfinite(a).all()), bool(np.isfinite(b).all())
        self.reference_finite &= a_finite
        self.got_finite &= b_finite
        if not (a_finite and b_finite and a.size):
            return
        with np.errstate(over="ignore", invalid="ignore"):  # `row` makes an overflow NaN, and the verdict refuses it
            self._accumulate(a, b)

    def _accumulate(self, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> None:
        difference = a - b
        dot, aa, bb = float(a @ b), float(a @ a), float(b @ b)
        self._dot += dot
        self._reference += aa
        self._got += bb
        self._noise += float(difference @ difference)
        magnitude = np.abs(difference)
        self._abs += float(magnitude.sum())
        self._max = max(self._max, float(magnitude.max()))
        self._worst = min(self._worst, _cosine(dot, aa, bb))

    def merge(self, other: Metric) -> Metric:
        """The metric that has seen the samples of both; associative, and commutative up to rounding."""
        both = Metric(self.name)
        both.samples = self.samples + other.samples
        both.elements = self.elements + other.elements
        both.reference_finite = self.reference_finite and other.reference_finite
        both.got_finite = self.got_finite and other.got_finite
        both._dot = self._dot + other._dot
        both._reference = self._reference + other._reference
        both._got = self._got + other._got
        both._noise = self._noise + other._noise
        both._abs = self._abs + other._abs
        both._max = max(self._max, other._max)
        both._worst = min(self._worst, other._worst)
        return both

    def row(self) -> Row:
        """The numbers so far; see `Row`."""
        head = (self.name, self.samples, self.elements, self.reference_finite, self.got_finite)
        sums = (self._dot, self._reference, self._got, self._noise, self._abs)
        if not (self.elements and self.reference_finite and self.got_finite and all(map(math.isfinite, sums))):
            return Row(*head, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN)
        return Row(
            *head,
            cosine=_cosine(self._dot, self._reference, self._got),
            worst_cosine=self._worst,
            max_abs=self._max,
            mean_abs=self._abs / self.elements,
            relative_l2=_relative(self._noise, self._reference),
            snr_db=_decibel(self._reference, self._noise),
        )


def compare_tensors(name: str, reference: Array, got: Array) -> Row:
    """The row of two arrays (N, ...) whose first axis counts the samples.

    Raises:
        ParityError: the shapes differ, or a side does not hold numbers.
    """
    metric = Metric(name)
    if reference.shape != got.shape or reference.ndim == 0:
        metric.add(reference, got)
        return metric.row()
    for a, b in zip(reference, got, strict=True):
        metric.add(np.asarray(a), np.asarray(b))
    return metric.row()


def _cosine(dot: float, aa: float, bb: float) -> float:
    if aa == 0.0 or bb == 0.0:
        return 1.0 if aa == bb else 0.0
    # Two square roots, since the product of the squared norms leaves the range of float64 before they do.
    return max(-1.0, min(1.0, dot / math.sqrt(aa) / math.sqrt(bb)))


def _relative(noise: float, signal: float) -> float:
    if signal == 0.0:
        return 0.0 if noise == 0.0 else math.inf
    return math.sqrt(noise) / math.sqrt(signal)


def _decibel(signal: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    return 10.0 * (math.log10(signal) - math.log10(noise)) if signal else -math.inf


def _to_json(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
