"""Try settings for real: bake the network with them, measure its ranges, write it as QDQ, and see what it answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import onnx_ir as ir

from workbench.engine import partial as kept
from workbench.engine.progress import Progress
from workbench.errors import ToolError
from workbench.graph import io, shapes
from workbench.pose.displacement import Reference, task_error
from workbench.quant.bake import READS, bake
from workbench.quant.cost import cost
from workbench.quant.measure import measure
from workbench.quant.plan import Plan, plan
from workbench.quant.qdq import write_qdq
from workbench.quant.ranges import Ranges
from workbench.quant.sensitivity import Feed, Judge, per_picture, run_all
from workbench.recipe.schema import Quantization


@dataclass(frozen=True)
class Trial:
    """What one choice of settings reaches on the judging pictures.

    Attributes:
        cosine: mean over pictures and outputs, to the float network as it came.
        worst: the smallest of a single picture and output.
        within_5: share of joints displaced by at most 5 % of the picture; None where none was judged.
        macs: multiplications beside those of the network as it came, as a share of them.
        u16: share of the activation tensors at 16 bits.
    """

    cosine: float
    worst: float
    within_5: float | None
    macs: float
    u16: float


@dataclass(frozen=True)
class Baked:
    """A baked network and the ranges of its activations."""

    model: ir.Model
    ranges: Ranges


class Bench:
    """One network with its pictures, on which settings are tried, each once.

    Args:
        model: the canonical float graph, serialized.
        samples: the calibration pictures, each {input: array}.
        judging: the pictures that answers are compared on; {input: array} each.
        judge: makes the float answers to `judging` ready to be compared with.
        labels: what to call the samples in errors, in their order.
        progress: told what bake and observers do.
        partial: a folder that keeps baked networks and finished trials; None keeps nothing.
    """

    def __init__(
        self,
        model: bytes,
        samples: Sequence[Feed],
        judging: Sequence[Feed],
        judge: Judge,
        *,
        labels: Sequence[str] = (),
        progress: Progress,
        partial: Path | None = None,
    ) -> None:
        if not judging:
            raise ToolError("no pictures to judge by", fix="give the search some calibration pictures")
        self.model = model
        self.samples = samples
        self.labels = labels
        self.judging = judging
        self.judge = judge
        self.progress = progress
        self.partial = partial
        self._graph = ("", b"")
        self._last: tuple[str, Baked] | None = None
        self._trials: dict[str, Trial] = {}

    @cached_property
    def macs(self) -> int:
        """Multiplications of the network as it came."""
        return _macs(io.from_bytes(self.model))

    def baked(self, settings: Quantization) -> Baked:
        """The network baked with `settings`; the last one stays in memory, all of them in the folder."""
        key = _key("ranges", settings.model_copy(update={"u16": ()}))
        if self._last is None or self._last[0] != key:
            self._last = (key, self._made(settings, key))
        return self._last[1]

    def try_out(self, settings: Quantization) -> Trial:
        """What the network written with `settings` reaches."""
        key = _key("trial", settings)
        if key not in self._trials:
            self._trials[key] = self._read(key) or self._tried(settings, key)
        return self._trials[key]

    def _tried(self, settings: Quantization, key: str) -> Trial:
        baked = self.baked(settings)
        model = io.to_bytes(write_qdq(baked.model, baked.ranges, settings.u16))
        answers = run_all(model, list(self._reference.outputs), self.judging)
        error = task_error(self._reference, {name: per_picture(values) for name, values in answers.items()})
        price = cost(baked.model, plan(baked.model, baked.ranges, settings.u16))
        trial = Trial(
            cosine=error.cosine,
            worst=error.worst_cosine,
            within_5=None if math.isnan(error.near) else error.near,
            macs=price.macs / max(self.macs, 1) - 1,
            u16=price.tensor_share,
        )
        if self.partial is not None:
            kept.write(self.partial / key, json.dumps(asdict(trial)).encode())
        return trial

    def _read(self, key: str) -> Trial | None:
        data = None if self.partial is None else kept.read(self.partial / key)
        try:
            return None if data is None else Trial(**json.loads(data))
        except (ValueError, TypeError):  # whole, but written by another version of this code
            return None

    def _made(self, settings: Quantization, key: str) -> Baked:
        baking = _key("graph", settings.only(*READS))
        if self._graph[0] != baking:
            self._graph = (baking, self._graph_of(settings, baking))
        data = self._graph[1]
        return Baked(io.from_bytes(data), self._ranges(data, settings, key))

    def _graph_of(self, settings: Quantization, baking: str) -> bytes:
        data = None if self.partial is None else kept.read(self.partial / baking)
        if data is None:
            model = io.from_bytes(self.model)
            bake(model, self.samples, settings, progress=self.progress, labels=self.labels)
            data = io.to_bytes(model)
            if self.partial is not None:
                kept.write(self.partial / baking, data)
        return data

    def _ranges(self, model: bytes, settings: Quantization, key: str) -> Ranges:
        told = None if self.partial is None else kept.read(self.partial / key)
        if told is not None:
            return Ranges.from_bytes(told)
        ranges = measure(
            model, self.samples, settings, progress=self.progress, total=len(self.samples), labels=self.labels
        )
        if self.partial is not None:
            kept.write(self.partial / key, ranges.to_bytes())
        return ranges

    @cached_property
    def _reference(self) -> Reference:
        names = [str(value.name) for value in io.from_bytes(self.model).graph.outputs]
        return self.judge(
            {name: per_picture(values) for name, values in run_all(self.model, names, self.judging).items()}
        )


def _key(what: str, settings: Quantization) -> str:
    return f"{what}-{hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:24]}"


def _macs(model: ir.Model) -> int:
    shapes.refresh(model)
    return cost(model, Plan({}, {}, frozenset(), {})).macs
