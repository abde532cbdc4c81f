"""Compare every later graph with the source network's golden outputs, and judge by the recipe's limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.calib.feeding import feeds_of
from workbench.calib.feeds import Feeds, count
from workbench.calib.pictures import read_fitted
from workbench.engine.progress import Progress, track
from workbench.engine.stage import Stage
from workbench.engine.store import sha256_file, write_json
from workbench.errors import ToolError
from workbench.parity.compare import compare_runs
from workbench.parity.pairing import pair
from workbench.parity.verdict import judge
from workbench.recipe.schema import InputSpec, Limits, Parity, Precision
from workbench.runtimes import open_model
from workbench.runtimes._runner import Array, Port
from workbench.stages import _files
from workbench.targets.pulsar2.fed import Compiled, compiled

_COMPILED: Precision = "axmodel"


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe; `targets` are the names of the target steps."""

    parity: Parity
    inputs: tuple[InputSpec, ...]
    targets: tuple[str, ...]
    reference: str


@dataclass(frozen=True)
class _Suspect:
    """A graph to compare: its file, the input specs it wants, the golden outputs it must reproduce."""

    label: str
    path: Path
    precision: Precision
    inputs: tuple[InputSpec, ...]
    golden: _files.Golden


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``parity.json``: per artifact and output cosine, max abs, mean abs, relative L2, SNR, and the verdict.

    A compiled model is judged where the recipe has a limit for it, and else only reported: that it cannot be run here
    is then a warning, and it is missing from the file.
    """
    suspects = list(_suspects(settings, inputs))
    folder = inputs["pictures"] / "golden"
    results: list[dict[str, Any]] = []
    measured: dict[tuple[object, ...], dict[str, Any]] = {}
    for suspect in track(suspects, progress, "graphs compared"):
        same = (sha256_file(suspect.path), suspect.inputs, suspect.precision, tuple(suspect.golden))
        try:
            if same not in measured:  # a step that changed nothing left the same bytes, which answer the same
                measured[same] = _one(suspect, folder, settings.parity)
        except ToolError as error:
            if suspect.precision != _COMPILED or _COMPILED in settings.parity.limits:
                raise
            progress.warn(
                f"{suspect.label} was not compared: {error.what} (an axmodel limit in the recipe makes this an error)"
            )
            continue
        results.append({**measured[same], "artifact": suspect.label})
    write_json(
        out / "parity.json",
        {
            "reference": settings.reference,
            "samples": count(folder, settings.inputs),
            "passed": all(result["passed"] for result in results),
            "artifacts": results,
        },
    )


def _suspects(settings: Settings, inputs: Mapping[str, Path]) -> Iterator[_Suspect]:
    source = _files.read_golden(inputs["export"] / "golden.npz")
    after = _files.read_golden(inputs["surgery"] / "golden.npz")
    specs = _files.read_inputs(inputs["surgery"])
    yield _Suspect("exported", inputs["export"] / "model.onnx", "float", settings.inputs, source)
    yield _Suspect("simplified", inputs["simplify"] / "model.onnx", "float", settings.inputs, source)
    yield _Suspect("after surgery", inputs["surgery"] / "model.onnx", "float", specs, after)
    for target in settings.targets:
        for artifact in _files.read_artifacts(inputs[target]):
            if artifact.precision is not None and not artifact.skipped:
                yield _Suspect(artifact.path, inputs[target] / artifact.path, artifact.precision, specs, after)


def _one(suspect: _Suspect, folder: Path, parity: Parity) -> dict[str, Any]:
    limits: Limits | None = parity.limits.get(suspect.precision)
    known = compiled(suspect.path) if suspect.precision == _COMPILED else Compiled()
    with open_model(suspect.path, hardware=known.hardware) as runner:
        outputs = pair(_ports(suspect.golden), runner.outputs, reference_layout="NCHW", got_layout=runner.layout)
        fed = feeds_of(suspect.inputs, runner.inputs, runner.layout, cameras=known.cameras)
        pictures = zip(*(read_fitted(folder / one.spec.folder) for one in fed), strict=True)
        feeds: Iterator[dict[str, Array]] = (
            {one.port.name: one.of_pixels(pixels) for one, pixels in zip(fed, fitted, strict=True)}
            for fitted in pictures
        )
        rows = compare_runs(_golden_runs(suspect.golden), runner.run_all(feeds), outputs)
    verdict = judge(rows, limits)
    return {
        "artifact": suspect.label,
        "precision": suspect.precision,
        "runtime": runner.runtime,
        "notes": [note for note in (*(one.note for one in fed), *(one.note for one in outputs)) if note],
        "limits": limits.model_dump(exclude_none=True) if limits else {},
        "outputs": [row.to_json() for row in rows],
        "passed": verdict.passed,
        "failures": list(verdict.failures),
    }


def _ports(golden: _files.Golden) -> Sequence[Port]:
    return [Port(name, (1, *values.shape[1:]), "float32") for name, values in golden.items()]


def _golden_runs(golden: _files.Golden) -> Iterator[Feeds]:
    for index in range(len(next(iter(golden.values())))):
        yield {name: values[index : index + 1] for name, values in golden.items()}


STAGE = Stage("parity", 2, run, tools=("onnxruntime", "ai-edge-litert", "numpy"), rooms=("calib", "parity", "runtimes"))
