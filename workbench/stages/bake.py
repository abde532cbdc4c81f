"""Prepare the float graph for 8 bits: equalized, its most sensitive ranges split, biases corrected, weights on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from workbench.calib.feeds import count, feeds
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.graph import io
from workbench.quant.bake import bake
from workbench.recipe.schema import Quantization
from workbench.stages import _files


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    quantization: Quantization

    @classmethod
    def of(cls, quantization: Quantization) -> Settings:
        """Its part of `quantization`."""
        return cls(quantization.only("equalize", "split", "unroll", "correct_bias", "rounding", "pictures"))


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``model.onnx``, the float graph every 8-bit artifact is made from, and ``bake.json``, what was done to it.

    Raises:
        RecipeError: a tensor of ``quantization.split`` or ``unroll`` cannot be; its line is told.
        WorkbenchError: as `workbench.quant.bake.bake`.
    """
    specs = _files.read_inputs(inputs["surgery"])
    folder = inputs["pictures"] / "calibration"
    total = min(count(folder, specs), settings.quantization.pictures or 10**9)
    model = io.read(inputs["surgery"] / "model.onnx")
    samples = list(islice(feeds(folder, specs), total))
    report = bake(model, samples, settings.quantization, progress=progress)
    for line in report.summary():
        progress.note(line)
    io.write(model, out / "model.onnx")
    write_json(out / "bake.json", report.to_json())


STAGE = Stage("bake", 1, run, tools=("onnx", "onnx-ir", "onnxruntime", "numpy"), rooms=("quant", "graph"))
