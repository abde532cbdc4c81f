"""Deployable ONNX: the canonical float graph, its INT8 emulation, and the one with tensors at 16 bits."""

from __future__ import annotations

import shutil
from pathlib import Path

from workbench.recipe.schema import Precision, Strict
from workbench.targets._target import Artifact, TargetJob

VERSION = 1
TOOLS: tuple[str, ...] = ()


class Options(Strict):
    """This target has no options."""


def precisions(options: Options) -> frozenset[Precision]:  # noqa: ARG001 -- the signature every target has
    """The float graph; the INT8 emulation and the mixed one are the recipe's wish, not this target's."""
    return frozenset({"float"})


def build(job: TargetJob[Options]) -> list[Artifact]:
    """Copy the graphs under their deployed names."""
    made: list[tuple[Path | None, str, Precision]] = [
        (job.model, f"{job.name}.onnx", "float"),
        (job.quantized, f"{job.name}.int8.onnx", "int8"),
        (job.mixed, f"{job.name}.mixed.onnx", "mixed"),
    ]
    artifacts = []
    for source, name, precision in made:
        if source is not None:
            shutil.copyfile(source, job.out / name)
            artifacts.append(Artifact(name, precision))
    return artifacts
