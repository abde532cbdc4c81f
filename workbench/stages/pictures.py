"""Fit the recipe's pictures to the network's inputs: a few golden ones for parity, the others for calibration.

The golden pictures are held out first, so that INT8 ranges are never measured on what they are judged by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.calib import pictures
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.errors import ToolError
from workbench.recipe.schema import Calibration, InputSpec


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    calibration: Calibration
    inputs: tuple[InputSpec, ...]
    samples: int


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``golden/<input>/*.png``, ``calibration/<input>/*.png`` and ``pictures.json``."""
    found = pictures.find_pictures(settings.calibration.pictures, inputs["base"], cache=inputs["cache"])
    golden, rest = pictures.hold_out(found.paths, settings.samples)
    report: dict[str, object] = {}
    for name, paths, count, least in (
        ("golden", golden, settings.samples, 1),
        ("calibration", rest, settings.calibration.count, settings.calibration.minimum),
    ):
        for spec in settings.inputs:
            fitted = pictures.write_fitted(paths, spec, out / name / spec.name, count=count, progress=progress)
            for path, reason in fitted.skipped:
                progress.warn(f"{path}: not used: {reason}")
            if len(fitted.used) < least:
                raise ToolError(
                    f"{len(fitted.used)} readable {name} pictures of {len(paths)}, {least} are needed",
                    where=f"{settings.calibration.pictures}",
                    fix="add pictures, or lower calibration.minimum or parity.samples",
                    at=("calibration", "pictures"),
                )
            report[name] = {
                "used": [Path(path).name for path in fitted.used],
                "skipped": [[Path(path).name, reason] for path, reason in fitted.skipped],
            }
    write_json(out / "pictures.json", report)


STAGE = Stage("pictures", 1, run, tools=("pillow", "numpy"))
