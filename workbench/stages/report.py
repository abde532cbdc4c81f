"""Collect what the other stages wrote into the HTML dossier."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.report.page import Dossier, render
from workbench.stages import _files

_VENDOR = "vendor.json"  # the chip's compiler and our emulation, tensor by tensor


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    recipe: str
    about: str
    not_deployable: str
    targets: tuple[str, ...]


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``report.html``."""
    artifacts = [artifact for target in settings.targets for artifact in _files.read_artifacts(inputs[target])]
    hashes = [item for target in settings.targets for item in _files.read_hashes(inputs[target]).items()]
    page = render(
        Dossier(
            recipe=settings.recipe,
            about=settings.about,
            not_deployable=settings.not_deployable,
            parity=json.loads((inputs["parity"] / "parity.json").read_text("utf-8")),
            files=[(path, size, sha256) for path, (size, sha256) in sorted(hashes)],
            skipped=[(artifact.path, artifact.skipped, artifact.fix) for artifact in artifacts if artifact.skipped],
            surgery=json.loads((inputs["surgery"] / "surgery.json").read_text("utf-8")),
            simplify=json.loads((inputs["simplify"] / "simplify.json").read_text("utf-8")),
            chips=dict(_vendors(settings.targets, inputs)),
        )
    )
    (out / "report.html").write_text(page, "utf-8")


def _vendors(targets: tuple[str, ...], inputs: Mapping[str, Path]) -> Iterator[tuple[str, Any]]:
    """Chip and content of every ``vendor.json`` that a target wrote into the chip's folder."""
    for target in targets:
        for artifact in _files.read_artifacts(inputs[target]):
            path = inputs[target] / artifact.path
            if path.name == _VENDOR and not artifact.skipped:
                yield path.parent.name, json.loads(path.read_text("utf-8"))


STAGE = Stage("report", 1, run, tools=("jinja2",), rooms=("report",))
