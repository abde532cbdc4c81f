"""Compare every later graph with the source network's golden outputs, and judge by the recipe's limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.calib.feeds import Feeds, count, feeds
from workbench.engine.progress import Progress, track
from workbench.engine.stage import Stage
from workbench.engine.store import sha256_file, write_json
from workbench.parity.compare import compare_runs
from workbench.parity.pairing import pair
from workbench.parity.verdict import judge
from workbench.recipe.schema import InputSpec, Limits, Parity, Precision
from workbench.runtimes import open_model
from workbench.runtimes._runner import Port
from workbench.stages import _files


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
    """Write ``parity.json``: per artifact and output cosine, max abs, mean abs, relative L2, SNR, and the verdict."""
    suspects = list(_suspects(settings, inputs))
    folder = inputs["pictures"] / "golden"
    results: list[dict[str, Any]] = []
    measured: dict[tuple[object, ...], dict[str, Any]] = {}
    for suspect in track(suspects, progress, "graphs compared"):
        same = (sha256_file(suspect.path), suspect.inputs, suspect.precision, tuple(suspect.golden))
        if same not in measured:  # a step that changed nothing left the same bytes, which answer the same
            measured[same] = _one(suspect, folder, settings.parity)
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
            if artifact.precision is None or artifact.skipped:
                continue
            # Simulating a compiled model takes minutes a picture: a recipe asks for it by giving it a limit.
            if artifact.precision != "axmodel" or "axmodel" in settings.parity.limits:
                yield _Suspect(artifact.path, inputs[target] / artifact.path, artifact.precision, specs, after)


def _one(suspect: _Suspect, folder: Path, parity: Parity) -> dict[str, Any]:
    limits: Limits | None = parity.limits.get(suspect.precision)
    with open_model(suspect.path) as runner:
        outputs = pair(_ports(suspect.golden), runner.outputs, reference_layout="NCHW", got_layout=runner.layout)
        by_itself = any(port.dtype == "uint8" for port in runner.inputs)
        specs = tuple(spec.pixels for spec in suspect.inputs) if by_itself else suspect.inputs
        wanted = [Port(spec.name, spec.nchw, "float32") for spec in specs]
        fed = pair(wanted, runner.inputs, reference_layout="NCHW", got_layout=runner.layout, what="input")
        types = {port.name: port.dtype for port in runner.inputs}
        runs = (
            runner.run({one.got: one.from_reference(feed[one.reference]).astype(types[one.got]) for one in fed})
            for feed in feeds(folder, specs)
        )
        rows = compare_runs(_golden_runs(suspect.golden), runs, outputs)
    verdict = judge(rows, limits)
    return {
        "artifact": suspect.label,
        "precision": suspect.precision,
        "runtime": runner.runtime,
        "notes": [one.note for one in outputs if one.note],
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


STAGE = Stage("parity", 1, run, tools=("onnxruntime", "ai-edge-litert", "numpy"), rooms=("parity", "runtimes"))
