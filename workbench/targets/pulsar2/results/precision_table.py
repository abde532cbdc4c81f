"""``precision_analysis_table.txt``: the cosine of every layer, as Pulsar2 draws it with box characters.

A row may take several lines when a name is folded; a line of the box ends it. Layout: read off a real table of
September 2024.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ToolError
from workbench.targets.pulsar2.results import _text

_HEADINGS = {
    "operator": "operator",
    "type": "kind",
    "output tensor": "tensor",
    "shape": "shape",
    "dtype": "dtype",
    "qdtype": "quantized",
    "cosin": "cosine",
    "mse": "mse",
}
_NEEDED = ("operator", "tensor", "cosine")
_TITLE = re.compile(r"Quant Precision Table\s*【\s*(\w+)\s+(\w+)\s*】")
_NUMBERS = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Layer:
    """One row.

    Attributes:
        operator: the node's name in the tool's own graph.
        kind: the tool's operator, e.g. ``AxQuantizedConv``.
        quantized: what the tensor is stored as, e.g. ``U8``.
        cosine: to the float network, -1..1; NaN where the table has no number.
        mse: mean squared error, likewise.
    """

    operator: str
    kind: str
    tensor: str
    shape: tuple[int, ...]
    dtype: str
    quantized: str
    cosine: float
    mse: float


@dataclass(frozen=True)
class Table:
    """The table; `method` is PerLayer or EndToEnd, `mode` Reference or NPUBackend; empty when unsaid."""

    method: str
    mode: str
    layers: tuple[Layer, ...]


def read(path: Path) -> Table:
    """The table in `path`.

    Raises:
        ToolError: the file cannot be read, or holds no such table.
    """
    text = _text.read(path)
    title = _TITLE.search(text)
    columns: tuple[str, ...] = ()
    layers = []
    for cells in _rows(text):
        if not columns:
            named = tuple(_HEADINGS.get(cell.casefold(), "") for cell in cells)
            if all(name in named for name in _NEEDED):
                columns = named
        elif len(cells) == len(columns):
            layers.append(_layer(dict(zip(columns, cells, strict=True))))
    if not columns:
        raise ToolError(
            "no precision table inside",
            where=str(path),
            fix="its layout is new to Workbench: report the tool's version and this file",
        )
    return Table(title[1] if title else "", title[2] if title else "", tuple(layers))


def _rows(text: str) -> Iterator[list[str]]:
    """The cells of each row; lines that continue a row are joined, since only names are long enough to be folded."""
    row: list[str] = []
    for line in text.splitlines():
        line = line.strip()
        if line[:1] in ("│", "┃"):
            cells = [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
            row = [a + b for a, b in zip(row, cells, strict=True)] if len(row) == len(cells) else cells
        elif row:
            yield row
            row = []
    if row:
        yield row


def _layer(cells: dict[str, str]) -> Layer:
    return Layer(
        operator=cells["operator"],
        kind=cells.get("kind", ""),
        tensor=cells["tensor"],
        shape=tuple(int(size) for size in _NUMBERS.findall(cells.get("shape", ""))),
        dtype=cells.get("dtype", ""),
        quantized=cells.get("quantized", ""),
        cosine=_number(cells["cosine"]),
        mse=_number(cells.get("mse", "")),
    )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
