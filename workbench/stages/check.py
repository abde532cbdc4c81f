"""Hold the graph after surgery against the operator tables of the chips, before time goes into what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """What this stage sees of the recipe: the chips of ``targets.pulsar2``, in the recipe's words."""

    chips: tuple[str, ...]


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``check.json``: the report of each chip, by its name in the recipe.

    What a pass would mend is warned of with the lines that the recipe's surgery lacks.

    Raises:
        UnsupportedError: a chip does not take a node, and no pass mends it; `at` says which chip of the recipe.
    """
    model = io.read(inputs["surgery"] / "model.onnx")
    reports: dict[str, Any] = {}
    for index, chip in enumerate(settings.chips):
        progress.step(index, len(settings.chips), chip)
        report = remedies.treat(model, chip).before
        if report.of("blocked"):
            raise _refused(report, chip, index)
        _tell(report, chip, progress)
        reports[chip] = report.to_json()
    write_json(out / "check.json", reports)


def _tell(report: Report, chip: str, progress: Progress) -> None:
    rewrite, by_hand = report.of("rewrite"), report.of("by hand")
    if rewrite:
        progress.warn(
            f"{chip} does not take {len(rewrite)} nodes as they are ({_operators(rewrite)});"
            f" add to surgery: {', '.join(report.passes)}"
        )
    if by_hand:
        told = dict.fromkeys(f"{one.operator} {one.attribute} {one.found}" for one in by_hand)
        progress.note(f"{chip}: {len(by_hand)} nodes to judge by hand: {'; '.join(list(told)[:_MOST])}")


def _refused(report: Report, chip: str, index: int) -> UnsupportedError:
    found = report.of("blocked")
    listed = [f"\n    {one.operator} '{one.node}': {one.attribute} {one.found} ({one.limit})" for one in found[:_MOST]]
    if len(found) > _MOST:
        listed.append(f"\n    and {len(found) - _MOST} more: {_operators(found[_MOST:])}")
    return UnsupportedError(
        f"{chip} does not take the graph that surgery leaves, and no pass mends it{''.join(listed)}",
        fix="cut these off with cut_outputs, so that a CPU runs them, replace them in the network, or drop the chip",
        at=("targets", "pulsar2", "chips", index),
    )


def _operators(findings: tuple[Finding, ...]) -> str:
    return ", ".join(dict.fromkeys(one.operator for one in findings))


STAGE = Stage("check", 1, run, tools=("onnx", "onnx-ir"), rooms=("targets/pulsar2", "surgery", "graph"))
