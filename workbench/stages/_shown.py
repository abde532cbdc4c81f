"""What the report shows of the models themselves: answers to golden pictures, and layers, within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.calib.feeds import feeds
from workbench.calib.pictures import read_fitted
from workbench.engine.progress import Progress, track
from workbench.errors import ParityError, RecipeError, ToolError
from workbench.graph import io
from workbench.quant.layer_parity import readings
from workbench.recipe.schema import InputSpec
from workbench.report.poses import Candidates
from workbench.stages import _answers, _files

_PICTURES = 6  # a page is for looking at; the numbers of all samples are in parity.json
_LAYER_SAMPLES = 4
_EXACT = ("float", "fp16")  # what differs in no picture


def candidates(
    targets: Sequence[str],
    inputs: Mapping[str, Path],
    specs: tuple[InputSpec, ...],
    progress: Progress,
    *,
    ask: bool = True,
) -> Candidates:
    """The first golden pictures, the source network's answers, and those of every 8- and 16-bit model that runs here.

    A recipe without such models shows its float ones; with `ask` off no model is asked. Compiled models are left to
    `workbench parity`.
    """
    folder = inputs["pictures"] / "golden"
    golden = _files.read_golden(inputs["surgery"] / "golden.npz")
    fitted = list(islice(zip(*(read_fitted(folder / spec.folder) for spec in specs), strict=True), _PICTURES))
    golden = {name: values[: len(fitted)] for name, values in golden.items()}
    models = [
        (artifact, inputs[target] / artifact.path)
        for target in targets
        for artifact in _files.read_artifacts(inputs[target])
        if artifact.precision not in (None, "axmodel") and not artifact.skipped
    ]
    chosen = [one for one in models if one[0].precision not in _EXACT] or models[:1]
    chosen = chosen if ask else []
    found = {}
    for artifact, path in track(chosen, progress, "models asked for the report"):
        try:
            found[artifact.path] = _answers.answers(path, specs, fitted, golden)
        except (ParityError, RecipeError, ToolError) as error:
            progress.warn(f"the report shows no pictures of {artifact.path}: {error.what}")
    return Candidates([sample[0] for sample in fitted], golden, found)


def layers(inputs: Mapping[str, Path], specs: tuple[InputSpec, ...]) -> list[dict[str, Any]]:
    """Every activation of the emulation that goes on the chip, beside the float network's, in graph order.

    Raises:
        ToolError: onnxruntime refuses the graphs.
        UnsupportedError: they cannot be laid beside each other.
    """
    mixed = inputs["quantize"] / "mixed.onnx"
    emulation = mixed if mixed.is_file() else inputs["quantize"] / "model.onnx"
    samples = islice(feeds(inputs["pictures"] / "golden", specs), _LAYER_SAMPLES)
    return [
        {
            "tensor": one.tensor,
            "operator": one.operator,
            "per_layer": round(one.per_layer, 7),
            "end_to_end": round(one.end_to_end, 7),
        }
        for one in readings(io.read(inputs["bake"] / "model.onnx"), io.read(emulation), samples)
    ]
