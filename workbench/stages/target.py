"""Build one target from the canonical graph; there is a step for each target a recipe names."""

from __future__ import annotations

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
    job = TargetJob(
        name=settings.recipe,
        options=settings.target.options,
        model=inputs["surgery"] / "model.onnx",
        quantized=quantized,
        inputs=_files.read_inputs(inputs["surgery"]),
        pictures=inputs["pictures"] / "calibration",
        out=out,
        progress=progress,
    )
    _files.write_artifacts(out, catalog.load("target", settings.target.name).build(job))


def stage(name: str) -> Stage:
    """The stage of target `name`."""
    module = catalog.load("target", name)
    package = hasattr(module, "__path__")
    return Stage(name, module.VERSION, run, tools=module.TOOLS, rooms=(f"targets/{name}",) if package else ())
