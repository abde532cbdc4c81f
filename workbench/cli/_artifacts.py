"""Which model files `workbench eval` means: those that a recipe was converted to, or those that were named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.cli._prepared import Told, read_manifest, said_of
from workbench.errors import RecipeError, ToolError
from workbench.recipe.load import LoadedRecipe, load
from workbench.runtimes import SUFFIXES

_RECIPES = (".yaml", ".yml")


@dataclass(frozen=True)
class Artifact:
    """A model file.

    Attributes:
        path: of it.
        label: what it is called in results.
        told: how a picture becomes its inputs.
        optional: one that cannot be run here is told, and no failure.
    """

    path: Path
    label: str
    told: Told
    optional: bool = False


@dataclass(frozen=True)
class Chosen:
    """What is evaluated.

    Attributes:
        loaded: the recipe that says what outputs mean.
        artifacts: the files; the first is the reference.
        random: reasons why a file is NOT DEPLOYABLE, each once.
    """

    loaded: LoadedRecipe
    artifacts: tuple[Artifact, ...]
    random: tuple[str, ...]


def chosen(named: Sequence[Path], recipe: Path | None, dist: Path) -> Chosen:
    """The recipe and the files that the command line means.

    Args:
        named: one recipe, or model files of which the first is the reference.
        recipe: says what the outputs of model files mean.
        dist: where recipes were converted to.

    Raises:
        RecipeError: recipes and files are mixed, a recipe is missing or wrong, or a file is of no known kind.
        ToolError: a file is missing, or the recipe was not converted.
    """
    recipes = [path for path in named if path.suffix.lower() in _RECIPES]
    if recipes and (len(named) > 1 or recipe is not None):
        raise RecipeError(
            "give one recipe, whose files in dist are evaluated, or model files",
            fix="for model files name the recipe with --recipe",
        )
    if recipes:
        return _converted(load(recipes[0]), dist)
    for path in named:
        _check_kind(path)
    if recipe is None:
        raise RecipeError(
            "the outputs of a model file need a recipe to be read as people",
            where=str(named[0]),
            fix="add --recipe recipes/<model>.yaml",
        )
    loaded = load(recipe)
    labels = _labels(named)
    artifacts = tuple(Artifact(path, label, said_of(path, recipe)) for path, label in zip(named, labels, strict=True))
    reasons = [reason for path in named for reason in _random(read_manifest(path.absolute().parent))]
    return Chosen(loaded, artifacts, tuple(dict.fromkeys(reasons)))


def _converted(loaded: LoadedRecipe, dist: Path) -> Chosen:
    """The files of ``dist/<recipe>/``, the float one in front."""
    folder = dist / loaded.recipe.name
    manifest = read_manifest(folder)
    again = f"workbench convert {loaded.path}"
    if not manifest:
        raise ToolError("the recipe was not converted: no manifest.json", where=str(folder), fix=again)
    files: Any = manifest.get("files")
    listed = [one for one in files if _is_model(one)] if isinstance(files, list) else []
    floats = [one["path"] for one in listed if one.get("precision") == "float"]
    reference = next((path for path in floats if path.endswith(".onnx")), floats[0] if floats else None)
    if reference is None:
        raise ToolError("the manifest lists no float model to compare with", where=str(folder), fix=again)
    paths = [reference, *sorted(one["path"] for one in listed if one["path"] != reference)]
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        raise ToolError(f"{missing[0]} is in the manifest and not in the folder", where=str(folder), fix=again)
    artifacts = tuple(
        Artifact(folder / path, path, said_of(folder / path, loaded.path), path.endswith(".axmodel")) for path in paths
    )
    return Chosen(loaded, artifacts, _random(manifest))


def _is_model(one: Any) -> bool:
    """Whether an entry of a manifest is a model that was compared, and in its folder."""
    if not isinstance(one, dict) or not isinstance(one.get("path"), str) or one.get("precision") is None:
        return False
    path = PurePosixPath(one["path"])
    return path.suffix in SUFFIXES and not path.is_absolute() and ".." not in path.parts


def _random(manifest: dict[str, Any]) -> tuple[str, ...]:
    """Why the files of a manifest must not be deployed."""
    if manifest.get("deployable") is not False:
        return ()
    reasons = manifest.get("not_deployable_because")
    told = tuple(one for one in reasons if isinstance(one, str)) if isinstance(reasons, list) else ()
    return told or ("its manifest does not say why",)


def _check_kind(path: Path) -> None:
    if path.is_dir():
        raise ToolError("a folder, not a model file", where=str(path), fix="name its recipe, or a file in it")
    if path.suffix.lower() not in SUFFIXES:
        raise RecipeError(
            "neither a recipe nor a model file", where=str(path), fix=f"one of: {', '.join((*_RECIPES, *SUFFIXES))}"
        )
    if not path.is_file():
        raise ToolError("no such file", where=str(path), fix="check the path")


def _labels(named: Sequence[Path]) -> list[str]:
    """File names; whole paths where two are equal."""
    names = [path.name for path in named]
    return [str(path) if names.count(path.name) > 1 else path.name for path in named]
