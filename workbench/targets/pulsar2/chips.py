"""The chips Pulsar2 compiles for: one entry of data each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError

NpuMode = Literal["NPU1", "NPU2", "NPU3", "NPU4"]
Hardware = Literal["AX650", "AX620E", "AX615", "AX637", "AX8860", "M76H", "M57"]


@dataclass(frozen=True)
class Chip:
    """One value of ``target_hardware``.

    Attributes:
        name: as Pulsar2 spells it.
        npu_modes: how many of its NPU cores one model may take.
        aliases: parts on the market that are compiled for under this name.
        quantonnx: whether ``model_type`` QuantONNX (a QDQ model) is documented for it.
    """

    name: Hardware
    npu_modes: tuple[NpuMode, ...]
    aliases: tuple[str, ...] = ()
    quantonnx: bool = False


CHIPS = (
    Chip("AX650", ("NPU1", "NPU2", "NPU3"), aliases=("AX650A", "AX650N", "AX8850"), quantonnx=True),
    Chip("AX620E", ("NPU1", "NPU2"), aliases=("AX630C", "AX620Q")),
    Chip("AX615", ("NPU1", "NPU2")),
    Chip("AX637", ("NPU1",)),
    Chip("AX8860", ("NPU1", "NPU2", "NPU4")),
    Chip("M76H", ("NPU1", "NPU2", "NPU3"), quantonnx=True),
    Chip("M57", ("NPU1",)),
)
NAMES = {name: chip for chip in CHIPS for name in (chip.name, *chip.aliases)}


def find(name: str) -> Chip:
    """The chip called `name`, which may be one of its aliases.

    Raises:
        RecipeError: nothing is called so; the nearest name is the fix.
    """
    chip = NAMES.get(name)
    if chip is None:
        raise RecipeError(f"no chip called {name!r}", fix=did_you_mean(name.upper(), NAMES))
    return chip
