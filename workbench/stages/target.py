"""Build one target from the canonical graph; there is a step for each target a recipe names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench import catalog
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.recipe.schema import Call
from workbench.stages import _files
from workbench.targets._target import TargetJob


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe; `environment` is what the target found on this machine (a toolchain)."""

    recipe: str
    target: Call
    environment: Mapping[str, str]


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write the target's files and ``artifacts.json``."""
    quantized = inputs["quantize"] / "model.onnx" if "quantize" in inputs else None
    baked = inputs["bake"] / "model.onnx" if "bake" in inputs else None
    ranges = inputs["calibrate"] / "ranges.json" if "calibrate" in inputs else None
    mixed = inputs["quantize"] / "mixed.json" if "quantize" in inputs else None
    u16 = json.loads(mixed.read_text("utf-8"))["u16"] if mixed is not None and mixed.is_file() else []
    job = TargetJob(
        name=settings.recipe,
        options=settings.target.options,
        model=inputs["surgery"] / "model.onnx",
        quantized=quantized,
        baked=baked,
        ranges=ranges,
        inputs=_files.read_inputs(inputs["surgery"]),
        pictures=inputs["pictures"] / "calibration",
        out=out,
        progress=progress,
        mixed=inputs["quantize"] / "mixed.onnx" if u16 else None,
        u16=tuple(u16),
    )
    _files.write_artifacts(out, catalog.load("target", settings.target.name).build(job))


def stage(name: str) -> Stage:
    """The stage of target `name`."""
    module = catalog.load("target", name)
    own = (f"targets/{name}",) if hasattr(module, "__path__") else ()
    return Stage(name, module.VERSION, run, tools=module.TOOLS, rooms=(*own, *getattr(module, "ROOMS", ())))
