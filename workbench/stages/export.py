"""Turn the source network into the canonical float ONNX, and write down its own answers to the golden pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench import catalog
from workbench.calib.feeds import feeds
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.graph import io
from workbench.recipe.schema import Call, InputSpec, OutputSpec
from workbench.stages import _files


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe; `not_deployable` says why the result must not be shipped."""

    source: Call
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    not_deployable: str


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``model.onnx`` and ``golden.npz``: {output: float32 (samples, C, H, W)} from the source framework."""
    samples = list(feeds(inputs["pictures"] / "golden", settings.inputs))
    exported = catalog.load("source", settings.source.name).export(
        settings.source.options,
        inputs.get("weights"),
        settings.inputs,
        settings.outputs,
        samples,
        base=inputs["base"],
        progress=progress,
    )
    if settings.not_deployable:
        io.mark_not_deployable(exported.model, settings.not_deployable)
    io.write(exported.model, out / "model.onnx")
    golden = {spec.name: np.concatenate([run[spec.name] for run in exported.golden]) for spec in settings.outputs}
    _files.write_golden(out / "golden.npz", golden)


def stage(tools: tuple[str, ...]) -> Stage:
    """This stage, with the distributions its source kind depends on."""
    return Stage("export", 1, run, tools=tools, rooms=("sources", "graph"))
