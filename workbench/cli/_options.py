"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

FILE = click.Path(path_type=Path)


class Number(click.types.FloatParamType):
    """A finite number within bounds; click's own FloatRange lets NaN pass, which compares false with everything."""

    def __init__(self, low: float, high: float = math.inf) -> None:
        self.low, self.high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As click does, and what is not a number or out of bounds is a usage error."""
        number = float(super().convert(value, param, ctx))
        if not (math.isfinite(number) and self.low <= number <= self.high):
            bounds = f"at least {self.low:g}" if math.isinf(self.high) else f"from {self.low:g} to {self.high:g}"
            self.fail(f"{value} is not a number {bounds}", param, ctx)
        return number


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
