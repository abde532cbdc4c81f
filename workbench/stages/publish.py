"""Put a finished run into ``dist/<recipe>/`` with its manifest: all of it or nothing, and only if it changed."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.engine.progress import Progress
from workbench.engine.runner import Done
from workbench.engine.stage import digest, tool_version
from workbench.engine.store import disk_error, sha256_file
from workbench.recipe.schema import Recipe
from workbench.stages import _files
from workbench.stages._swap import File, is_current, replace, withdraw
from workbench.stages._weights import Weights

TOOLS = (
    "ai-edge-litert",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxscript",
    "onnxsim",
    "pillow",
    "tensorflow",
    "tensorflow-cpu",
    "tf2onnx",
    "torch",
)
BESIDES = ("flatbuffers", "jinja2", "pose-workbench")


@dataclass(frozen=True)
class Outcome:
    """What a conversion left behind.

    Attributes:
        folder: where it was published; ``<dist>/<recipe>.failed`` when parity failed.
        manifest: the content of ``manifest.json``.
        parity: the content of ``parity.json``.
        changed: False when the folder already held exactly this.
    """

    folder: Path
    manifest: Mapping[str, Any]
    parity: Mapping[str, Any]
    changed: bool

    @property
    def failures(self) -> tuple[str, ...]:
        """Every limit that was missed, one line each."""
        return tuple(
            f"{entry['artifact']}: {failure}" for entry in self.parity["artifacts"] for failure in entry["failures"]
        )


def publish(recipe: Recipe, weights: Weights, done: Mapping[str, Done], dist: Path, progress: Progress) -> Outcome:
    """Publish a run.

    A run that missed a parity limit goes to ``<dist>/<recipe>.failed``, so that it never replaces a good one.

    Raises:
        ToolError: `dist` cannot be written, or the folder holds something that is not a former result.
        DamagedError: a file of the store is no longer what its stage wrote.
    """
    parity: dict[str, Any] = json.loads((done["parity"].files / "parity.json").read_text("utf-8"))
    sources = _sources(recipe, done)
    manifest = _manifest(recipe, weights, done, parity, sources)
    folder = dist / (recipe.name if parity["passed"] else f"{recipe.name}.failed")
    try:
        changed = not is_current(folder, manifest)
        if changed:
            replace(folder, manifest, sources, progress)
        if parity["passed"]:
            withdraw(dist / f"{recipe.name}.failed")
    except OSError as error:
        raise disk_error(error, folder) from error
    return Outcome(folder, manifest, parity, changed)


def _sources(recipe: Recipe, done: Mapping[str, Done]) -> dict[str, File]:
    """Every file to publish, by its path in the folder."""
    found = {}
    for call in recipe.targets:
        files = done[call.name].files
        precisions = {artifact.path: artifact.precision for artifact in _files.read_artifacts(files)}
        for path, (size, sha256) in _files.read_hashes(files).items():
            found[path] = File(files / path, size, sha256, precisions.get(path), call.name)
    for stage, name in (
        ("check", "pulsar2/check.json"),
        ("parity", "parity.json"),
        ("report", "report.html"),
        ("report", "report.json"),
    ):
        if stage in done:
            file = done[stage].files / Path(name).name
            found[name] = File(file, file.stat().st_size, sha256_file(file), None, stage)
    return found


def _manifest(
    recipe: Recipe,
    weights: Weights,
    done: Mapping[str, Done],
    parity: Mapping[str, Any],
    sources: Mapping[str, File],
) -> dict[str, Any]:
    reasons = [weights.not_deployable] if weights.not_deployable else []
    reasons += [] if parity["passed"] else ["a parity limit was missed"]
    judged = {entry["artifact"]: entry["passed"] for entry in parity["artifacts"]}
    skipped = [
        {"path": artifact.path, "reason": artifact.skipped, "fix": artifact.fix}
        for call in recipe.targets
        for artifact in _files.read_artifacts(done[call.name].files)
        if artifact.skipped
    ]
    return {
        "recipe": recipe.name,
        "deployable": not reasons,
        "not_deployable_because": reasons,
        "weights": provenance(recipe, weights),
        "inputs": [spec.model_dump(mode="json") for spec in _files.read_inputs(done["surgery"].files)],
        "files": [
            {
                "path": path,
                "bytes": source.size,
                "sha256": source.sha256,
                "precision": source.precision,
                "parity": judged.get(path),
            }
            for path, source in sorted(sources.items())
        ],
        "skipped": skipped,
        "warnings": [warning for step in done.values() for warning in step.warnings],
        "keys": {name: digest(step.step) for name, step in done.items()},
        "tools": versions(getattr(step.step.settings, "environment", {}) for step in done.values()),
    }


def provenance(recipe: Recipe, weights: Weights) -> dict[str, Any]:
    """What the manifest and the report say of the weights."""
    pinned = recipe.weights.model_dump(mode="json", exclude_none=True) if recipe.weights else {}
    return {**pinned, "sha256": weights.sha256, "origin": weights.kind}


def versions(environments: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The version of everything that had a hand in it; `environments` say what targets found, as a toolchain."""
    found = {tool: version for tool in (*TOOLS, *BESIDES) if (version := tool_version(tool)) != "absent"}
    for environment in environments:
        found |= environment
    return {"python": platform.python_version(), **found}
