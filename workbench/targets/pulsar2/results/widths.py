"""Read from Pulsar2's ``quant_axmodel.json`` whether the tensors that were to have 16 bits have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import ToolError
from workbench.targets.pulsar2.results import _text

WIDTHS_AT = "quant/quant_axmodel.json"
_SECTIONS = ("tensor_configs", "configs")  # where the layers are; the vendor's page shows them without a section
_WIDE = 16


@dataclass(frozen=True)
class Effect:
    """What became of a wish for 16 bits.

    Attributes:
        without: tensors that no layer has at 16 bits, with a layer that has each at fewer: certain, no effect.
        partly: tensors that some layers have at 16 bits and others at fewer, with one of those.
        unlisted: tensors that no layer names: renamed, or inside a fused layer; nothing is certain.
    """

    without: Mapping[str, str]
    partly: Mapping[str, str]
    unlisted: tuple[str, ...]


def effect(path: Path, u16: Sequence[str]) -> Effect:
    """What the tool made of the tensors `u16`.

    Args:
        path: ``quant_axmodel.json``: per layer and tensor, among others, ``bit_width``.
        u16: what was asked for.

    Raises:
        ToolError: the file is missing, no plain file of a sensible size, or not JSON.
    """
    widths = _widths(path)
    narrow = {
        name: next((layer for layer, width in widths[name].items() if width < _WIDE), "")
        for name in u16
        if name in widths and min(widths[name].values()) < _WIDE
    }
    without = {name: layer for name, layer in narrow.items() if max(widths[name].values()) < _WIDE}
    partly = {name: layer for name, layer in narrow.items() if name not in without}
    return Effect(without, partly, tuple(name for name in u16 if name not in widths))


def doubts(found: Effect, u16: Sequence[str], chip: str) -> list[str]:
    """Sentences on what is not certain: tensors of `u16` that only some layers have at 16 bits, or that are not listed.

    Args:
        found: the effect.
        u16: what was asked for.
        chip: the start of every sentence.
    """
    told = []
    if found.partly:
        told.append(f"{chip}: {_layers(found.partly)} of the {len(u16)} tensors asked for at 16 bits are read at 8")
    if found.unlisted:
        told.append(
            f"{chip}: {_some(found.unlisted)} of the {len(u16)} tensors asked for at 16 bits are not in {WIDTHS_AT}"
        )
    return told


def enforce(found: Effect, u16: Sequence[str], chip: str, where: Path) -> None:
    """Raise ToolError when tensors of `u16` certainly stayed at 8 bits; `where` is the list that says so."""
    if found.without:
        raise ToolError(
            f"{chip}: {_layers(found.without)} of the {len(u16)} tensors asked for at 16 bits stayed at 8",
            where=str(where),
            fix="u16.txt beside it says what was asked for; take these out of quantization.u16, or add what reads them",
        )


def _widths(path: Path) -> Mapping[str, dict[str, int]]:
    """By tensor the width that every layer has it at; a layer with it in two ways counts with the smaller."""
    text = _text.read(path)
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, or nested to break readers
        raise ToolError("not JSON", where=str(path), fix="compile again, or look at it") from error
    layers = told if isinstance(told, dict) else {}
    layers = next((layers[name] for name in _SECTIONS if isinstance(layers.get(name), dict)), layers)
    found: dict[str, dict[str, int]] = {}
    for layer, tensors in layers.items():
        for name, config in tensors.items() if isinstance(tensors, dict) else ():
            width = config.get("bit_width") if isinstance(config, dict) else None
            if isinstance(width, int):
                by_layer = found.setdefault(str(name), {})
                by_layer[str(layer)] = min(width, by_layer.get(str(layer), width))
    return found


def _layers(tensors: Mapping[str, str]) -> str:
    return _some([f"{name!r} in layer {layer!r}" for name, layer in tensors.items()], plain=True)


def _some(names: Sequence[str], *, plain: bool = False) -> str:
    shown = ", ".join(name if plain else repr(name) for name in names[:3])
    return f"{len(names)} ({shown}{', ...' if len(names) > 3 else ''})"
