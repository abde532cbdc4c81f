"""`workbench pulsar2`: the configurations of AXera's tool, rendered from recipes or held against what they speak of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from workbench.cli import _options


class _Group(click.Group):
    """The commands of this file, and those of files of their own, which are imported when they are called or listed."""

    _elsewhere = {"bundle": "workbench.cli._bundle"}  # noqa: RUF012 -- never changed

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Both kinds, sorted."""
        from importlib.util import find_spec

        there = [name for name, module in self._elsewhere.items() if find_spec(module) is not None]
        return sorted({*super().list_commands(ctx), *there})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The object ``command`` of a file of its own, or what was declared here."""
        if cmd_name in self._elsewhere and cmd_name in self.list_commands(ctx):
            import importlib

            found: click.Command = importlib.import_module(self._elsewhere[cmd_name]).command
            return found
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group, short_help="Render or check Pulsar2 configurations; pack a report for the vendor.")
def command() -> None:
    """Render the configuration of AXera's Pulsar2 from a recipe, check anybody's, or pack a build for a report."""


@command.command(short_help="Print the configuration of a recipe.")
@_options.recipe
@click.option("--chip", help="Render for this chip or alias; the recipe's first when left out.")
@_options.overrides
@_options.weights
@click.option("--json", "as_json", is_flag=True, help="Print config.json itself, without comments.")
def config(recipe: Path, chip: str | None, overrides: tuple[str, ...], weights: Path | None, as_json: bool) -> None:
    """Print the configuration that a recipe is compiled with, and which line of the recipe each value comes from.

    It has passed every rule. Where the recipe has been converted on this machine, its names are those of the model, and
    layer_configs is in it.
    """
    from workbench.cli._rendered import rendering
    from workbench.recipe.load import load

    loaded = load(recipe, overrides)
    made = rendering(loaded, chip, weights)
    click.echo(made.plain if as_json else made.annotated, nl=False)
    for doubt in (*made.warnings, *([made.note] if made.note else [])):
        click.echo(f"{click.style('warning', fg='yellow', bold=True)}: {doubt}", err=True)


@command.command(short_help="Check a configuration, however it was made.")
@click.argument("config", type=_options.FILE)
@click.option("--model", type=_options.FILE, help="The ONNX it is for; the one it names when left out.")
@click.option("--base", type=_options.FILE, help="Folder its paths start from; its own when left out.")
@click.option("--samples/--no-samples", default=True, show_default=True, help="Read the calibration archives, too.")
@_options.as_json
def validate(config: Path, model: Path | None, base: Path | None, samples: bool, as_json: bool) -> None:
    """Hold a configuration, however it was made, against the schema, the rules, the model and its calibration data.

    CONFIG is JSON with comments, YAML, TOML or protobuf text. What the tool would refuse after minutes, or silently
    build otherwise than meant, is an error; what is only likely to be a mistake is a warning. Exit codes: 2 the
    configuration is wrong, 3 a file it names is missing, unsafe or unreadable.
    """
    import json

    from workbench.cli._problems import plain
    from workbench.cli._validated import validation

    told = validation(config, model, base, samples=samples)
    if as_json:
        click.echo(json.dumps(_data(config, told), indent=2, ensure_ascii=False))
    else:
        for place, finding in told.findings:
            colour = "red" if finding.level == "error" else "yellow"
            head = f"{finding.where}: {finding}" if finding.where else str(finding)
            told_so = plain(f"{place}: {head}\n  fix: {finding.fix}")
            click.echo(f"{click.style(finding.level, fg=colour, bold=True)}: {told_so}")
        click.echo(_summary(config, told))
    click.get_current_context().exit(told.exit_code)


def _summary(config: Path, told: Any) -> str:
    errors = sum(finding.level == "error" for _, finding in told.findings)
    doubts = len(told.findings) - errors
    counts = f"{errors} error{'s' * (errors != 1)}, {doubts} warning{'s' * (doubts != 1)}"
    if not told.ruled:
        return f"{config}: {counts}; held against the schema alone: the rules follow when these are mended"
    against = [f"the model {told.model}" if told.model else "no model (give --model)"]
    against.append("its calibration data" if told.samples else "no calibration data")
    return f"{config}: {counts}; held against the schema, the rules, {' and '.join(against)}"


def _data(config: Path, told: Any) -> dict[str, object]:
    from workbench.recipe.complaints import dotted

    return {
        "config": str(config),
        "model": str(told.model) if told.model else None,
        "samples": told.samples,
        "rules": told.ruled,
        "ok": told.exit_code == 0,
        "findings": [
            {
                "level": finding.level,
                "path": dotted(finding.at) if finding.at else "",
                "where": place,
                "file": finding.where,
                "what": finding.what,
                "fix": finding.fix,
            }
            for place, finding in told.findings
        ],
    }
