"""Prepare the float graph for 8 bits: equalized, wide ranges split, biases corrected, weights on their grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import overload

from workbench.calib.feeds import Feeds
from workbench.calib.pictures import read_fitted
from workbench.calib.preprocess import to_tensor
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.graph import io
from workbench.quant.bake import bake
from workbench.recipe.schema import InputSpec, Quantization
from workbench.stages import _files


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    quantization: Quantization

    @classmethod
    def of(cls, quantization: Quantization) -> Settings:
        """Its part of `quantization`."""
        return cls(quantization.only("equalize", "split", "unroll", "correct_bias", "rounding", "pictures"))


class Samples(Sequence[Feeds]):
    """The first fitted pictures of ``folder/<input>/``, kept as bytes: each takes four times that while it is a tensor.

    Args:
        folder: of the calibration pictures.
        inputs: the recipe's.
        most: how many at most; None takes all.
    """

    def __init__(self, folder: Path, inputs: Sequence[InputSpec], most: int | None = None) -> None:
        self._inputs = inputs
        self._fitted = list(islice(zip(*(read_fitted(folder / spec.name) for spec in inputs), strict=True), most))

    def __len__(self) -> int:
        return len(self._fitted)

    @overload
    def __getitem__(self, index: int) -> Feeds: ...
    @overload
    def __getitem__(self, index: slice) -> list[Feeds]: ...
    def __getitem__(self, index: int | slice) -> Feeds | list[Feeds]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        pictures = zip(self._inputs, self._fitted[index], strict=True)
        return {spec.name: to_tensor(picture, spec) for spec, picture in pictures}


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``model.onnx``, the float graph every 8-bit artifact is made from, and ``bake.json``, what was done to it.

    Raises:
        RecipeError: a tensor of ``quantization.split`` or ``unroll`` cannot be; its key is told.
        WorkbenchError: as `workbench.quant.bake.bake`, which names a picture by its own file name.
    """
    specs = _files.read_inputs(inputs["surgery"])
    model = io.read(inputs["surgery"] / "model.onnx")
    samples = Samples(inputs["pictures"] / "calibration", specs, settings.quantization.pictures)
    report = bake(
        model, samples, settings.quantization, progress=progress, labels=_files.read_names(inputs["pictures"])
    )
    for line in report.summary():
        progress.note(line)
    io.write(model, out / "model.onnx")
    write_json(out / "bake.json", report.to_json())


STAGE = Stage("bake", 1, run, tools=("onnx", "onnx-ir", "onnxruntime", "numpy"), rooms=("quant", "graph"))
