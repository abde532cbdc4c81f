"""`workbench schema`: what a recipe may say, for editors."""

from __future__ import annotations

import click


@click.command(short_help="Print the JSON Schema of recipes.")
def command() -> None:
    """Print the JSON Schema of recipes, with the options of every pass, target and source.

    Save it and let your editor complete recipes: put "# yaml-language-server: $schema=recipe.schema.json" on top of
    one.
    """
    import json

    from workbench.recipe.json_schema import recipe_schema

    click.echo(json.dumps(recipe_schema(), indent=2, sort_keys=True))
