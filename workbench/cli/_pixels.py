"""Numbers for two models of which one takes pixels and the other floats, or a camera's YUV: made of the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from workbench.calib.feeding import Feed, looks_like_camera
from workbench.calib.preprocess import Pixels
from workbench.cli import _inputs
from workbench.cli._prepared import Side, Source, Told, both, notes_of, origins, said_of
from workbench.errors import RecipeError
from workbench.runtimes._runner import Array, Port

Both = tuple[tuple[Source, Source], str, tuple[str, ...]]


def needed(first: Side, second: Side, mapping: Mapping[str, str]) -> bool:
    """Whether the same numbers mean something else to the two: one normalizes by itself, or takes a YUV picture."""
    theirs = {port.name: port for port in second.model.inputs}
    return any(
        _differ(port, partner)
        for port in first.model.inputs
        if (partner := theirs.get(mapping.get(port.name, port.name))) is not None
    )


def generated(
    first: Side,
    second: Side,
    recipe: Path | None,
    mapping: Mapping[str, str],
    samples: int,
    bounds: tuple[float, float] | None,
    seed: int,
) -> Both:
    """Feeds of both from random pixels: whole numbers within `bounds`, 0..255 when left out.

    Raises:
        RecipeError: the bounds hold no pixel, or nothing says how pixels become floats.
    """
    low, high = (0, 255) if bounds is None else (int(np.ceil(bounds[0])), int(np.floor(bounds[1])))
    if low > high or low < 0 or high > 255:
        raise RecipeError(
            f"--range {bounds[0]:g} {bounds[1]:g} holds no pixels" if bounds else "no pixels",
            fix="one of the two models takes pixels: stay within 0 255",
        )
    told = _told(first, second, recipe)
    fed = both(first, second, told, mapping)
    _check_equal(first, second, fed)

    def pixels() -> Iterator[dict[str, Pixels]]:
        random = np.random.default_rng(seed)
        for _ in range(samples):
            made = {}
            for one in fed[0]:
                _, channels, height, width = one.spec.nchw
                made[one.spec.name] = random.integers(low, high + 1, (height, width, channels), np.uint8)
            yield made

    described = f"{samples} generated, whole pixels in {low}..{high}, seed {seed}; {origins(first, second, told)}"
    return (_of(fed[0], pixels), _of(fed[1], pixels)), described, notes_of((first, second), told, fed)


def archive(
    first: Side, second: Side, recipe: Path | None, mapping: Mapping[str, str], path: Path, samples: int
) -> Both:
    """Feeds of both from an .npz with the inputs of `first`, which gets them as they are.

    Raises:
        RecipeError: the file cannot be used, holds what is no pixel, or nothing says how pixels become floats.
    """
    ours, described = _inputs.archive(first.model, path, samples)
    told = _told(first, second, recipe)
    fed = both(first, second, told, mapping)
    _check_equal(first, second, fed)

    def pixels() -> Iterator[dict[str, Pixels]]:
        for feed in ours():
            yield {one.spec.name: one.to_pixels(feed[one.port.name]) for one in fed[0]}

    try:
        for _ in pixels():  # what is no pixel is told before anything runs
            pass
    except RecipeError as error:
        raise RecipeError(error.what, where=str(path), fix=error.fix) from error
    line = f"{described}; {origins(first, second, told)}"
    return (ours, _of(fed[1], pixels)), line, notes_of((first, second), told, fed)


def _differ(port: Port, partner: Port) -> bool:
    if (port.dtype == "uint8") != (partner.dtype == "uint8"):
        return True
    # A YUV picture and pixels are both bytes, and no turning of the axes makes one the other.
    shapes = {tuple(sorted(size or 1 for size in one.shape)) for one in (port, partner)}
    return len(shapes) > 1 and (looks_like_camera(port) or looks_like_camera(partner))


def _told(first: Side, second: Side, recipe: Path | None) -> tuple[Told, Told]:
    """What is said of the two; a file that nothing is said of is taken to be prepared as the other."""
    found: list[Told | None] = []
    for side in (first, second):
        try:
            found.append(said_of(side.path, recipe))
        except RecipeError:
            found.append(None)
    known = next((told for told in found if told is not None), None)
    if known is None:
        kinds = " and ".join(f"{side.path.name} takes {side.model.inputs[0].dtype}" for side in (first, second))
        raise RecipeError(
            f"{kinds}, and nothing says how pixels become numbers",
            where=str(first.path),
            fix="add --recipe recipes/<model>.yaml, or name files of dist, whose manifest says it",
        )
    ours, theirs = (told or Told(known.specs, "the other") for told in found)
    return ours, theirs


def _check_equal(first: Side, second: Side, fed: tuple[Sequence[Feed], Sequence[Feed]]) -> None:
    sizes = [{one.spec.name: one.spec.nchw for one in feeds} for feeds in fed]
    if sizes[0] != sizes[1]:
        raise RecipeError(
            f"{first.path.name} and {second.path.name} take pictures of other sizes: {sizes[0]} and {sizes[1]}",
            where=str(second.path),
            fix="compare files of one recipe, or name a folder of pictures with --inputs",
        )


def _of(fed: Sequence[Feed], pixels: Callable[[], Iterator[dict[str, Pixels]]]) -> Source:
    def feeds() -> Iterator[dict[str, Array]]:
        for made in pixels():
            yield {one.port.name: one.of_pixels(made[one.spec.name]) for one in fed}

    return feeds
