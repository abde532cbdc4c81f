"""Search the quantization settings of a network on its own calibration pictures, whole ones and hard crops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from workbench.calib.crops import crops
from workbench.calib.feeds import Feeds, Samples
from workbench.calib.pictures import CROP, read_fitted
from workbench.calib.preprocess import Pixels, fit_picture, to_tensor
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.errors import ToolError
from workbench.graph import io
from workbench.pose.displacement import reference
from workbench.quant.choice import Budget
from workbench.quant.search import search
from workbench.quant.stepper import evenly
from workbench.recipe.schema import InputSpec, Quantization
from workbench.stages import _files

Indices = frozenset[int]

_LEAST = 4  # two judge, and what a single picture shows holds for no other
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

    Pictures that judge here do not calibrate here, and the golden ones, which judge what is found, are not looked at.

    Raises:
        ToolError: there are fewer than four calibration pictures, or as `search`.
        UnsupportedError: as `search`.
    """
    specs = _files.read_inputs(inputs["surgery"])
    folder = inputs["pictures"] / "calibration"
    names = _files.read_names(inputs["pictures"])[: settings.quantization.pictures]
    whole, cut, rest = _apart(names, settings.judging)
    model = io.read(inputs["surgery"] / "model.onnx")
    outputs = {str(value.name) for value in model.graph.outputs}
    choice = search(
        model,
        Samples(folder, specs, rest),
        list(_judging(folder, specs, whole, cut)),
        partial(reference, heatmaps=[name for name in settings.heatmaps if name in outputs], joints=settings.joints),
        settings.quantization,
        settings.budget,
        labels=[names[index] for index in sorted(rest)],
        progress=progress,
        partial=inputs.get("partial"),
    )
    write_json(out / "search.json", choice.to_json())


def _apart(names: Sequence[str], wanted: int) -> tuple[Indices, Indices, Indices]:
    """The places of pictures to judge by as they are, of those to judge by a crop of, and of those to calibrate with.

    A picture that judges does not calibrate, and neither does a crop of it. At most half of the pictures judge.
    """
    families: list[list[int]] = []
    for index, name in enumerate(names):
        if families and name.rsplit(CROP, 1)[0] == names[families[-1][0]]:
            families[-1].append(index)
        else:
            families.append([index])
    if len(families) < _LEAST:
        raise ToolError(
            f"{len(families) or 'no'} calibration picture{'s' * (len(families) != 1)}: settings are searched on at"
            f" least {_LEAST}, half of which judge them",
            fix="add pictures to calibration.pictures, or raise calibration.count",
        )
    half = max(1, min(wanted, len(families) // 2) // 2)
    places = range(len(families))
    judge = evenly(len(families), 2 * half)
    used = {index for place in places if place not in judge for index in families[place]}
    first = [families[place][0] for place in judge]
    return frozenset(first[::2]), frozenset(first[1::2]), frozenset(used)


def _judging(folder: Path, specs: Sequence[InputSpec], whole: Indices, cut: Indices) -> Iterator[Feeds]:
    """The pictures at the places `whole` as they are, then a crop of each of those at `cut`."""
    for chosen, change in ((whole, _as_it_is), (cut, _crop)):
        for index, fitted in enumerate(zip(*(read_fitted(folder / spec.folder) for spec in specs), strict=True)):
            if index in chosen:
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
