"""A float file on its way to integers: the ranges of the calibration become the spans of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from workbench.calib.feeds import count, feeds
from workbench.engine.progress import track
from workbench.graph import io
from workbench.quant.observe import observe
from workbench.quant.plan import plan
from workbench.quant.ranges import Range, Ranges
from workbench.quant.scheme import Grid
from workbench.runtimes.litert import extremes
from workbench.targets._target import TargetJob
from workbench.targets.tflite import converter, flatbuffer, origins, quantizer, spans
from workbench.targets.tflite.converter import Converted
from workbench.targets.tflite.lowering import Lowered


@dataclass(frozen=True)
class Ready:
    """The float file, and what the grid of each of its activations has to hold, by place; `lowered` has no graph."""

    lowered: Lowered
    file: Converted
    spans: Mapping[int, Range]


def prepare(job: TargetJob[Any], model: Path, lowered: Lowered, tf: Any) -> Ready:
    """Convert `lowered`, made from `model`, to float and choose its spans: those of the INT8 emulation's grids.

    Pictures are read only when there are no ranges, and where TensorFlow Lite has a tensor that ONNX does not have.

    Raises:
        UnsupportedError: the network cannot be quantized, or a tensor has no range.
        ToolError: the converter fails, ranges cannot be read, or a tensor is NaN or infinite for a picture.
    """
    total = count(job.pictures, job.inputs) if job.inputs else 0
    if job.ranges is not None:
        ranges = Ranges.from_json(job.ranges.read_text("utf-8"), str(job.ranges))
        total = min(total, ranges.samples)
    else:
        ranges = observe(model, feeds(job.pictures, job.inputs), progress=job.progress, total=total)
    grids = plan(io.read(model), ranges).grids
    file = converter.convert(lowered, "fp32", tf)
    known = {place: _held(grids[name]) for place, name in file.origins.items() if name in grids}

    def look(tensors: list[int]) -> Mapping[int, tuple[float, float]]:
        return extremes(file.data, tensors, track(_nhwc(job, total), job.progress, "samples observed"))

    found = spans.spans(flatbuffer.unpack(file.data), known, look)
    return Ready(replace(lowered, graph_def=None), file, found)


def convert(ready: Ready, variant: quantizer.Integers, *, integer_io: bool, tf: Any) -> Converted:
    """The int8 or int16x8 file; errors as `quantizer.quantize`."""
    model = quantizer.quantize(
        ready.file.data,
        ready.spans,
        variant,
        integer_io=integer_io,
        tf=tf,
        told=lambda name: origins.owner(name, ready.lowered),
    )
    return Converted(*converter.finish(model, ready.lowered), {})


def _held(grid: Grid) -> Range:
    """What `grid` can hold."""
    return Range(*((end - grid.zero_point) * grid.scale for end in (grid.lowest, grid.highest)))


def _nhwc(job: TargetJob[Any], total: int) -> Iterator[dict[str, Any]]:
    for feed in islice(feeds(job.pictures, job.inputs), total):
        yield {name: np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for name, array in feed.items()}
