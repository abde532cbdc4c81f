"""`workbench tune`: find the quantization settings that keep a recipe's network at 8 bits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options, _tuned

if TYPE_CHECKING:
    from workbench.recipe.load import LoadedRecipe


@click.command(short_help="Find the settings that keep a network at 8 bits.")
@_options.recipe
@click.option(
    "--write/--print",
    "write",
    default=False,
    help="Put the settings into the recipe, or only print the lines to add.  [default: print]",
)
@_tuned.budgets
@_options.overrides
@_options.weights
@click.option("--require-weights", is_flag=True, help="Fail (exit 3) rather than guess with random weights.")
@_options.as_json
def command(
    recipe: Path,
    write: bool,
    overrides: tuple[str, ...],
    weights: Path | None,
    require_weights: bool,
    as_json: bool,
    **limits: Any,
) -> None:
    """Find the settings that keep a recipe's network at 8 bits, and say what each of them is worth.

    Tried one after the other, each kept only where it helps: equalization of channels and of branches that meet in a
    Concat, bias correction, finer ranges (split, unroll), rounding, calibration methods, and the fewest tensors at 16
    bits for the mixed model. Figures are those of an emulation: it foresees what ranges and weights lose at 8 bits, not
    how a chip rounds. Ctrl-C loses nothing: the next start goes on where this one stopped.

    Example: workbench tune recipes/cpm.yaml --write && workbench convert recipes/cpm.yaml
    """
    import json

    from workbench import pipeline
    from workbench.cli._display import Display, output
    from workbench.recipe.load import load
    from workbench.recipe.rewrite import lines

    loaded = load(recipe, overrides)
    if write:
        _rehearse(recipe)
    request = pipeline.Request(weights, require_weights=require_weights, mirrors=pipeline.mirrors_of_environment())
    try:
        with Display(loaded.recipe.name) as display:
            choice = pipeline.tune(loaded, request, pipeline.store_of_environment(), display, _tuned.budget(**limits))
    except KeyboardInterrupt:
        click.echo("stopped: the next workbench tune goes on where this one was", err=True)
        raise
    added = _tuned.limits(choice, loaded.recipe)
    console = output()
    if not as_json:
        _tuned.show(loaded.recipe.name, choice, console)
        if not write:
            _tuned.show_lines(choice, added, console)
    lost = _write(loaded, choice, added, changed=bool(overrides)) if write else ()
    suggestion = _tuned.suggestion(choice, loaded.recipe)
    if as_json:
        result = {
            "recipe": loaded.recipe.name,
            **choice,
            "lines": lines(choice["quantization"], _tuned.remark(choice)),
            "limits": added,
            "suggestion": suggestion,
            "written": write,
            "comments_removed": list(lost),
        }
        click.echo(json.dumps(result, indent=2))
        return
    click.echo()
    for text in lost:
        click.echo(f"removed with the old section: {text}")
    if suggestion:
        click.echo(suggestion)
    given = "" if weights is None else f" --weights {weights}"
    click.echo(
        f"written to {recipe}; next: workbench convert {recipe}{given}"
        if write
        else f"nothing was written; --write puts this into {recipe}"
    )


def _rehearse(recipe: Path) -> None:
    """Refuse now, and not after minutes, what cannot be written."""
    from workbench.errors import ToolError
    from workbench.recipe.rewrite import rewrite

    here = recipe.resolve()
    # The folder alone decides over os.replace, which would also exchange a file that its owner protects.
    if not (os.access(here, os.W_OK) and os.access(here.parent, os.W_OK)):
        raise ToolError(
            "the recipe may not be written",
            where=str(recipe),
            fix="change its permissions or those of its folder; without --write the lines to add are printed",
        )
    rewrite(recipe.read_bytes().decode("utf-8-sig"), {"method": "MinMax"}, {"mixed": 0.5}, file=str(recipe))


def _write(loaded: LoadedRecipe, choice: _tuned.Choice, added: dict[str, float], *, changed: bool) -> tuple[str, ...]:
    """Write the settings; where that fails they are printed, so that the search was not for nothing."""
    from workbench.cli._display import output
    from workbench.errors import WorkbenchError
    from workbench.recipe.rewrite import write

    try:
        # With overrides the searched recipe is not the file's anyway.
        meant = None if changed else loaded.recipe
        done = write(loaded.path, choice["quantization"], added, note=_tuned.remark(choice), meant=meant)
    except WorkbenchError:
        _tuned.show_lines(choice, added, output())
        raise
    return done.lost
