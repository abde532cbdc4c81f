"""Deployable ONNX: the canonical float graph, and its INT8 emulation when the recipe quantizes."""

from __future__ import annotations

import shutil

from workbench.recipe.schema import Precision, Strict
from workbench.targets._target import Artifact, TargetJob

VERSION = 1
TOOLS: tuple[str, ...] = ()


class Options(Strict):
    """This target has no options."""


def precisions(options: Options) -> frozenset[Precision]:  # noqa: ARG001 -- the signature every target has
    """The float graph; the INT8 emulation is the recipe's wish, not this target's."""
    return frozenset({"float"})


def build(job: TargetJob[Options]) -> list[Artifact]:
    """Copy the graphs under their deployed names."""
    artifacts = [Artifact(f"{job.name}.onnx", "float")]
    shutil.copyfile(job.model, job.out / artifacts[0].path)
    if job.quantized is not None:
        artifacts.append(Artifact(f"{job.name}.int8.onnx", "int8"))
        shutil.copyfile(job.quantized, job.out / artifacts[1].path)
    return artifacts
