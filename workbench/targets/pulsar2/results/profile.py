"""``op_profile.csv``: what each operator costs on the NPU. Its columns are not documented: they are kept as named."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ToolError
from workbench.targets.pulsar2.results import _text

_COSTS = ("cycle", "time", "duration", "latency", "us", "cost")
_MOST_COLUMNS = 200


@dataclass(frozen=True)
class Profile:
    """A profile.

    Attributes:
        columns: as the file names them.
        rows: text by column, in the order of the file.
        cost: the column that the rows can be ranked by; empty when none is known for one.
    """

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    cost: str

    def slowest(self, count: int) -> tuple[Mapping[str, str], ...]:
        """The `count` rows of the highest cost, or the first ones where no column tells it."""
        if not self.cost:
            return self.rows[:count]
        return tuple(sorted(self.rows, key=lambda row: -_number(row[self.cost]))[:count])


def read(path: Path) -> Profile:
    """The profile in `path`.

    Raises:
        ToolError: the file cannot be read, or is no table.
    """
    try:
        table = [row for row in csv.reader(io.StringIO(_text.read(path)), strict=True) if any(row)]
    except csv.Error as error:
        raise ToolError(f"not CSV: {error}", where=str(path), fix="report the tool's version and this file") from error
    if len(table) < 2 or len(table[0]) > _MOST_COLUMNS or len(set(table[0])) != len(table[0]):
        raise ToolError("no profile inside", where=str(path), fix="report the tool's version and this file")
    columns = tuple(heading.strip() for heading in table[0])
    rows = tuple(
        dict(zip(columns, (cell.strip() for cell in row), strict=True)) for row in table[1:] if len(row) == len(columns)
    )
    return Profile(columns, rows, _cost(columns, rows))


def _cost(columns: tuple[str, ...], rows: tuple[Mapping[str, str], ...]) -> str:
    for word in _COSTS:
        for column in columns:
            if word in column.casefold() and all(math.isfinite(_number(row[column])) for row in rows):
                return column
    return ""


def _number(cell: str) -> float:
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return math.nan
