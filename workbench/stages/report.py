"""Collect what the other stages wrote into the HTML dossier, and the numbers only it has into ``report.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.errors import ToolError, UnsupportedError
from workbench.recipe.schema import Call, InputSpec, OutputSpec
from workbench.recipe.yaml_marks import At, Marks
from workbench.report import calibration, poses
from workbench.report.page import Dossier, render
from workbench.report.snippets import snippets
from workbench.stages import _annotated, _files, _shown
from workbench.targets.pulsar2.options import Options

_VENDOR = "vendor.json"  # the chip's compiler and our emulation, tensor by tensor


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe and of this machine.

    Attributes:
        targets: what the recipe writes.
        inputs: the recipe's, before surgery.
        outputs: likewise.
        joints: the skeleton's name.
        source: where the network comes from.
        weights: the manifest's words on the weights.
        tools: version by tool.
        u16: the tensors at 16 bits, as the recipe names them.
        marks: place in the recipe's file by path, to say which line a value of the chip's configuration comes from.
    """

    recipe: str
    about: str
    not_deployable: str
    targets: tuple[Call, ...]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    joints: str
    source: str
    weights: Mapping[str, Any]
    tools: Mapping[str, str]
    u16: tuple[str, ...] = ()
    marks: tuple[tuple[At, str], ...] = ()


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``report.html`` and ``report.json``: joints moved and layers' cosines, as the page shows them."""
    names = tuple(call.name for call in settings.targets)
    artifacts = [artifact for name in names for artifact in _files.read_artifacts(inputs[name])]
    hashes = [item for name in names for item in _files.read_hashes(inputs[name]).items()]
    specs = _files.read_inputs(inputs["surgery"])
    parity = _json(inputs["parity"] / "parity.json")
    pictures = _json(inputs["pictures"] / "pictures.json")
    layers, left_out = _layers(inputs, specs, progress)
    random = settings.weights.get("origin") == "random"
    gallery = poses.gallery(
        _shown.candidates(names, inputs, specs, progress, ask=not random),
        settings.outputs,
        settings.joints,
        pictures["golden"]["used"],
        random,
    )
    write_json(out / "report.json", {"poses": gallery.to_json(), "layers": layers, "layers_left_out": left_out})
    page = render(
        Dossier(
            recipe=settings.recipe,
            about=settings.about,
            not_deployable=settings.not_deployable,
            parity=parity,
            files=[(path, size, sha256) for path, (size, sha256) in sorted(hashes)],
            skipped=[(artifact.path, artifact.skipped, artifact.fix) for artifact in artifacts if artifact.skipped],
            surgery=_json(inputs["surgery"] / "surgery.json"),
            simplify=_json(inputs["simplify"] / "simplify.json"),
            chips=dict(_vendors(names, inputs)),
            checks=_json(inputs["check"] / "check.json") if "check" in inputs else {},
            source=settings.source,
            weights=settings.weights,
            tools=settings.tools,
            inputs=specs,
            gallery=gallery,
            bake=_json(inputs["bake"] / "bake.json") if "bake" in inputs else {},
            layers=layers,
            layers_left_out=left_out,
            calibration=calibration.summary(
                inputs["pictures"] / "calibration" / settings.inputs[0].folder,
                pictures["origin"],
                pictures["calibration"],
            ),
            configs=list(_configs(settings, inputs, specs)),
            snippets=snippets([path for path, _ in sorted(hashes)], specs, _fed(settings, specs)),
        )
    )
    (out / "report.html").write_text(page, "utf-8")


def _layers(
    inputs: Mapping[str, Path], specs: tuple[InputSpec, ...], progress: Progress
) -> tuple[list[dict[str, Any]], str]:
    """Every tensor of the emulation beside the float network's, on golden pictures; or why there are none."""
    if "quantize" not in inputs:
        return [], "the recipe quantizes nothing"
    try:
        return _shown.layers(inputs, specs), ""
    except (ToolError, UnsupportedError) as error:
        progress.warn(f"the report shows no layers: {error.what}")
        return [], error.what


def _vendors(names: tuple[str, ...], inputs: Mapping[str, Path]) -> Iterator[tuple[str, Any]]:
    """Chip and content of every ``vendor.json`` that a target wrote into the chip's folder."""
    for name in names:
        for artifact in _files.read_artifacts(inputs[name]):
            path = inputs[name] / artifact.path
            if path.name == _VENDOR and not artifact.skipped:
                yield path.parent.name, _json(path)


def _configs(
    settings: Settings, inputs: Mapping[str, Path], specs: tuple[InputSpec, ...]
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Chip and lines of the configuration that its compiler is given."""
    marks = Marks(settings.recipe, values=dict(settings.marks))
    changed = {
        ("inputs", index, key)
        for index, (old, new) in enumerate(zip(settings.inputs, specs, strict=True))
        for key in ("name", "color", "mean", "std")
        if getattr(old, key) != getattr(new, key)
    }
    mixed = inputs["quantize"] / "mixed.json" if "quantize" in inputs else None
    u16 = _json(mixed)["u16"] if mixed is not None and mixed.is_file() else []
    for name, options in _pulsar2(settings):
        for chip in options.chips:
            yield (
                chip,
                _annotated.annotated(inputs[name], chip, specs, options, tuple(u16), marks, settings.u16, changed),
            )


def _fed(settings: Settings, specs: tuple[InputSpec, ...]) -> dict[str, str]:
    return {spec.name: options.kind(spec.name) for _, options in _pulsar2(settings) for spec in specs}


def _pulsar2(settings: Settings) -> list[tuple[str, Options]]:
    return [(call.name, call.options) for call in settings.targets if isinstance(call.options, Options)]


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


STAGE = Stage(
    "report",
    2,
    run,
    tools=("jinja2", "numpy", "onnxruntime", "pillow"),
    rooms=("report", "calib", "parity", "pose", "quant", "runtimes", "targets/pulsar2"),
)
