"""The table a conversion ends with: what was written, how it was checked, what is missing and whether to ship it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from workbench.cli._display import table
from workbench.report.page import human_bytes
from workbench.stages.publish import Outcome

COLUMNS = (
    ("file", "left"),
    ("size", "right"),
    ("sha256", "left"),
    ("cosine", "right"),
    ("max abs", "right"),
    ("checked by", "left"),
)
_WANTED = {"sha256": 78, "size": 69, "max abs": 60}  # a column is left out where the terminal is narrower: json has all
_ABOUT_THE_RUN = ("parity.json", "report.html", "report.json")


def show(outcome: Outcome, console: Console) -> None:
    """Print the table of `outcome`; a narrow terminal gets fewer columns rather than broken names."""
    judged = {entry["artifact"]: entry for entry in outcome.parity["artifacts"]}
    files: Sequence[Mapping[str, Any]] = outcome.manifest["files"]
    rows = [_model(file, judged[file["path"]]) for file in files if file["path"] in judged]
    rows += _kits(file for file in files if file["path"] not in {*judged, *_ABOUT_THE_RUN})
    for skip in outcome.manifest["skipped"]:
        rows.append((escape(skip["path"]), "", "", "", "", f"[yellow]skipped: {escape(skip['reason'])}[/]"))
    deployable = "" if outcome.manifest["deployable"] else "  [bold red]NOT DEPLOYABLE[/]"
    unchanged = "" if outcome.changed else " (unchanged)"
    console.print()
    title = f"{escape(str(outcome.folder))}/{unchanged}{deployable}"
    kept = [index for index, (heading, _) in enumerate(COLUMNS) if console.width >= _WANTED.get(heading, 0)]
    console.print(table(title, [COLUMNS[i] for i in kept], [[row[i] for i in kept] for row in rows]))
    parity = outcome.parity
    console.print(f"parity with {parity['reference']} on {parity['samples']} pictures; every number is in parity.json")
    for fix in dict.fromkeys(skip["fix"] for skip in outcome.manifest["skipped"]):
        console.print(f"  fix for skipped files: {escape(fix)}")
    for reason in outcome.manifest["not_deployable_because"]:
        console.print(f"[bold red]NOT DEPLOYABLE[/]: {escape(reason)}")


def _model(file: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[str, ...]:
    cosine = min(float(row["cosine"]) for row in entry["outputs"])
    largest = max(float(row["max_abs"]) for row in entry["outputs"])
    verdict = "[green]ok[/]" if entry["passed"] else "[bold red]FAILED[/]"
    return (
        escape(file["path"]),
        human_bytes(file["bytes"]),
        file["sha256"][:8],
        f"{cosine:.6f}",
        f"{largest:.1e}",
        f"{escape(entry['runtime'])}: {verdict}",
    )


def _kits(files: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Files that are no models, one row a folder."""
    folders: dict[str, list[Mapping[str, Any]]] = {}
    for file in files:
        top = "/".join(file["path"].split("/")[:2]) if "/" in file["path"] else file["path"]
        folders.setdefault(top, []).append(file)
    rows: list[tuple[str, ...]] = []
    for top, inside in folders.items():
        size = human_bytes(sum(file["bytes"] for file in inside))
        if len(inside) == 1 and inside[0]["path"] == top:
            rows.append((escape(top), size, inside[0]["sha256"][:8], "", "", ""))
        else:
            rows.append((f"{escape(top)}/", size, f"{len(inside)} files", "", "", ""))
    return rows
