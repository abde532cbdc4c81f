"""What Pulsar2 says of a compiled model beside what our emulation says of the same tensors: ``vendor.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.errors import ToolError
from workbench.quant.layer_parity import Reading
from workbench.targets.pulsar2.results import log, precision_table, profile

TABLE, LOG, PROFILE = "precision_analysis_table.txt", "build.log", "op_profile.csv"
FILE = "vendor.json"
_SLOWEST = 20


def summary(kit: Path, emulated: Sequence[Reading]) -> tuple[dict[str, Any], list[str]]:
    """What the vendor's files in a chip's folder say, joined by tensor name with the emulation's readings.

    Args:
        kit: holds those of `TABLE`, `LOG` and `PROFILE` that the tool wrote.
        emulated: may be empty.

    Returns:
        plain data for JSON, NaN as None: ``max_cycle``, ``method``, ``mode``, ``layers`` (the table's rows in order,
        then what the table does not list), ``profile`` (the slowest rows); and what could not be read, a sentence each.
    """
    doubts: list[str] = []
    told: dict[str, Any] = {"max_cycle": None, "method": "", "mode": "", "layers": [], "profile": []}
    if (kit / LOG).exists():
        told["max_cycle"] = log.read(kit / LOG).max_cycle
    rows: tuple[precision_table.Layer, ...] = ()
    if (kit / TABLE).exists():
        try:
            table = precision_table.read(kit / TABLE)
            told |= {"method": table.method, "mode": table.mode}
            rows = table.layers
        except ToolError as error:
            doubts.append(f"{TABLE}: {error.what}")
    ours = {one.tensor: one for one in emulated}
    told["layers"] = [_row(row, ours.get(row.tensor)) for row in rows]
    listed = {row.tensor for row in rows}
    told["layers"] += [_row(None, one) for one in emulated if one.tensor not in listed]
    if (kit / PROFILE).exists():
        try:
            told["profile"] = [dict(row) for row in profile.read(kit / PROFILE).slowest(_SLOWEST)]
        except ToolError as error:
            doubts.append(f"{PROFILE}: {error.what}")
    return told, doubts


def write(kit: Path, told: dict[str, Any]) -> None:
    """Write ``vendor.json`` into the chip's folder.

    Raises:
        ToolError: the disk is full.
    """
    try:
        (kit / FILE).write_text(json.dumps(told, indent=1, sort_keys=True, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        raise ToolError(f"cannot write: {error.strerror}", where=str(kit / FILE), fix="free some space") from error


def _row(theirs: precision_table.Layer | None, ours: Reading | None) -> dict[str, Any]:
    return {
        "tensor": theirs.tensor if theirs else ours.tensor if ours else "",
        "operator": theirs.kind if theirs else ours.operator if ours else "",
        "layer": theirs.operator if theirs else "",
        "stored": theirs.quantized if theirs else "",
        "vendor_cosine": _finite(theirs.cosine) if theirs else None,
        "vendor_mse": _finite(theirs.mse) if theirs else None,
        "per_layer": _finite(ours.per_layer) if ours else None,
        "end_to_end": _finite(ours.end_to_end) if ours else None,
    }


def _finite(value: float) -> float | None:
    return round(value, 7) if math.isfinite(value) else None
