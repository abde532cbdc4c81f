"""`workbench convert`: recipes become checked artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from workbench.stages.publish import Outcome


@click.command(short_help="Turn recipes into deployable, checked files.")
@_options.recipes
@_options.overrides
@_options.weights
@click.option("--require", multiple=True, type=click.Choice(["axmodel"]), help="Fail (exit 3) if it cannot be made.")
@click.option("--require-weights", is_flag=True, help="Fail (exit 3) rather than use random weights.")
@click.option("--dist", type=_options.FILE, default=Path("dist"), show_default=True, help="Folder for the results.")
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
    loaded = list(each(recipes, lambda path: load(path, overrides), all_or_nothing=True))
    outcomes = []

    def one(recipe: Any) -> None:
        with Display(recipe.recipe.name) as display:
            outcome = pipeline.convert(recipe, request, store, display)
        outcomes.append(outcome)
        if not as_json:
            show(outcome, output())
        if outcome.failures:
            raise _missed(outcome)

    try:
        list(each(loaded, one))
    finally:
        if as_json:
            click.echo(_json(outcomes))


def _missed(outcome: Outcome) -> Exception:
    from workbench.errors import ParityError

    listed = "\n    ".join(outcome.failures)
    return ParityError(
        f"{outcome.manifest['recipe']}: {len(outcome.failures)} limits missed; the files are in {outcome.folder}"
        f"\n    {listed}",
        fix="look at report.html there; correct the step that moved the numbers, or the limit in the recipe",
    )


def _json(outcomes: list[Outcome]) -> str:
    import json

    return json.dumps(
        [
            {"folder": str(outcome.folder), "manifest": outcome.manifest, "parity": outcome.parity}
            for outcome in outcomes
        ],
        indent=2,
    )
