"""Inputs for `workbench parity`: pictures, an .npz, or generated numbers, one run at a time and repeatable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from workbench.calib.pictures import Unreadable, choose, open_picture
from workbench.calib.preprocess import fit_picture, to_tensor
from workbench.calib.sets import find_pictures
from workbench.errors import RecipeError, ToolError
from workbench.parity.pairing import pair
from workbench.recipe.load import load
from workbench.runtimes._runner import Array, Port, Runner

Source = Callable[[], Iterator[dict[str, Array]]]


def source(
    model: Runner, inputs: Path | None, recipe: Path | None, samples: int, bounds: tuple[float, float], seed: int
) -> tuple[Source, str]:
    """A function that yields the feeds of `model`, each time the same, and a line that says what they are.

    Raises:
        RecipeError: the inputs cannot be read or do not fit the model.
    """
    if inputs is None:
        if bounds[0] >= bounds[1]:
            raise RecipeError(f"--range {bounds[0]:g} {bounds[1]:g} is empty", fix="give the smaller value first")
        described = f"{samples} generated, uniform in {bounds[0]:g}..{bounds[1]:g}, seed {seed}"
        return lambda: _generated(model.inputs, samples, bounds, seed), described
    if inputs.suffix == ".npz":
        return _archive(model, inputs, samples)
    if recipe is None:
        raise RecipeError(
            "pictures need a recipe to become inputs", where=str(inputs), fix="add --recipe recipes/<model>.yaml"
        )
    return _pictures(model, inputs, recipe, samples)


def _generated(
    ports: tuple[Port, ...], samples: int, bounds: tuple[float, float], seed: int
) -> Iterator[dict[str, Array]]:
    random = np.random.default_rng(seed)
    for _ in range(samples):
        yield {port.name: random.uniform(*bounds, _static(port)).astype(port.dtype) for port in ports}


def _static(port: Port) -> tuple[int, ...]:
    """The port's shape with 1 for a batch that is not static."""
    sizes = [1 if size is None and axis == 0 else size for axis, size in enumerate(port.shape)]
    if any(size is None for size in sizes):
        raise RecipeError(
            f"input {port.name!r} has no static shape {list(port.shape)}", fix="give inputs as .npz, or make it static"
        )
    return tuple(int(size) for size in sizes if size is not None)


def _archive(model: Runner, path: Path, samples: int) -> tuple[Source, str]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise RecipeError(
            f"cannot read the inputs: {error}", where=str(path), fix="write it with numpy.savez(name=array)"
        ) from error
    wanted = {port.name for port in model.inputs}
    if set(arrays) != wanted:
        raise RecipeError(
            f"the file has {', '.join(sorted(arrays)) or 'nothing'}, the model wants {', '.join(sorted(wanted))}",
            where=str(path),
            fix="one array per input, named like it",
        )
    runs = _runs(model.inputs, arrays, path)[:samples]
    return lambda: iter(runs), f"{len(runs)} from {path.name}"


def _runs(ports: tuple[Port, ...], arrays: dict[str, Array], path: Path) -> list[dict[str, Array]]:
    """The arrays cut along the first axis into runs of the model's batch."""
    counts = set()
    for port in ports:
        shape, array = _static(port), arrays[port.name]
        if array.ndim != len(shape) or array.shape[1:] != shape[1:] or array.shape[0] % shape[0]:
            raise RecipeError(
                f"array {port.name!r} is {list(array.shape)}, the model wants {list(shape)}",
                where=str(path),
                fix="give whole batches along the first axis",
            )
        counts.add(array.shape[0] // shape[0])
    if len(counts) != 1 or 0 in counts:
        raise RecipeError("the arrays do not hold the same number of samples", where=str(path), fix="give one each")
    return [
        {
            port.name: arrays[port.name][run * (size := _static(port)[0]) : (run + 1) * size].astype(port.dtype)
            for port in ports
        }
        for run in range(counts.pop())
    ]


def _pictures(model: Runner, folder: Path, recipe: Path, samples: int) -> tuple[Source, str]:
    specs = load(recipe).recipe.inputs
    paths = choose(find_pictures(str(folder.resolve()), Path()).paths, samples)
    ports = [Port(spec.name, spec.nchw, "float32") for spec in specs]
    fed = pair(ports, model.inputs, reference_layout="NCHW", got_layout=model.layout, what="input")

    def feeds() -> Iterator[dict[str, Array]]:
        for path in paths:
            picture = open_picture(path)
            if isinstance(picture, Unreadable):
                raise ToolError(f"not a picture: {picture.reason}", where=str(path), fix="remove it from the folder")
            tensors = {spec.name: to_tensor(fit_picture(picture, spec), spec) for spec in specs}
            yield {one.got: one.from_reference(tensors[one.reference]) for one in fed}

    return feeds, f"{len(paths)} pictures of {folder.name}, prepared as {recipe.name} says"
