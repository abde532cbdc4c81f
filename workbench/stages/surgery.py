"""Apply the recipe's passes to the simplified graph; write what they did and what they left alone, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.calib.feeds import Feeds, feeds
from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.errors import WorkbenchError
from workbench.graph import io
from workbench.recipe.schema import Call, InputSpec
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.stages import _files
from workbench.surgery._run import run_passes


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    passes: tuple[Call, ...]
    inputs: tuple[InputSpec, ...]


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``model.onnx``, ``inputs.json``, ``surgery.json`` and ``golden.npz`` for the outputs there are now.

    Outputs that a pass cut anew have no answer from the source framework; their golden values are those of the graph
    as it was right before the cut, which every pass until then left equal in float.
    """
    model = io.read(inputs["simplify"] / "model.onnx")
    golden = _files.read_golden(inputs["export"] / "golden.npz")
    specs = settings.inputs
    log: list[dict[str, object]] = []
    for index, call in enumerate(settings.passes):
        before = io.to_bytes(model)
        try:
            result = run_passes(model, [(call.name, call.options)], specs, progress=progress)
        except WorkbenchError as error:
            if error.at is not None:
                error.at = ("surgery", index, *error.at[2:])
            raise
        for name, edits in result.log:
            log.append({"pass": name, "changed": list(edits.changed), "left": list(edits.left)})
            golden = {edits.renamed.get(output, output): values for output, values in golden.items()}
        cut = [value.name for value in model.graph.outputs if value.name not in golden]
        if cut:
            samples = list(feeds(inputs["pictures"] / "golden", specs))
            golden |= _exposed(before, [str(name) for name in cut], samples)
        specs = result.inputs
    if not settings.passes:
        specs = run_passes(model, [], specs, progress=progress).inputs
    golden = {str(value.name): golden[str(value.name)] for value in model.graph.outputs}
    io.write(model, out / "model.onnx")
    _files.write_golden(out / "golden.npz", golden)
    _files.write_inputs(out, specs)
    write_json(out / "surgery.json", log)


def _exposed(model: bytes, tensors: Sequence[str], samples: Sequence[Feeds]) -> _files.Golden:
    """The values of inner `tensors` of `model`, one row a sample."""
    from workbench.surgery.cut_outputs import CutOutputs

    copy = io.from_bytes(model)
    CutOutputs(tensors=tuple(tensors))(copy)
    with OnnxRunner(io.to_bytes(copy), optimize=False) as runner:
        runs = [runner.run(feed) for feed in samples]
    return {name: np.concatenate([run[name].astype(np.float32) for run in runs]) for name in tensors}


STAGE = Stage("surgery", 1, run, tools=("onnx-ir", "onnx", "onnxruntime", "numpy"), rooms=("surgery", "graph"))
