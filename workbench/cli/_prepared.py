"""Pictures as the inputs of a model file: prepared as its own manifest says, or else as a recipe does."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workbench.calib.feeding import Camera, Feed, feeds_of
from workbench.calib.pictures import Unreadable, choose, open_picture
from workbench.calib.preprocess import fit_picture
from workbench.calib.sets import find_pictures
from workbench.errors import ParityError, RecipeError, ToolError
from workbench.recipe.load import load
from workbench.recipe.schema import InputSpec
from workbench.runtimes._runner import Array, Runner

Source = Callable[[], Iterator[dict[str, Array]]]

_MANIFEST = "manifest.json"
_LARGEST = 50_000_000  # bytes of a manifest
_LEVELS = 2  # an artifact may lie in a folder of its own inside dist/<recipe>
_SPECS: TypeAdapter[tuple[InputSpec, ...]] = TypeAdapter(tuple[InputSpec, ...])


@dataclass(frozen=True)
class Side:
    """A model file, the runner it is opened in, and the YUV that its inputs take, by name, where that is known."""

    path: Path
    model: Runner
    cameras: Mapping[str, Camera] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What is known of a file's inputs: the specs, who says so, and what must not be overlooked about it."""

    specs: tuple[InputSpec, ...]
    origin: str
    note: str = ""


def sources(
    first: Side, second: Side, folder: Path, recipe: Path | None, samples: int, mapping: Mapping[str, str]
) -> tuple[tuple[Source, Source], str, tuple[str, ...]]:
    """Feeds of both models from the same pictures, each prepared in its own way, as lift_normalization moves the mean.

    Args:
        first: the reference.
        second: the model that is compared with it.
        folder: of pictures.
        recipe: says how a picture becomes an input where a file's manifest does not.
        samples: at most so many pictures are used.
        mapping: name of an input of `first` -> name in `second`, where they differ.

    Returns:
        the feeds of the two, a line that says what they are, and notes.

    Raises:
        RecipeError: there are no pictures, or nothing that says how they become the inputs of a file.
        ToolError: a picture cannot be read.
    """
    if not folder.exists() and not glob.has_magic(str(folder)):
        raise RecipeError("no such folder", where=str(folder), fix="name a folder of pictures, or an .npz file")
    told = said_of(first.path, recipe), said_of(second.path, recipe)
    paths = choose(find_pictures(str(folder.resolve()), Path()).paths, samples)
    fed = both(first, second, told, mapping)
    described = f"{count(len(paths), 'picture')} of {folder.resolve().name}; {origins(first, second, told)}"
    return (_feeds(fed[0], paths), _feeds(fed[1], paths)), described, notes_of((first, second), told, fed)


def both(
    first: Side, second: Side, told: tuple[Told, Told], mapping: Mapping[str, str]
) -> tuple[tuple[Feed, ...], tuple[Feed, ...]]:
    """How pixels become the inputs of either model; where one takes YUV, the other gets what that leaves of them.

    Raises:
        RecipeError: a file does not take what is said of it.
    """
    fed = _of_side(first, told[0], {})
    names = {one.spec.name: mapping[one.port.name] for one in fed if one.port.name in mapping}
    also = _of_side(second, told[1], names)
    return _beside(fed, also), _beside(also, fed)


def origins(first: Side, second: Side, told: tuple[Told, Told]) -> str:
    """Who says how each file is prepared; equal parts are told once, e.g. when a file is compared with itself."""
    sides = zip((first, second), told, strict=True)
    return ", ".join(dict.fromkeys(f"{side.path.name} prepared as {one.origin} says" for side, one in sides))


def notes_of(
    sides: tuple[Side, Side], told: tuple[Told, Told], fed: tuple[Sequence[Feed], Sequence[Feed]]
) -> tuple[str, ...]:
    """What the user should know of either side, each once."""
    notes = [one.note for one in told]
    notes += [
        f"{side.path.name}: {one.note}" for side, feeds in zip(sides, fed, strict=True) for one in feeds if one.note
    ]
    return tuple(dict.fromkeys(note for note in notes if note))


def count(number: int, thing: str) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{number} {thing}{'s' * (number != 1)}"


def said_of(path: Path, recipe: Path | None) -> Told:
    """What the manifest beside `path` says of its inputs, or else the recipe.

    Raises:
        RecipeError: neither says it.
    """
    specs, listed = _of_manifest(path)
    if specs:
        return Told(specs, "its manifest")
    if recipe is None:
        raise RecipeError(
            "pictures need a recipe to become inputs" + (": the manifest does not say how" if listed else ""),
            where=str(path),
            fix="add --recipe recipes/<model>.yaml" + (", or convert again" if listed else ""),
        )
    warning = f"{path.name}: its manifest does not say how pictures become inputs; surgery may have changed that"
    return Told(load(recipe).recipe.inputs, recipe.name, warning if listed else "")


def _beside(fed: Sequence[Feed], other: Sequence[Feed]) -> tuple[Feed, ...]:
    """`fed`, where each input knows whether `other` takes the same as YUV."""
    cameras = {one.spec.name: one.camera for one in other}
    return tuple(one if one.camera else replace(one, beside=cameras.get(one.spec.name)) for one in fed)


def _of_manifest(path: Path) -> tuple[tuple[InputSpec, ...], bool]:
    """The inputs of the artifact `path` as the manifest beside it says; and whether that lists the file at all."""
    for folder in path.absolute().parents[:_LEVELS]:
        manifest = read_manifest(folder)
        files = manifest.get("files")
        name = path.absolute().relative_to(folder).as_posix()
        if isinstance(files, list) and any(isinstance(one, dict) and one.get("path") == name for one in files):
            try:
                return _SPECS.validate_python(manifest.get("inputs")), True
            except ValidationError:
                return (), True
    return (), False


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in `folder`; empty where there is none, or what is there is none."""
    path = folder / _MANIFEST
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _of_side(side: Side, told: Told, names: Mapping[str, str]) -> tuple[Feed, ...]:
    """Which input of the file each spec is; `names` goes before the spec's own name, that before the source's."""
    ports = [port.name for port in side.model.inputs]
    mapping = {}
    for spec in told.specs:
        source = spec.source_tensor
        known = [name for name in (names.get(spec.name), spec.name, source, source.removesuffix(":0")) if name in ports]
        if not known:
            raise RecipeError(
                f"no input of the file is called {spec.name!r}, as {told.origin} says; it has {', '.join(ports)}",
                where=str(side.path),
                fix="give the recipe it was made with; where only B's name differs, --map-input name_in_A=name_in_B",
            )
        mapping[spec.name] = str(known[0])
    try:
        return feeds_of(told.specs, side.model.inputs, side.model.layout, mapping=mapping, cameras=side.cameras)
    except ParityError as error:
        raise RecipeError(
            f"the file does not take what {told.origin} describes: {error.what}",
            where=str(side.path),
            fix="give the recipe it was made with",
        ) from error
    except RecipeError as error:
        raise RecipeError(error.what, where=str(side.path), fix=error.fix) from error


def _feeds(fed: Sequence[Feed], paths: Sequence[Path]) -> Source:
    def feeds() -> Iterator[dict[str, Array]]:
        for path in paths:
            picture = open_picture(path)
            if isinstance(picture, Unreadable):
                raise ToolError(f"not a picture: {picture.reason}", where=str(path), fix="remove it from the folder")
            yield {one.port.name: one.of_pixels(fit_picture(picture, one.spec)) for one in fed}

    return feeds
