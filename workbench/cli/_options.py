"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

FILE = click.Path(path_type=Path)

recipes: Decorator = click.argument("recipes", nargs=-1, required=True, type=FILE, metavar="RECIPE...")
recipe: Decorator = click.argument("recipe", type=FILE)
overrides: Decorator = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the recipe, e.g. targets.tflite.variants=[fp32]; checked like the file.",
)
weights: Decorator = click.option("--weights", type=FILE, help="Use this weights file instead of looking for one.")
as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout instead of a table.")
