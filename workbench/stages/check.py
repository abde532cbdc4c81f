"""Hold the graph after surgery against the operator tables of the chips, before time goes into what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.errors import UnsupportedError
from workbench.graph import io
from workbench.targets.pulsar2 import remedies
from workbench.targets.pulsar2.findings import Finding, Report

_MOST = 5  # nodes that an error names


@dataclass(frozen=True)
class Settings:
    """What this stage sees of ``targets.pulsar2``: the chips in the recipe's words, and what a finding is."""

    chips: tuple[str, ...]
    lint: Literal["error", "warn"] = "error"


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``check.json``: the report of each chip, by its name in the recipe.

    Raises:
        UnsupportedError: a chip does not take a node, and that is not to be a warning; `at` says which chip of the
            recipe. Where passes mend it, the fix has the lines that the recipe's surgery lacks.
    """
    model = io.read(inputs["surgery"] / "model.onnx")
    reports: dict[str, Any] = {}
    for index, chip in enumerate(settings.chips):
        progress.step(index, len(settings.chips), chip)
        report = remedies.treat(model, chip).before
        if report.of("blocked") or report.of("rewrite"):
            refused = _refused(report, chip, index)
            if settings.lint == "error":
                raise refused
            progress.warn(f"{refused.what}\n  fix: {refused.fix}")
        if by_hand := report.of("by hand"):
            told = dict.fromkeys(f"{one.operator} {one.attribute} {one.found}" for one in by_hand)
            progress.note(f"{chip}: {len(by_hand)} nodes to judge by hand: {'; '.join(list(told)[:_MOST])}")
        reports[chip] = report.to_json()
    write_json(out / "check.json", reports)


def _refused(report: Report, chip: str, index: int) -> UnsupportedError:
    blocked, rewrite = report.of("blocked"), report.of("rewrite")
    found = (*blocked, *rewrite)
    listed = [f"\n    {one.operator} '{one.node}': {one.attribute} {one.found} ({one.limit})" for one in found[:_MOST]]
    if len(found) > _MOST:
        listed.append(f"\n    and {len(found) - _MOST} more: {_operators(found[_MOST:])}")
    fixes = []
    if rewrite:
        fixes.append(f"add to surgery: {', '.join(report.passes)}")
    if blocked:
        cut = "cut off with cut_outputs, so that a CPU runs them, or replace in the network"
        fixes.append(f"{cut}: {_operators(blocked)}; or drop the chip")
    fixes.append("a newer Pulsar2 may take more than its page says: targets.pulsar2.lint: warn")
    return UnsupportedError(
        f"{chip} does not take the graph that surgery leaves{''.join(listed)}",
        fix="; ".join(fixes),
        at=("targets", "pulsar2", "chips", index),
    )


def _operators(findings: tuple[Finding, ...]) -> str:
    return ", ".join(dict.fromkeys(one.operator for one in findings))


STAGE = Stage("check", 2, run, tools=("onnx", "onnx-ir"), rooms=("targets/pulsar2", "surgery", "graph"))
