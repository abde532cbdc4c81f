"""Fit the recipe's pictures to the network's inputs: a few golden ones for parity, the others for calibration.

The golden pictures are held out first, so that INT8 ranges are never measured on what they are judged by: not on these
files, not on copies of them, not on parts of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.calib.pictures import hold_out, write_fitted
from workbench.calib.sets import find_pictures
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.recipe.schema import Calibration, InputSpec


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    calibration: Calibration
    inputs: tuple[InputSpec, ...]
    samples: int


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``golden/<InputSpec.folder>/*.png``, the same in ``calibration``, and ``pictures.json``."""
    found = find_pictures(settings.calibration.pictures, inputs["base"], cache=inputs["cache"])
    golden, rest = hold_out(found.paths, settings.samples)
    if copies := len(found.paths) - len(golden) - len(rest):
        progress.warn(f"{copies} of the pictures are copies of golden ones, and calibrate nothing")
    wanted = settings.calibration
    report: dict[str, object] = {"origin": found.origin}
    for name, paths, count, minimum, crops in (
        ("golden", golden, settings.samples, settings.samples, 0),
        ("calibration", rest, wanted.count, wanted.least, wanted.crops),
    ):
        for spec in settings.inputs:
            folder = out / name / spec.folder
            fitted = write_fitted(paths, spec, folder, count=count, minimum=minimum, crops=crops, progress=progress)
            if len(fitted.used) < count:
                progress.warn(f"{len(fitted.used)} of the {count} {name} pictures asked for: there are no more")
            report[name] = {
                "used": list(fitted.written),
                "skipped": [[entry.path.name, entry.reason] for entry in fitted.skipped],
            }
    write_json(out / "pictures.json", report)


STAGE = Stage("pictures", 2, run, tools=("pillow", "numpy"), rooms=("calib",))
