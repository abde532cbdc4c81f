"""Simplify a graph with onnxsim, and prove on real and random inputs that it still computes the same."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from workbench.engine.progress import Progress
from workbench.errors import ToolError
from workbench.graph import io
from workbench.recipe.schema import InputSpec
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.sources import _onnxsim

Array = npt.NDArray[np.generic]
Feeds = Mapping[str, Array]


@dataclass(frozen=True)
class Difference:
    """How far one output moved, the worst of all inputs tried.

    Args:
        output: its name.
        max_abs: the largest ``|after - before|``, in the output's own unit.
        relative: the same divided by the largest ``|before|`` of that run.
    """

    output: str
    max_abs: float
    relative: float


@dataclass(frozen=True)
class Simplified:
    """The graph to go on with.

    Args:
        model: the simplified graph, or the original when `reverted` says why it was not taken.
        reverted: the reason; empty when the simplified graph was proved equal.
        differences: what the proof measured, in the order of the outputs; empty when it did not get that far.
    """

    model: ir.Model
    reverted: str
    differences: tuple[Difference, ...]


class _NotEqualError(Exception):
    """Why a simplified graph is not taken."""


def simplify(
    model: Path,
    inputs: tuple[InputSpec, ...],
    *,
    limit: float = 1e-4,
    trials: int = 3,
    extra_feeds: Sequence[Feeds] = (),
    progress: Progress,
) -> Simplified:
    """Simplify the float ONNX graph in `model`; anything doubtful about the result reverts it, with a warning.

    Original and result run on `extra_feeds` and on `trials` seeded random inputs, uniform in each input's value range.

    Args:
        model: the file; it is not changed.
        inputs: its inputs, as the recipe has them; the tensors are NCHW.
        limit: the largest difference allowed, relative to the output's largest magnitude.
        trials: how many random inputs are tried.
        extra_feeds: real inputs to try first, {input: float32 NCHW}.
        progress: told which input was compared, and why a result was reverted.

    Raises:
        ToolError: the file is not a float ONNX graph with those inputs, is a compiled `.axmodel`, or the original
            itself cannot run.
    """
    original = io.read(model)
    _check_inputs(original, inputs, model)
    feeds = [*extra_feeds, *_random(inputs, trials)]
    differences: tuple[Difference, ...] = ()
    try:
        result = _run_onnxsim(model)
        _same_ends(original, result)
        differences = _compare(model, result, feeds, progress)
        _within(differences, limit)
    except _NotEqualError as reason:
        progress.warn(f"simplification was reverted: {reason}")
        return Simplified(original, str(reason), differences)
    result.metadata_props.update(original.metadata_props)
    progress.note(f"simplified {original.graph.num_nodes()} nodes to {result.graph.num_nodes()}")
    return Simplified(result, "", differences)


def _check_inputs(model: ir.Model, inputs: Sequence[InputSpec], path: Path) -> None:
    found = {value.name for value in model.graph.inputs if not value.is_initializer()}
    wanted = {spec.name for spec in inputs}
    if found != wanted:
        raise ToolError(
            f"the graph has inputs {sorted(map(str, found))}, the recipe {sorted(wanted)}",
            where=str(path),
            fix="name the recipe's inputs as the graph does",
        )


def _random(inputs: Sequence[InputSpec], trials: int) -> Iterator[Feeds]:
    for trial in range(trials):
        feed: dict[str, Array] = {}
        for index, spec in enumerate(inputs):
            low, high = spec.value_range
            numbers = np.random.default_rng([trial, index]).uniform(low, high, spec.nchw)
            feed[spec.name] = numbers.astype(np.float32)
        yield feed


def _run_onnxsim(model: Path) -> ir.Model:
    with tempfile.TemporaryDirectory(prefix="workbench-") as scratch:
        result = Path(scratch) / "simplified.onnx"
        # -P keeps the script's folder off the module path, where our own torch.py and onnx.py would be found first.
        command = [sys.executable, "-P", str(_onnxsim.__file__), str(model.resolve()), str(result)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
            )
        except OSError as error:
            raise _NotEqualError(f"onnxsim cannot be started: {error.strerror}") from error
        if done.returncode < 0:
            raise _NotEqualError(f"onnxsim crashed with signal {-done.returncode}")
        if done.returncode:
            # The reason is kept in the manifest, which holds no path of this machine.
            said = done.stderr.replace(str(model.resolve()), model.name).replace(f"{scratch}/", "")
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            raise _NotEqualError(f"onnxsim failed: {lines[-1][:300] if lines else f'exit code {done.returncode}'}")
        try:
            return ir.serde.deserialize_model(onnx.ModelProto.FromString(result.read_bytes()))
        except (OSError, DecodeError) as error:
            raise _NotEqualError(f"onnxsim wrote no graph: {error}") from error


def _same_ends(original: ir.Model, result: ir.Model) -> None:
    for what, before, after in (
        ("input", [v for v in original.graph.inputs if not v.is_initializer()], result.graph.inputs),
        ("output", original.graph.outputs, result.graph.outputs),
    ):
        ours, theirs = [str(value.name) for value in before], [str(value.name) for value in after]
        if ours != theirs:
            raise _NotEqualError(f"the {what}s {', '.join(ours)} became {', '.join(theirs) or 'none'}")
        for old, new in zip(before, after, strict=True):
            if old.dtype != new.dtype or not _fits(old.shape, new.shape):
                raise _NotEqualError(
                    f"{what} {old.name} was {old.dtype} {old.shape} and became {new.dtype} {new.shape}"
                )


def _fits(before: ir.Shape | None, after: ir.Shape | None) -> bool:
    """Whether every size that was static still is what it was."""
    if before is None:
        return True
    if after is None or len(before) != len(after):
        return False
    return all(not isinstance(old, int) or old == new for old, new in zip(before, after, strict=True))


def _compare(model: Path, result: ir.Model, feeds: Sequence[Feeds], progress: Progress) -> tuple[Difference, ...]:
    try:
        simplified = OnnxRunner(io.to_bytes(result))
    except ToolError as error:
        raise _NotEqualError(f"the simplified graph does not load: {error.what}") from error
    worst: dict[str, Difference] = {}
    # The original runs without optimization, so that onnxruntime's own rewrites do not stand on both sides.
    with OnnxRunner(model, optimize=False) as reference, simplified:
        for done, feed in enumerate(feeds, 1):
            before = reference.run(feed)
            try:
                after = simplified.run(feed)
            except ToolError as error:
                raise _NotEqualError(f"the simplified graph does not run: {error.what}") from error
            for name, expected in before.items():
                found = _difference(name, expected, after[name])
                if name not in worst or not found.relative <= worst[name].relative:
                    worst[name] = found
            progress.step(done, len(feeds), "inputs compared")
    return tuple(worst.values())


def _difference(name: str, before: Array, after: Array) -> Difference:
    if before.shape != after.shape:
        raise _NotEqualError(f"output {name} was {before.shape} and became {after.shape}")
    a, b = before.astype(np.float64), after.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(b[finite]).all():
        raise _NotEqualError(f"output {name} has NaN or Inf in other places")
    largest = float(np.abs(a[finite]).max(initial=0.0))
    moved = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
    return Difference(name, moved, moved / largest if largest else (0.0 if not moved else float("inf")))


def _within(differences: Sequence[Difference], limit: float) -> None:
    beyond = [one for one in differences if not one.relative <= limit]
    if beyond:
        told = ", ".join(f"{one.output} by {one.relative:.3g}" for one in beyond)
        raise _NotEqualError(f"outputs moved further than {limit:g} of their largest magnitude: {told}")
