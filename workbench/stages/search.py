"""Search the quantization settings of a network on its own calibration pictures, whole ones and hard crops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image

from workbench.calib.crops import crops
from workbench.calib.feeds import Feeds, count, feeds
from workbench.calib.pictures import choose, read_fitted
from workbench.calib.preprocess import Pixels, fit_picture, to_tensor
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.errors import ToolError
from workbench.graph import io
from workbench.pose.displacement import reference
from workbench.quant.search import Budget, search
from workbench.recipe.schema import InputSpec, Quantization
from workbench.stages import _files

_LEAST = 2  # what a single picture shows holds for no other
# Of each side, what a judging crop keeps: closer than calibration crops are on average, as people are cut there.
_SHARE = (0.3, 0.6)


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe and the command.

    Attributes:
        quantization: where the search starts from.
        budget: how far it may go.
        heatmaps: the outputs that mean heatmaps.
        joints: how many of their channels are joints.
        judging: pictures that settings are judged by: as many whole ones as crops.
    """

    quantization: Quantization
    budget: Budget
    heatmaps: tuple[str, ...]
    joints: int
    judging: int = 16


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``search.json``: the recipe's section, what each setting is worth, and what is left.

    The golden pictures are not looked at: they are to judge what is found here.

    Raises:
        ToolError: there are fewer than two calibration pictures, or as `search`.
        UnsupportedError: as `search`.
    """
    specs = _files.read_inputs(inputs["surgery"])
    folder = inputs["pictures"] / "calibration"
    found = count(folder, specs)
    total = min(found, settings.quantization.pictures or found)
    if total < _LEAST:
        raise ToolError(
            f"{total or 'no'} calibration picture{'s' * (total != 1)}: settings are searched on at least {_LEAST}",
            fix="add pictures to calibration.pictures, or raise calibration.count",
        )
    model = io.read(inputs["surgery"] / "model.onnx")
    outputs = {str(value.name) for value in model.graph.outputs}
    choice = search(
        model,
        list(islice(feeds(folder, specs), total)),
        list(_judging(folder, specs, settings.judging)),
        partial(reference, heatmaps=[name for name in settings.heatmaps if name in outputs], joints=settings.joints),
        settings.quantization,
        settings.budget,
        progress=progress,
        partial=inputs.get("partial"),
    )
    write_json(out / "search.json", choice.to_json())


def _judging(folder: Path, specs: Sequence[InputSpec], wanted: int) -> Iterator[Feeds]:
    """Half of `wanted` calibration pictures as they are, evenly spread, then a crop of as many others in between."""
    files = sorted((folder / specs[0].name).glob("*.png"))
    half = max(1, wanted // 2)
    whole = choose(files, half)
    cut = choose([path for path in files if path not in whole] or files, half)
    for chosen, change in ((whole, _as_it_is), (cut, _crop)):
        for index, fitted in enumerate(zip(*(read_fitted(folder / spec.name) for spec in specs), strict=True)):
            if files[index] in chosen:
                key = fitted[0].tobytes()
                pairs = zip(specs, fitted, strict=True)
                yield {spec.name: to_tensor(change(pixels, spec, key), spec) for spec, pixels in pairs}


def _as_it_is(pixels: Pixels, spec: InputSpec, key: bytes) -> Pixels:
    return pixels


def _crop(pixels: Pixels, spec: InputSpec, key: bytes) -> Pixels:
    """The one crop of a fitted picture, fitted again; `key` is the same for all inputs of a network."""
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    (part,) = crops(picture, key, 1, share=_SHARE)
    return fit_picture(part, spec)


STAGE = Stage(
    "search",
    1,
    run,
    tools=("onnx", "onnx-ir", "onnxruntime", "numpy", "pillow"),
    rooms=("calib", "graph", "pose", "quant"),
    resumable=True,
)
