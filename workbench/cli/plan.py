"""`workbench plan`: what would run and why."""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli import _options


@click.command(short_help="Say what convert would run, and why.")
@_options.recipes
@_options.overrides
@_options.weights
@_options.toolchain
@_options.as_json
def command(recipes: tuple[Path, ...], overrides: tuple[str, ...], weights: Path | None, as_json: bool) -> None:
    """Say what `convert` would run, and why; nothing is executed or downloaded.

    A line begins with a dot for a stage that would run, and with -- for one whose result is there.
    """
    import json

    from workbench import pipeline
    from workbench.cli._problems import each
    from workbench.recipe.load import load

    request = pipeline.Request(weights, mirrors=pipeline.mirrors_of_environment())
    store = pipeline.store_of_environment()

    def one(path: Path) -> dict[str, object]:
        loaded = load(path, overrides)
        found, outlooks = pipeline.plan(loaded, request, store)
        pinned = loaded.recipe.weights
        if found is not None:
            origin = found.origin
        else:
            origin = f"to be fetched: {(pinned.url or pinned.page or '') if pinned else ''}"
        stages = [{"stage": look.step.name, "runs": bool(look.reasons), "why": look.reasons} for look in outlooks]
        return {"recipe": loaded.recipe.name, "weights": origin, "stages": stages}

    plans = []
    for planned in each(recipes, one):
        plans.append(planned)
        if not as_json:
            click.echo(f"{planned['recipe']}: weights {planned['weights']}")
            for stage in planned["stages"]:  # type: ignore[attr-defined]
                mark, why = (".", "; ".join(stage["why"])) if stage["runs"] else ("--", "unchanged")
                click.echo(f"{mark:<2} {stage['stage']:<10} {why}")
    if as_json:
        click.echo(json.dumps(plans, indent=2))
