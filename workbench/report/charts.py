"""Values along a network as the points of an inline SVG chart with a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 960, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 12, 26
_MOST_TICKS = 8


@dataclass(frozen=True)
class Point:
    """A value at its place, and what to say when it is pointed at."""

    x: float
    y: float
    said: str


@dataclass(frozen=True)
class Line:
    """One series: a `kind` that the style sheet knows, its name, and its points from left to right."""

    kind: str
    name: str
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """The points as an SVG path."""
        return "M" + "L".join(f"{point.x:g} {point.y:g}" for point in self.points)


@dataclass(frozen=True)
class Tick:
    """A line of the grid: where, and its value as text."""

    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart; `worst` is the point that a reader looks for, None when there is none."""

    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    worst: Point | None
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    width: int = WIDTH
    height: int = HEIGHT
    bottom: int = HEIGHT - _BOTTOM


def along(
    names: Sequence[str], series: Sequence[tuple[str, str, Sequence[float | None]]], floor: float = 1e-7
) -> Chart | None:
    """The chart of several values a place, drawn by their logarithm; None without two places.

    Args:
        names: of the places, from the input to the output.
        series: kind, name and values; None or what is not finite leaves a gap, less than `floor` is drawn there.
        floor: the smallest value of the axis.
    """
    known = [value for _, _, values in series for value in values if value is not None and math.isfinite(value)]
    if len(names) < 2 or not known:
        return None
    low = math.floor(math.log10(max(min(known), floor)))
    high = max(math.ceil(math.log10(max(max(known), floor))), low + 1)

    def place(index: int, value: float, name: str) -> Point:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * index / (len(names) - 1)
        y = HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share
        return Point(round(x, 1), round(y, 1), f"{names[index]}: {name} {value:.3g}")

    lines = tuple(
        Line(
            kind,
            name,
            tuple(
                place(index, value, name)
                for index, value in enumerate(values)
                if value is not None and math.isfinite(value)
            ),
        )
        for kind, name, values in series
    )
    step = max(1, -(-(high - low) // _MOST_TICKS))
    ticks = tuple(
        Tick(round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (power - low) / (high - low), 1), f"{10.0**power:g}")
        for power in range(low, high + 1, step)
    )
    peaks = [point for line in lines for point in line.points]
    return Chart(tuple(line for line in lines if line.points), ticks, min(peaks, key=lambda point: point.y))
