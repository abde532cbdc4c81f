"""Run the steps of a plan in order: skip what the store has, publish what finishes, leave nothing half-done."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workbench.engine import partial
from workbench.engine.progress import Progress
from workbench.engine.stage import Record, Step, difference, digest, record
from workbench.engine.store import Store, disk_error, is_disk_error


@dataclass(frozen=True)
class Outlook:
    """What would happen to a step and why: `reasons` is empty when its result is already there."""

    step: Step
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """A finished step: where its files are, whether it ran now, and what it said when it ran."""

    step: Step
    files: Path
    ran: bool
    seconds: float
    peak_mb: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


class Reporter(Progress, Protocol):
    """A progress display that also hears of stages."""

    def begin(self, stage: str) -> None:
        """A stage starts."""

    def end(self, done: Done) -> None:
        """A stage is finished, or was not needed."""


def outlook(steps: Sequence[Step], store: Store, recipe: str) -> list[Outlook]:
    """For each step, why it would run; nothing is run."""
    last = store.last_keys(recipe)
    return [
        Outlook(step, () if store.has(digest(step)) else tuple(_reasons(last.get(step.name), record(step))))
        for step in steps
    ]


def _reasons(old: Record | None, new: Record) -> list[str]:
    return difference(old, new) or ["its result is gone from the store"]


def run(steps: Sequence[Step], store: Store, recipe: str, reporter: Reporter) -> dict[str, Done]:
    """Run `steps`, each after those it needs.

    Raises:
        WorkbenchError: a stage failed; results of the stages before it stay in the store.
    """
    results: dict[str, Done] = {}
    store.sweep()
    partial.sweep(store)
    keys = store.last_keys(recipe)
    try:
        for step in steps:
            results[step.name] = _one(step, store, reporter)
            keys[step.name] = record(step)
    finally:
        store.remember_keys(recipe, keys)
    return results


def _one(step: Step, store: Store, reporter: Reporter) -> Done:
    address = digest(step)
    ran = not store.has(address)
    if ran:
        reporter.begin(step.name)
        _work(step, address, store, reporter)
    told = store.run_record(address)
    done = Done(
        step,
        store.files(address),
        ran,
        told["seconds"],
        told["peak_mb"],
        tuple(told["notes"]),
        tuple(told["warnings"]),
    )
    reporter.end(done)
    return done


def _work(step: Step, address: str, store: Store, reporter: Reporter) -> None:
    inputs = {need.name: store.files(digest(need)) for need in step.needs}
    inputs |= {name: file.path for name, file in step.outside.items()}
    heard = _Hearing(reporter)
    start = time.perf_counter()
    with ExitStack() as stack:
        if step.stage.resumable:
            inputs["partial"] = stack.enter_context(partial.kept(store, address))
        folder = stack.enter_context(store.scratch(step.name))
        try:
            step.stage.run(step.settings, inputs, folder / "files", heard)
        except OSError as error:
            if is_disk_error(error):
                raise disk_error(error, folder) from error
            raise
        told = {
            "seconds": round(time.perf_counter() - start, 3),
            "peak_mb": round(_peak_mb(), 1),
            "notes": heard.notes,
            "warnings": heard.warnings,
        }
        store.publish(folder, address, record(step), told)


def _peak_mb() -> float:
    """Peak resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


class _Hearing:
    """Passes progress on and keeps notes and warnings for the record."""

    def __init__(self, reporter: Reporter) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.step: Callable[[int, int | None, str], None] = reporter.step
        self._reporter = reporter

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._reporter.note(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self._reporter.warn(text)
