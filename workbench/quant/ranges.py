"""The values each tensor takes: a range a tensor, merged in any order, kept as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from workbench.errors import ToolError

_FORMAT = 1


@dataclass(frozen=True)
class Range:
    """The smallest and the largest value, both finite, ``low <= high``.

    Raises:
        ValueError: an end is NaN or infinite, or they are swapped.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"{self.low}..{self.high} is not a range")
        # min(0.0, -0.0) keeps its first argument, so a negative zero would make merging depend on the order.
        object.__setattr__(self, "low", self.low + 0.0)
        object.__setattr__(self, "high", self.high + 0.0)

    def merge(self, other: Range) -> Range:
        """The range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class Ranges(Mapping[str, Range]):
    """Ranges by tensor name, and the number of samples they were seen in."""

    by_name: Mapping[str, Range]
    samples: int

    def __getitem__(self, name: str) -> Range:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def merge(self, other: Ranges) -> Ranges:
        """What one observation of both sample sets would give; associative and commutative, to the bit."""
        names = dict.fromkeys((*self, *other))
        merged = {name: _join(self.get(name), other.get(name)) for name in names}
        return Ranges(merged, self.samples + other.samples)

    def to_json(self) -> str:
        """Deterministic text, tensors sorted by name; float32 values come back exactly."""
        ranges = {name: [self[name].low, self[name].high] for name in sorted(self)}
        return json.dumps({"format": _FORMAT, "samples": self.samples, "ranges": ranges}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "") -> Self:
        """What `to_json` wrote.

        Raises:
            ToolError: the text is something else; `where` says which file it came from.
        """
        try:
            values = json.loads(text)
            if values["format"] != _FORMAT:
                raise ValueError(f"format {values['format']!r}")
            ranges = {str(name): Range(float(low), float(high)) for name, (low, high) in values["ranges"].items()}
            return cls(ranges, int(values["samples"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ToolError(f"not a file of ranges: {error}", where=where, fix="observe the model again") from error

    def to_bytes(self) -> bytes:
        """`to_json` in UTF-8."""
        return self.to_json().encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "") -> Self:
        """What `to_bytes` wrote.

        Raises:
            ToolError: as `from_json`.
        """
        return cls.from_json(data.decode(errors="replace"), where)


def _join(ours: Range | None, theirs: Range | None) -> Range:
    if ours is None or theirs is None:
        present = ours or theirs
        assert present is not None  # noqa: S101 -- the name came from one of the two
        return present
    return ours.merge(theirs)
