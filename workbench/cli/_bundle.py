"""`workbench pulsar2 bundle`: a build in one archive, for whoever is to look into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from workbench.targets.pulsar2.bundle import Case


@click.command(short_help="Pack a build as a report for AXera.")
@click.argument("kit", required=False, type=_options.FILE)
@click.option("--config", type=_options.FILE, help="A configuration, instead of a kit.")
@click.option("--model", type=_options.FILE, help="The ONNX it compiles; a kit has it beside its folder.")
@click.option("--log", type=_options.FILE, help="What the tool printed; the kit's build.log when left out.")
@click.option(
    "--samples",
    type=click.IntRange(1, 1000),
    default=2,
    show_default=True,
    help="How many samples of every calibration archive.",
)
@click.option("--keep-weights", is_flag=True, help="Pack the model with its own weights; they are replaced otherwise.")
@click.option("--out", type=_options.FILE, help="The report, .tar.gz or .zip.  [default: pulsar2-report-NAME.tar.gz]")
@_options.toolchain
@_options.as_json
def command(
    kit: Path | None,
    config: Path | None,
    model: Path | None,
    log: Path | None,
    samples: int,
    keep_weights: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Pack a build that failed, or came out wrong, as the report that AXera asks for.

    KIT is the folder of a chip, dist/<recipe>/pulsar2/<chip>, or that of a failed conversion in dist/<recipe>.failed.
    The report holds the configuration, the model with other weights, two calibration samples of every input, the log,
    versions, and a script that repeats the build. Licence files are never in it; names of people, machines and home
    folders are taken out of configuration and log.
    """
    import json

    from workbench.errors import ToolError
    from workbench.runtimes.pulsar2_tool import find, of_environment
    from workbench.runtimes.pulsar2_tool.survey import survey
    from workbench.targets.pulsar2 import bundle, packing

    case = _case(kit, config, model, log)
    to = out or Path(f"pulsar2-report-{case.name}.tar.gz")
    packing.check_name(to)
    try:
        tool = find()
    except ToolError as error:  # a report on a machine without the tool is a report, too
        click.echo(f"{click.style('warning', fg='yellow', bold=True)}: {error}", err=True)
        tool = None
    engine = ""
    if tool is not None and tool.kind == "container":
        engine = next((str(one) for one in survey(of_environment()) if one.name == Path(tool.program).name), "")
    made = bundle.pack(case, to, tool, engine, samples, weights=keep_weights)
    if as_json:
        told = {"report": str(made.path), "files": dict(made.files), "stripped": made.stripped, "absent": made.absent}
        click.echo(json.dumps(told, indent=2))
        return
    for name, size in sorted(made.files.items()):
        click.echo(f"{size:>12} {name}")
    click.echo(f"{made.path}: {made.path.stat().st_size} bytes")
    if made.stripped is not None:
        click.echo(f"the values of {made.stripped} tensors are replaced; --keep-weights packs them")
    for absent in made.absent:
        click.echo(f"warning: not there, so not packed: {absent}", err=True)
    if case.log is None:
        click.echo("warning: there is no log: give it with --log, or run the build first", err=True)
    click.echo("the calibration samples are your own data: look at them before you send it", err=True)


def _case(kit: Path | None, config: Path | None, model: Path | None, log: Path | None) -> Case:
    """The build that is meant."""
    from workbench.errors import RecipeError
    from workbench.targets.pulsar2.bundle import Case, of_kit

    if kit is not None and config is None:
        found = of_kit(kit)
        return Case(found.name, found.config, model or found.model, log or found.log)
    if config is None or kit is not None:
        raise RecipeError("either the folder of a kit or --config says which build is meant", fix="give one of them")
    if model is None:
        raise RecipeError("--config needs the model that it compiles", fix="give it with --model")
    return Case(config.stem, config, model, log)
