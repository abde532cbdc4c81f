"""`workbench convert`: recipes become checked artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.errors import WorkbenchError
    from workbench.recipe.load import LoadedRecipe
    from workbench.stages.publish import Outcome


@click.command(short_help="Turn recipes into deployable, checked files.")
@_options.recipes
@_options.overrides
@_options.weights
@click.option("--require", multiple=True, type=click.Choice(["axmodel"]), help="Fail (exit 3) if it cannot be made.")
@click.option("--require-weights", is_flag=True, help="Fail (exit 3) rather than use random weights.")
@click.option("--dist", type=_options.FILE, default=Path("dist"), show_default=True, help="Folder for the results.")
@_options.toolchain
@_options.as_json
def command(
    recipes: tuple[Path, ...],
    overrides: tuple[str, ...],
    weights: Path | None,
    require: tuple[str, ...],
    require_weights: bool,
    dist: Path,
    as_json: bool,
) -> None:
    """Turn recipes into deployable, checked files in dist/<recipe>/.

    A stage whose inputs did not change is not run again. All recipes are checked before the first one starts; one that
    fails does not stop the others.

    Example: workbench convert recipes/lw_openpose.yaml --set targets.tflite.variants=[fp32]
    """
    import json

    from workbench import pipeline
    from workbench.cli._display import Display, output
    from workbench.cli._outcome import show
    from workbench.cli._problems import each
    from workbench.errors import RecipeError
    from workbench.recipe.load import load

    if weights is not None and len(recipes) > 1:
        raise RecipeError("--weights is one file, but several recipes were given", fix="convert them one by one")
    request = pipeline.Request(weights, require, require_weights, dist, pipeline.mirrors_of_environment())
    store = pipeline.store_of_environment()
    results: list[dict[str, Any]] = []

    def ready(path: Path) -> LoadedRecipe:
        loaded = load(path, overrides)
        pipeline.check(loaded, store)
        return loaded

    def one(loaded: LoadedRecipe) -> None:
        with Display(loaded.recipe.name, heading=len(recipes) > 1) as display:
            outcome = pipeline.convert(loaded, request, store, display)
        results.append({"folder": str(outcome.folder), "manifest": outcome.manifest, "parity": outcome.parity})
        if not as_json:
            show(outcome, output())
        if outcome.failures:
            raise _missed(outcome)

    def failed(item: Path | LoadedRecipe, error: WorkbenchError) -> None:
        path = item if isinstance(item, Path) else item.path
        results.append({"recipe": str(path), "error": str(error), "exit_code": error.exit_code})

    try:
        loaded = list(each(recipes, ready, failed, all_or_nothing=True))
        _refuse_twins(loaded)
        list(each(loaded, one, failed))
    finally:
        if as_json:
            click.echo(json.dumps(results, indent=2))


def _refuse_twins(loaded: Sequence[LoadedRecipe]) -> None:
    """Two recipes of one name would publish into one folder."""
    from workbench.errors import RecipeError

    seen: dict[str, Path] = {}
    for recipe in loaded:
        name = recipe.recipe.name
        if name in seen:
            raise RecipeError(
                f"name: {name!r} is also the name of {seen[name]}",
                where=recipe.marks.where(("name",)),
                fix="rename one: the name is the folder in dist",
            )
        seen[name] = recipe.path


def _missed(outcome: Outcome) -> Exception:
    from workbench.errors import ParityError

    listed = "\n    ".join(outcome.failures)
    small = any(f".{kind}." in one for one in outcome.failures for kind in ("int8", "mixed", "int16x8"))
    tune = "; workbench tune looks for settings that lose less at 8 bits" if small else ""
    missed = "a limit was" if len(outcome.failures) == 1 else f"{len(outcome.failures)} limits were"
    return ParityError(
        f"{outcome.manifest['recipe']}: {missed} missed; the files are in {outcome.folder}\n    {listed}",
        fix="look at report.html there; correct the step that moved the numbers, or the limit in the recipe" + tune,
    )
