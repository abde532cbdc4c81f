"""Options that several commands share."""

from __future__ import annotations

import math
import os
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


class Amount(click.types.StringParamType):
    """What `read`, a function of `workbench.runtimes.pulsar2_tool.choice`, understands; passed on as it was written."""

    def __init__(self, read: str, name: str) -> None:
        self._read, self.name = read, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """What cannot be read is a usage error."""
        from workbench.errors import RecipeError
        from workbench.runtimes.pulsar2_tool import choice

        try:
            getattr(choice, self._read)(str(value))
        except RecipeError as error:
            self.fail(f"{error.what}: {error.fix}", param, ctx)
        return str(value)


def _for_this_command(variable: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    """A callback that makes an option the environment variable it stands for, until the command ends.

    The toolchain is looked for deep down, by several stages: each reads the variables (`choice.of_environment`).
    """

    def told(ctx: click.Context, param: click.Parameter, value: str | None) -> None:  # noqa: ARG001 -- click's signature
        if value is None:
            return
        before = os.environ.get(variable)
        os.environ[variable] = value
        ctx.call_on_close(
            lambda: os.environ.pop(variable, None) if before is None else os.environ.update({variable: before})
        )

    return told


def toolchain(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--image``, ``--memory`` and ``--cpus`` for commands that may start Pulsar2."""
    for flag, variable, kind, text in (
        ("--cpus", "PULSAR2_CPUS", Amount("read_cpus", "number"), "Most processors Pulsar2 may use."),
        ("--memory", "PULSAR2_MEMORY", Amount("read_memory", "size"), "Most memory Pulsar2 may use, e.g. 8g."),
        ("--image", "PULSAR2_IMAGE", click.STRING, "Run Pulsar2 from this container image, and from nothing else."),
    ):
        command = click.option(
            flag,
            type=kind,
            envvar=variable,
            show_envvar=True,
            expose_value=False,
            callback=_for_this_command(variable),
            help=text,
        )(command)
    return command
