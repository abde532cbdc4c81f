"""Read from Pulsar2's ``quant_axmodel.json`` whether the tensors that were to have 16 bits have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import ToolError

WIDTHS_AT = "quant/quant_axmodel.json"
_LARGEST = 256 * 2**20  # bytes; a network of a thousand layers has two


def doubts(path: Path, u16: Sequence[str], chip: str) -> list[str]:
    """Sentences on the tensors of `u16` that the tool left at fewer bits, or does not list under their name.

    Args:
        path: ``quant_axmodel.json``: per layer and tensor, among others, ``bit_width``.
        u16: what was asked for.
        chip: the start of every sentence.
    """
    try:
        widths = _widths(path)
    except ToolError as error:
        return [f"{chip}: cannot see which tensors have 16 bits: {error.what}"]
    narrow = [name for name in u16 if min(widths.get(name, {16})) < 16]
    unknown = [name for name in u16 if name not in widths]
    found = []
    if narrow:
        found.append(f"{chip}: {_some(narrow)} of the {len(u16)} tensors asked for at 16 bits stayed at 8")
    if unknown:
        found.append(f"{chip}: {_some(unknown)} of the {len(u16)} tensors asked for at 16 bits are not in {WIDTHS_AT}")
    return found


def _widths(path: Path) -> Mapping[str, set[int]]:
    """Every bit width of every tensor, over all layers that read or make it."""
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST:
            raise ToolError(f"{WIDTHS_AT} is no plain file of a sensible size")
        layers: Any = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ToolError(f"{WIDTHS_AT}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested to break readers
        raise ToolError(f"{WIDTHS_AT} is not JSON") from error
    found: dict[str, set[int]] = {}
    for tensors in layers.values() if isinstance(layers, dict) else ():
        for name, told in tensors.items() if isinstance(tensors, dict) else ():
            width = told.get("bit_width") if isinstance(told, dict) else None
            if isinstance(width, int):
                found.setdefault(str(name), set()).add(width)
    return found


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return f"{len(names)} ({shown}{', ...' if len(names) > 3 else ''})"
