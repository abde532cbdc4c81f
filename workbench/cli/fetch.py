"""`workbench fetch`: have the weights before they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from workbench.errors import WorkbenchError


@click.command(short_help="Download and verify the weights of recipes.")
@_options.recipes
@_options.as_json
def command(recipes: tuple[Path, ...], as_json: bool) -> None:
    """Have the weights of recipes ready, downloaded and verified; tries again what failed before.

    Looked up in this order: the cache, every folder of WORKBENCH_MIRROR, the recipe's URL. A file whose hash does not
    fit never enters the cache; a file without a published hash is pinned in a .lock file beside the recipe.
    """
    import json

    from workbench import pipeline
    from workbench.cli._display import Display
    from workbench.cli._problems import each
    from workbench.recipe.load import load
    from workbench.stages import fetch

    store = pipeline.store_of_environment()

    def one(path: Path) -> dict[str, str | None]:
        loaded = load(path)
        with Display(loaded.recipe.name) as display:
            found = fetch.get(
                loaded,
                given=None,
                mirrors=pipeline.mirrors_of_environment(),
                home=store.home,
                require=True,
                progress=display,
            )
        return {"recipe": loaded.recipe.name, "origin": found.origin, "path": str(found.path), "sha256": found.sha256}

    fetched: list[dict[str, Any]] = []

    def failed(path: Path, error: WorkbenchError) -> None:
        fetched.append({"recipe": str(path), "error": str(error), "exit_code": error.exit_code})

    try:
        for entry in each(recipes, one, failed):
            fetched.append(entry)
            if not as_json:
                click.echo(f"{entry['recipe']}: {entry['origin']}, sha256 {entry['sha256']}\n  {entry['path']}")
    finally:
        if as_json:
            click.echo(json.dumps(fetched, indent=2))
