"""Simplify a graph with onnxsim, and prove on real and random inputs that it still computes the same."""

from __future__ import annotations

import errno
import re
import signal
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

_PATIENCE = 600.0  # seconds for onnxsim; the largest network of the zoo takes 5
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP}
_SHORTAGES = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO}
_ROOM = "free memory, and space in the folder for temporary files (TMPDIR); try again"

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
            itself cannot run; or onnxsim was killed, took too long or found no memory or space.
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
    """What onnxsim makes of `model`.

    `_NotEqualError` is only for what would happen again: the reversal is cached, and a machine that ran out of memory
    or space must not have a say in it.
    """
    with _scratch() as scratch:
        result = Path(scratch) / "simplified.onnx"
        # -P keeps the script's folder off the module path, where our own torch.py and onnx.py would be found first.
        command = [sys.executable, "-P", str(_onnxsim.__file__), str(model.resolve()), str(result)]
        try:
            code, errors = _run(command)
        except subprocess.TimeoutExpired as error:
            raise ToolError(
                f"onnxsim did not finish within {_PATIENCE:g} s and was stopped", fix="close other programs; try again"
            ) from error
        except OSError as error:
            raise ToolError(f"onnxsim cannot be started: {error.strerror}", fix=_ROOM) from error
        if -code in _CRASHES:
            raise _NotEqualError(f"onnxsim crashed with signal {-code}")
        if code < 0:
            raise ToolError(f"onnxsim was killed with signal {-code}", fix=_ROOM)
        if code:
            # The reason is kept in the manifest, which holds no path of this machine.
            said = errors.replace(str(model.resolve()), model.name).replace(f"{scratch}/", "")
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            reason = f"onnxsim failed: {lines[-1][:300] if lines else f'exit code {code}'}"
            if lines and _is_shortage(lines[-1]):
                raise ToolError(reason, fix=_ROOM)
            raise _NotEqualError(reason)
        try:
            return ir.serde.deserialize_model(onnx.ModelProto.FromString(result.read_bytes()))
        except (FileNotFoundError, DecodeError) as error:
            what = "there is no file" if isinstance(error, OSError) else error
            raise _NotEqualError(f"onnxsim wrote no graph: {what}") from error
        except OSError as error:
            raise ToolError(f"cannot read what onnxsim wrote: {error.strerror}", fix=_ROOM) from error


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Exit code and stderr of `command`; whatever ends the wait early, the program is dead when this returns.

    `subprocess.run` does not wait for the child it killed on Ctrl-C, which may then write into a folder being removed.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as child:
        try:
            errors = child.communicate(timeout=_PATIENCE)[1]
        except BaseException:
            child.kill()
            child.wait()
            raise
        return child.returncode, errors


def _scratch() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="workbench-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ToolError(f"no folder for temporary files: {error.strerror or error}", fix=_ROOM) from error


def _is_shortage(line: str) -> bool:
    """Whether the last line of a traceback tells of memory, space or files that ran out."""
    number = re.search(r"\[Errno (\d+)\]", line)
    return line.startswith("MemoryError") or (number is not None and int(number[1]) in _SHORTAGES)


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
