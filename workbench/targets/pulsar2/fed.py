"""What a compiled model was compiled for, read off the kit it lies beside: the chip, and which YUV its cameras give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workbench.calib.feeding import Camera
from workbench.calib.nv12 import Order, Range
from workbench.errors import RecipeError, ToolError
from workbench.targets.pulsar2 import chips, formats, render

_ORDERS: dict[str, Order] = {"YUV420SP": "uv", "YVU420SP": "vu"}
_RANGES: dict[str, Range] = {"FullRange": "full", "LimitedRange": "limited"}


@dataclass(frozen=True)
class Compiled:
    """What is known of a compiled model beyond the file.

    Attributes:
        hardware: its chip, as ``--target_hardware`` names it; empty when the file's name does not say.
        cameras: by input, the YUV that it takes.
    """

    hardware: str = ""
    cameras: Mapping[str, Camera] = field(default_factory=dict)


def compiled(path: Path) -> Compiled:
    """What is known of the compiled model in `path`, called ``<recipe>.<chip>.axmodel`` as a conversion leaves it.

    Its configuration is ``pulsar2/<chip>/config.json`` beside it; where that is missing, or cannot be read, or a colour
    conversion is a matrix of its own, nothing is said of cameras.
    """
    parts = path.name.lower().removesuffix(".axmodel").split(".")
    name = next((name for name in chips.NAMES if name.lower() == parts[-1]), "") if len(parts) > 1 else ""
    if not name:
        return Compiled()
    config = path.parent / render.folder(name) / render.CONFIG
    try:
        processors = formats.read(config)[0].input_processors if config.is_file() else ()
    except (RecipeError, ToolError):
        processors = ()
    cameras = {
        one.tensor_name: Camera(_RANGES[one.csc_mode], _ORDERS[one.src_format])
        for one in processors
        if one.src_format in _ORDERS and one.csc_mode in _RANGES
    }
    return Compiled(chips.find(name).name, cameras)
