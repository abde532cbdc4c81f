"""Inputs for `workbench parity` that are numbers: an .npz, or generated ones, one run at a time and repeatable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.cli._prepared import count
from workbench.errors import RecipeError
from workbench.parity.pairing import Pair
from workbench.runtimes._runner import Array, Port, Runner

Source = Callable[[], Iterator[dict[str, Array]]]

_MOST = 1 << 30  # values of one generated input
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def generated(model: Runner, samples: int, bounds: tuple[float, float], seed: int) -> tuple[Source, str]:
    """A function that yields `samples` feeds of `model`, each time the same, and a line that says what they are.

    Raises:
        RecipeError: the bounds are empty, or an input's shape or type leaves open what to generate.
    """
    low, high = bounds
    if low >= high:
        raise RecipeError(f"--range {low:g} {high:g} is empty", fix="give the smaller value first")
    shapes = {port.name: _static(port) for port in model.inputs}
    for port in model.inputs:
        _dtype(port)

    def feeds() -> Iterator[dict[str, Array]]:
        random = np.random.default_rng(seed)
        for _ in range(samples):
            yield {port.name: _clip(random.uniform(low, high, shapes[port.name]), port) for port in model.inputs}

    return feeds, f"{samples} generated, uniform in {low:g}..{high:g}, seed {seed}"


def archive(model: Runner, path: Path, samples: int) -> tuple[Source, str]:
    """The arrays of an .npz, cut along the first axis into runs of the model's batch, and what they are.

    Raises:
        RecipeError: the file cannot be read, or does not fit the model.
    """
    arrays = _load(path)
    wanted = {port.name for port in model.inputs}
    if set(arrays) != wanted:
        raise RecipeError(
            f"the file has {', '.join(sorted(arrays)) or 'nothing'}, the model wants {', '.join(sorted(wanted))}",
            where=str(path),
            fix="one array per input, named like it",
        )
    runs = _runs(model.inputs, arrays, path)[:samples]
    return lambda: iter(runs), f"{count(len(runs), 'run')} from {path.name}"


def turned(source: Source, pairs: Sequence[Pair]) -> Source:
    """The feeds of `source` with the names and in the layout of the other model."""
    return lambda: ({one.got: one.from_reference(feed[one.reference]) for one in pairs} for feed in source())


def _load(path: Path) -> dict[str, Array]:
    if not path.is_file():  # a pipe would block the run
        raise RecipeError("no such file", where=str(path), fix="check the path of --inputs")
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise RecipeError(
                "one array without a name (.npy), not an .npz",
                where=str(path),
                fix="write numpy.savez(file, name=array)",
            )
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except RecipeError:
        raise
    except Exception as error:  # a damaged archive: zipfile, zlib, struct, numpy and memory errors, and more
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
        raise RecipeError(
            f"cannot read the inputs: {' '.join(reason.split())[:200]}",
            where=str(path),
            fix="write it with numpy.savez(file, name=array)",
        ) from error


def _runs(ports: tuple[Port, ...], arrays: dict[str, Array], path: Path) -> list[dict[str, Array]]:
    counts = set()
    batches = {}
    for port in ports:
        array = arrays[port.name]
        if not port.shape or array.ndim != len(port.shape) or not _fits(array.shape[1:], port.shape[1:]):
            raise RecipeError(
                f"array {port.name!r} is {list(array.shape)}, the model wants {_show(port)}",
                where=str(path),
                fix=_turned(array, port) or "give whole batches along the first axis",
            )
        batch = batches[port.name] = max(1, port.shape[0] or 1)
        if array.shape[0] % batch:
            raise RecipeError(
                f"array {port.name!r} has {count(array.shape[0], 'sample')}, the model takes {batch} at a time",
                where=str(path),
                fix="give whole batches along the first axis",
            )
        counts.add(array.shape[0] // batch)
    if len(counts) != 1 or 0 in counts:
        raise RecipeError(
            "the arrays do not hold the same number of samples, or none",
            where=str(path),
            fix="give as many of each input along the first axis",
        )
    cast = {port.name: _cast(arrays[port.name], port, path) for port in ports}
    return [
        {name: array[run * batches[name] : (run + 1) * batches[name]] for name, array in cast.items()}
        for run in range(counts.pop())
    ]


def _fits(sizes: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return all(want is None or size == want for size, want in zip(sizes, wanted, strict=True))


def _turned(array: Array, port: Port) -> str:
    """What to do about an array in the other layout; empty where that is not the trouble."""
    if array.ndim != 4 or len(port.shape) != 4:
        return ""
    for axes, has, wants in ((_TO_NCHW, "NHWC", "NCHW"), (_TO_NHWC, "NCHW", "NHWC")):
        if _fits(array.transpose(axes).shape[1:], port.shape[1:]):
            return f"it is {has} and the model takes {wants}: give numpy.transpose(array, {axes})"
    return ""


def _cast(array: Array, port: Port, path: Path) -> Array:
    dtype = _dtype(port)
    if array.dtype.kind not in "fiub":
        raise RecipeError(
            f"array {port.name!r} holds {array.dtype}, not numbers", where=str(path), fix=f"give {dtype.name}"
        )
    with np.errstate(all="ignore"):  # what does not fit is found below, or as NaN or Inf in the outputs
        cast = array.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(cast, array):
        raise RecipeError(
            f"array {port.name!r} has values that are no {dtype.name}", where=str(path), fix=f"give {dtype.name}"
        )
    return cast


def _clip(values: Array, port: Port) -> Array:
    """Generated numbers in the port's type, held within what it can be."""
    dtype = _dtype(port)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        # The largest int64 is no float64; the next float above it would wrap around.
        values = np.clip(values, float(limits.min), np.nextafter(float(limits.max), 0))
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def _dtype(port: Port) -> np.dtype[Any]:
    try:
        dtype = np.dtype(port.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        raise RecipeError(f"input {port.name!r} holds {port.dtype}, not numbers", fix="cut the graph after it")
    return dtype


def _static(port: Port) -> tuple[int, ...]:
    """The port's shape with 1 for a batch that is not static."""
    sizes = [1 if size is None and axis == 0 else size for axis, size in enumerate(port.shape)]
    if any(size is None for size in sizes):
        raise RecipeError(
            f"input {port.name!r} has no static shape {_show(port)}", fix="give inputs as .npz, or make it static"
        )
    shape = tuple(int(size) for size in sizes if size is not None)
    if not 0 < math.prod(shape) <= _MOST:
        raise RecipeError(f"input {port.name!r} of shape {_show(port)} cannot be generated", fix="give inputs as .npz")
    return shape


def _show(port: Port) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in port.shape)}]"
