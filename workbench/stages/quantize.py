"""Write the INT8 emulation: the canonical graph with QuantizeLinear and DequantizeLinear where the chip rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.graph import io
from workbench.quant.qdq import write_qdq
from workbench.quant.ranges import Ranges
from workbench.recipe.schema import Quantization


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    quantization: Quantization


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``model.onnx``, the QDQ graph."""
    model = io.read(inputs["surgery"] / "model.onnx")
    ranges = Ranges.from_json((inputs["calibrate"] / "ranges.json").read_text("utf-8"))
    quantized = write_qdq(model, ranges)
    if reason := io.not_deployable(model):
        io.mark_not_deployable(quantized, reason)
    io.write(quantized, out / "model.onnx")


STAGE = Stage("quantize", 1, run, tools=("onnx-ir", "numpy"), rooms=("quant",))
