"""`workbench quantize`: any ONNX file at 8 bits, without a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options, _tuned

if TYPE_CHECKING:
    from workbench.cli._described import Data, Wish
    from workbench.stages.publish import Outcome

_PIXELS = _options.Number(-1e6, 1e6)


@click.command(short_help="Quantize any ONNX file, without a recipe.")
@click.argument("model", type=_options.FILE, metavar="MODEL.onnx")
@click.option("--calib", type=_options.FILE, required=True, metavar="FOLDER", help="Pictures to measure ranges on.")
@click.option("--name", help="Name of the results.  [default: that of the file]")
@click.option(
    "--input-range",
    type=_PIXELS,
    nargs=2,
    metavar="BLACK WHITE",
    help="What the network takes for the pixels 0 and 255, e.g. 0 1.",
)
@click.option("--mean", type=_PIXELS, nargs=3, metavar="R G B", help="Or: subtracted from 0..255 pixels,")
@click.option("--std", type=_options.Number(1e-6), nargs=3, metavar="R G B", help="and what they are divided by then.")
@click.option(
    "--color", type=click.Choice(["RGB", "BGR"]), default="RGB", show_default=True, help="Order of the channels."
)
@click.option(
    "--fit",
    type=click.Choice(["stretch", "letterbox", "pad"]),
    default="stretch",
    show_default=True,
    help="How a picture is brought to the network's size; letterbox and pad keep its aspect.",
)
@click.option(
    "--size",
    type=click.IntRange(1, 16384),
    nargs=2,
    metavar="HEIGHT WIDTH",
    help="Of the pictures, for a file that leaves it open.",
)
@click.option("--heatmaps", multiple=True, metavar="OUTPUT", help="An output that holds the heat maps of joints.")
@click.option("--joints", default="coco17", show_default=True, metavar="SKELETON", help="Which joints these are.")
@click.option("--count", type=click.IntRange(2, 100_000), default=64, show_default=True, help="Pictures used, at most.")
@click.option("--tune/--no-tune", default=True, show_default=True, help="Search the settings, or take the usual ones.")
@_tuned.budgets
@click.option("--tflite", is_flag=True, help="Also write <name>.int8.tflite.")
@click.option("--chip", "chips", multiple=True, metavar="CHIP", help="Also prepare a .axmodel for a chip, e.g. AX650.")
@click.option(
    "--limit",
    type=_options.Number(-1, 1),
    default=0.9,
    show_default=True,
    help="Least cosine, on held-out pictures, of the quantized to the float outputs; below it is exit 4.",
)
@click.option("--dist", type=_options.FILE, default=Path("dist"), show_default=True, help="Folder for the results.")
@click.option("--save", type=_options.FILE, metavar="RECIPE", help="Write the recipe that this stands for.")
@click.option("--page", metavar="https://...", help="Where the model is published; a saved recipe has to say it.")
@_options.as_json
def command(model: Path, calib: Path, tune: bool, dist: Path, save: Path | None, as_json: bool, **options: Any) -> None:
    """Quantize any ONNX file that takes pictures, without a recipe, and compare the result with the file itself.

    Inputs and outputs are read from the file. The settings are searched as by `workbench tune`, the results checked as
    by `workbench convert`; the pictures that judge are never among those that calibrate. Outputs whose meaning is not
    told are judged by their cosine alone. The .onnx at 8 bits is an emulation: it foresees what ranges and weights
    lose, not how a chip rounds.

    Example: workbench quantize model.onnx --calib photos --input-range 0 1 --tflite
    """
    import json

    from workbench import pipeline
    from workbench.cli import _described, _network
    from workbench.cli._display import Display, output
    from workbench.cli._outcome import show

    if save is not None:
        _described.check_free(save)
    budget = {key: options.pop(key) for key in ("macs", "u16", "rounding", "goal", "mixed_goal")}
    wish = _wish(model, calib, options)
    network = _network.inspect(model, options["size"])
    path = save or Path(f"{_network.plain(wish.name, 'network')}.yaml")
    data = _described.described(wish, network, path)
    data["quantization"]["rounding"] = "optimal" if budget["rounding"] and not tune else "nearest"
    loaded = _described.loaded(data, wish, path)
    store = pipeline.store_of_environment()
    request = pipeline.Request(model, dist=dist, mirrors=pipeline.mirrors_of_environment())
    pipeline.check(loaded, store)
    if save is not None:  # what cannot be kept is said now, and not after minutes
        _rehearse(data, save, loaded.recipe)
    choice: _tuned.Choice | None = None
    try:
        with Display(loaded.recipe.name) as display:
            for note in network.notes:
                display.note(note)
            if tune:
                choice = pipeline.tune(loaded, request, store, display, _tuned.budget(**budget))
                data = _described.tuned(data, choice["quantization"])
                loaded = _described.loaded(data, wish, path)
            if save is not None:
                _described.save(data, save, loaded.recipe)
            outcome = pipeline.convert(loaded, request, store, display)
    except KeyboardInterrupt:
        click.echo("stopped: the next start goes on where this one was", err=True)
        raise
    if as_json:
        result = {
            "recipe": _described.text(data),
            "saved": None if save is None else str(save),
            "search": choice,
            "folder": str(outcome.folder),
            "manifest": outcome.manifest,
            "parity": outcome.parity,
        }
        click.echo(json.dumps(result, indent=2))
    else:
        if choice is not None:
            _tuned.show(loaded.recipe.name, choice, output())
        show(outcome, output())
        _next(data, model, save)
    if outcome.failures:
        raise _missed(outcome)


def _wish(model: Path, calib: Path, options: dict[str, Any]) -> Wish:
    from workbench.cli import _described

    mean, std = _described.pixel_values(options["input_range"], options["mean"], options["std"])
    return _described.Wish(
        model=model,
        calib=calib,
        name=options["name"] or model.stem,
        mean=mean,
        std=std,
        **{key: options[key] for key in ("color", "fit", "heatmaps", "joints", "count", "tflite", "chips")},
        limit=options["limit"],
        page=options["page"],
    )


def _rehearse(data: Data, save: Path, recipe: Any) -> None:
    import tempfile

    from workbench.cli import _described

    with tempfile.TemporaryDirectory() as folder:
        _described.save(data, Path(folder) / save.name, recipe)


def _next(data: Data, model: Path, save: Path | None) -> None:
    from workbench.cli._described import text

    click.echo()
    if save is not None:
        click.echo(f"the recipe is in {save}; next time: workbench convert {save} --weights {model}")
        return
    click.echo("this stands for the following recipe, which --save RECIPE writes:\n")
    click.echo(text(data), nl=False)


def _missed(outcome: Outcome) -> Exception:
    from workbench.errors import ParityError

    listed = "\n    ".join(outcome.failures)
    return ParityError(
        f"the quantized network is further from the float one than --limit allows; the files are in {outcome.folder}\n"
        f"    {listed}",
        fix="try more pictures, --rounding or a larger --macs or --u16; or lower --limit",
    )
