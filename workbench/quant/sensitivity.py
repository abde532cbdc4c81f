"""What each 8-bit grid costs the task by itself: the float network with one grid's tensors rounded and nothing else.

A grid is tried on the part of the network behind its tensors alone, from their float values, which are made anew for a
few grids at a time: the later a tensor, the cheaper, and memory does not grow with the number of grids.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.engine import partial as kept
from workbench.engine.progress import Progress
from workbench.errors import ToolError
from workbench.graph import io
from workbench.pose.displacement import NEAR, Reference, task_error
from workbench.quant.excerpt import Behind, Whole
from workbench.quant.plan import Plan, plan
from workbench.quant.ranges import Range
from workbench.runtimes._cores import cores
from workbench.runtimes.onnxruntime import OnnxRunner

Array = npt.NDArray[np.generic]
Feed = Mapping[str, Array]
Outputs = dict[str, npt.NDArray[np.float32]]
Judge = Callable[[Outputs], Reference]
"""Makes float outputs {name: (pictures, ...)} ready to be compared with; see `pose.displacement.reference`."""

# Float values kept at one time for the grids being tried. On CPM (157 grids, 16 pictures) a border is 2 to 40 MB.
_BYTES = 256_000_000
_WHAT = "grids tried alone"


@dataclass(frozen=True)
class Sensitivity:
    """What rounding one grid's tensors to 8 bits does to the outputs of the float network.

    Attributes:
        tensor: the first of the tensors on this grid; it names the grid.
        members: all of them, in graph order.
        cosine: mean over pictures and outputs, to the float outputs.
        worst: the smallest of a single picture and output.
        displacement: mean way of the joints, in shares of the picture; 0 where no joint was judged.
    """

    tensor: str
    members: tuple[str, ...]
    cosine: float
    worst: float
    displacement: float

    @property
    def loss(self) -> float:
        """``1 - cosine + (displacement / 5 %)^2``: both are powers of the error, which add up over grids."""
        return 1.0 - self.cosine + (self.displacement / NEAR) ** 2


def sensitivity(
    model: ir.Model,
    ranges: Mapping[str, Range],
    samples: Sequence[Feed],
    judge: Judge,
    *,
    progress: Progress,
    partial: Path | None = None,
) -> tuple[Sensitivity, ...]:
    """The cost of every grid of `quant.plan.plan`, in graph order; deterministic.

    Args:
        model: a float graph with static shapes; unchanged but for inferred shapes.
        ranges: the span of every activation.
        samples: the judging pictures, each {input: array}, read several times.
        judge: makes the float network's answers to `samples` ready to be compared with.
        progress: told after each grid.
        partial: a folder that keeps each finished grid, so that a call after an interruption tries only the others.
            What other networks, ranges or pictures left there is not met.

    Raises:
        ToolError: there are no samples, or an output is NaN or infinite.
        UnsupportedError: as `plan`.
    """
    if not samples:
        raise ToolError("no pictures to judge by", fix="give the search some calibration pictures")
    decided = plan(model, ranges)
    proto = io.to_proto(model)
    folder = _folder(partial, proto.SerializeToString(deterministic=True), decided, samples)
    trial = _Trial(Whole(proto), decided, samples, judge)
    parts = [trial.whole.behind(members) for members in _groups(decided)]
    found: dict[str, Sensitivity] = {}
    for part in parts:
        known = _read(folder, part)
        if known is not None:
            found[known.tensor] = known
    progress.step(len(found), len(parts), _WHAT)
    for batch in trial.batches(parts):
        missing = [part for part in batch if part.tensors[0] not in found]
        if not missing:
            continue
        values = trial.values([name for part in batch for name in part.border])
        # Two small sessions side by side are faster than one with two threads; Ctrl-C waits for those under way.
        pool = ThreadPoolExecutor(cores())
        try:
            for one in [pool.submit(trial.one, part, values) for part in missing]:
                result = one.result()
                found[result.tensor] = result
                _write(folder, result)
                progress.step(len(found), len(parts), _WHAT)
        finally:
            pool.shutdown(cancel_futures=True)
    return tuple(found[part.tensors[0]] for part in parts)


class _Trial:
    """The network, its float answers, and how one grid is tried."""

    def __init__(self, whole: Whole, decided: Plan, samples: Sequence[Feed], judge: Judge) -> None:
        self.whole = whole
        self._decided = decided
        self._samples = samples
        self._reference = judge({name: per_picture(values) for name, values in self.values(whole.outputs).items()})

    def batches(self, parts: Sequence[Behind]) -> Iterator[list[Behind]]:
        """The parts whose borders are kept at one time; the same whatever is done already.

        The values of a tensor differ in their last bits with what else a session computes, and a resumed search is to
        find what an uninterrupted one finds.
        """
        batch: list[Behind] = []
        names: set[str] = set()
        for part in parts:
            larger = names.union(part.border)
            if batch and self._bytes(larger) > _BYTES:
                yield batch
                batch, larger = [], set(part.border)
            batch.append(part)
            names = larger
        if batch:
            yield batch

    def values(self, names: Sequence[str]) -> Outputs:
        """The float values {tensor: (pictures, *shape)} of `names`, of which inputs are left out."""
        wanted = [name for name in dict.fromkeys(names) if name not in self.whole.inputs]
        return run_all(self.whole.until(wanted), wanted, self._samples) if wanted else {}

    def one(self, part: Behind, values: Outputs) -> Sensitivity:
        """Try the grid of the tensors of `part`."""
        grids = {name: self._decided.grids[name] for name in part.tensors}
        got = dict(self._reference.outputs)
        if part.outputs:
            feeds = [
                {name: values[name][index] if name in values else sample[name] for name in part.border}
                for index, sample in enumerate(self._samples)
            ]
            answers = run_all(self.whole.rounded(part, grids), part.outputs, feeds, threads=1)
            got |= {name: per_picture(answer) for name, answer in answers.items()}
        error = task_error(self._reference, got)
        displacement = 0.0 if math.isnan(error.displacement) else error.displacement
        return Sensitivity(part.tensors[0], part.tensors, error.cosine, error.worst_cosine, displacement)

    def _bytes(self, names: set[str]) -> int:
        return 4 * len(self._samples) * sum(math.prod(self.whole.shape(name)) for name in names)


def run_all(model: bytes, names: Sequence[str], feeds: Sequence[Feed], *, threads: int | None = None) -> Outputs:
    """The outputs of `model` to all of `feeds`: {name: (pictures, *shape)}, called `names` in their order."""
    found: Outputs = {}
    with OnnxRunner(model, threads=threads) as runner:
        for index, feed in enumerate(feeds):
            for name, values in zip(names, runner.run(feed).values(), strict=True):
                if name not in found:
                    found[name] = np.empty((len(feeds), *values.shape), values.dtype)
                found[name][index] = values
    return found


def per_picture(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(pictures, *shape) with the batch of one that networks have left out."""
    return values[:, 0] if values.ndim > 2 and values.shape[1] == 1 else values


def _groups(decided: Plan) -> list[tuple[str, ...]]:
    """The activations of each grid, the owner first."""
    groups: dict[str, list[str]] = {}
    for name, owner in decided.owner.items():
        if name not in decided.operands:
            groups.setdefault(owner, []).append(name)
    return [tuple(members) for members in groups.values()]


def _folder(partial: Path | None, model: bytes, decided: Plan, samples: Sequence[Feed]) -> Path | None:
    """Where the grids of this network with these ranges and pictures are kept."""
    if partial is None:
        return None
    told = hashlib.sha256(hashlib.sha256(model).digest())
    told.update(repr(sorted(decided.grids.items())).encode())
    for sample in samples:
        for name in sorted(sample):
            told.update(f"{name}\0".encode() + np.ascontiguousarray(sample[name]).tobytes())
    folder = partial / f"grids-{told.hexdigest()[:16]}"
    folder.mkdir(exist_ok=True)
    return folder


def _file(folder: Path, tensor: str) -> Path:
    return folder / hashlib.sha256(tensor.encode()).hexdigest()[:32]


def _read(folder: Path | None, part: Behind) -> Sensitivity | None:
    """What is kept of the grid of `part`."""
    data = None if folder is None else kept.read(_file(folder, part.tensors[0]))
    if data is None:
        return None
    try:
        known = json.loads(data)
        return Sensitivity(**{**known, "members": tuple(known["members"])})
    except (ValueError, TypeError, KeyError):  # whole, but written by another version of this code
        return None


def _write(folder: Path | None, result: Sensitivity) -> None:
    if folder is not None:
        kept.write(_file(folder, result.tensor), json.dumps(asdict(result)).encode())
