"""Prepare the float graph for 8 bits: equalized, wide ranges split, biases corrected, weights on their grid."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.calib.feeds import Samples
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.graph import io
from workbench.quant.bake import READS, bake
from workbench.recipe.schema import Quantization
from workbench.stages import _files


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    quantization: Quantization

    @classmethod
    def of(cls, quantization: Quantization) -> Settings:
        """Its part of `quantization`."""
        return cls(quantization.only(*READS, "pictures"))


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``model.onnx``, the float graph every 8-bit artifact is made from, and ``bake.json``, what was done to it.

    Raises:
        RecipeError: a tensor of ``quantization.split`` or ``unroll`` cannot be; its key is told.
        WorkbenchError: as `workbench.quant.bake.bake`, which names a picture by its own file name.
    """
    specs = _files.read_inputs(inputs["surgery"])
    model = io.read(inputs["surgery"] / "model.onnx")
    first = range(settings.quantization.pictures or sys.maxsize)
    samples = Samples(inputs["pictures"] / "calibration", specs, first)
    report = bake(
        model, samples, settings.quantization, progress=progress, labels=_files.read_names(inputs["pictures"])
    )
    for line in report.summary():
        progress.note(line)
    io.write(model, out / "model.onnx")
    write_json(out / "bake.json", report.to_json())


STAGE = Stage("bake", 1, run, tools=("onnx", "onnx-ir", "onnxruntime", "numpy"), rooms=("quant", "graph"))
