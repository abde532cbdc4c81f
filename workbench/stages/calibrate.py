"""Choose the range of every activation by what it is over the calibration pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from workbench.calib.feeds import count, feeds
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.errors import ToolError
from workbench.quant.measure import measure
from workbench.recipe.schema import Quantization
from workbench.stages import _files

_LEAST = 2  # the range of a single picture holds for no other


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    quantization: Quantization

    @classmethod
    def of(cls, quantization: Quantization) -> Settings:
        """Its part of `quantization`."""
        return cls(quantization.only("method", "percentile", "pictures"))


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``ranges.json``: for every tensor of the baked graph, the range that the recipe's method chooses.

    Raises:
        ToolError: there are fewer than two pictures, or as `observe`, which names a picture by its own file name.
    """
    specs = _files.read_inputs(inputs["surgery"])
    folder = inputs["pictures"] / "calibration"
    found = count(folder, specs)
    total = min(found, settings.quantization.pictures or found)
    if total < _LEAST:
        raise ToolError(
            f"{total or 'no'} calibration picture{'s' * (total != 1)}: ranges are measured on at least {_LEAST}",
            fix="add pictures to calibration.pictures, or raise calibration.count",
        )
    ranges = measure(
        inputs["bake"] / "model.onnx",
        islice(feeds(folder, specs), total),
        settings.quantization,
        progress=progress,
        total=total,
        labels=_files.read_names(inputs["pictures"]),
        partial=inputs.get("partial"),
    )
    (out / "ranges.json").write_text(ranges.to_json(), "utf-8")


STAGE = Stage("calibrate", 1, run, tools=("onnxruntime", "numpy"), rooms=("quant",), resumable=True)
