"""Choose the range of every activation by what it is over the calibration pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from workbench.calib.feeds import count, feeds
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.quant.methods import choose
from workbench.quant.observe import observe, observe_histograms
from workbench.recipe.schema import Quantization
from workbench.stages import _files


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    quantization: Quantization


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``ranges.json``: for every tensor of the canonical graph, the range that the recipe's method chooses."""
    specs = _files.read_inputs(inputs["surgery"])
    folder = inputs["pictures"] / "calibration"
    total = min(count(folder, specs), settings.quantization.pictures or 10**9)
    model, samples = inputs["surgery"] / "model.onnx", islice(feeds(folder, specs), total)
    method = settings.quantization.method
    if method == "MinMax":
        ranges = observe(model, samples, progress=progress, total=total)
    else:
        seen = observe_histograms(model, samples, progress=progress, total=total)
        ranges = choose(seen, method, percentile=settings.quantization.percentile)
    (out / "ranges.json").write_text(ranges.to_json(), "utf-8")


STAGE = Stage("calibrate", 1, run, tools=("onnxruntime", "numpy"), rooms=("quant",))
