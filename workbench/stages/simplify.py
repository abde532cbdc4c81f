"""Simplify the exported graph, and keep the result only when it is proven to compute the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.calib.feeds import feeds
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.graph import io
from workbench.recipe.schema import InputSpec
from workbench.sources.simplify import simplify


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    inputs: tuple[InputSpec, ...]


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``model.onnx`` and ``simplify.json``: differences per output, or why the step was reverted."""
    path = inputs["export"] / "model.onnx"
    real = list(feeds(inputs["pictures"] / "golden", settings.inputs))[:1]
    result = simplify(path, settings.inputs, extra_feeds=real, progress=progress)
    if reason := io.not_deployable(io.read(path)):
        io.mark_not_deployable(result.model, reason)
    io.write(result.model, out / "model.onnx")
    write_json(out / "simplify.json", {"reverted": result.reverted, "differences": result.differences})


STAGE = Stage("simplify", 1, run, tools=("onnxsim", "onnxruntime", "onnx", "onnx-ir"), rooms=("sources",))
