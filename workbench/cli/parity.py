"""`workbench parity`: are two model files the same function?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from workbench.parity.pairing import Pair
    from workbench.parity.verdict import Verdict


@click.command(short_help="Compare two models on the same inputs.")
@click.argument("a", type=_options.FILE)
@click.argument("b", type=_options.FILE)
@click.option("--inputs", type=_options.FILE, help="Folder of pictures, or .npz with one array per input name of A.")
@click.option(
    "--recipe",
    type=_options.FILE,
    help="Recipe whose preprocessing turns pictures into inputs; files in dist bring theirs in manifest.json.",
)
@click.option("--samples", type=click.IntRange(1, 10_000), default=4, show_default=True, help="How many inputs to use.")
@click.option(
    "--range",
    "bounds",
    type=_options.Number(-3e38, 3e38),
    nargs=2,
    default=(0.0, 1.0),
    show_default=True,
    help="Values of generated inputs, used when --inputs is not given.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of generated inputs.")
@click.option("--map", "maps", multiple=True, metavar="A=B", help="Pair output A of the first with B of the second.")
@click.option("--map-input", "input_maps", multiple=True, metavar="A=B", help="The same for inputs.")
@click.option("--cosine", type=_options.Number(-1, 1), default=0.999, show_default=True, help="At least.")
@click.option("--max-abs", type=_options.Number(0), help="At most.")
@click.option("--relative-l2", type=_options.Number(0), help="At most.")
@_options.as_json
def command(
    a: Path,
    b: Path,
    inputs: Path | None,
    recipe: Path | None,
    samples: int,
    bounds: tuple[float, float],
    seed: int,
    maps: tuple[str, ...],
    input_maps: tuple[str, ...],
    cosine: float,
    max_abs: float | None,
    relative_l2: float | None,
    as_json: bool,
) -> None:
    """Run two models (.onnx, .tflite, .pb, .axmodel) on the same inputs and compare every output.

    A is the reference. Names and shapes must match; NCHW and NHWC are turned into each other and said so. Pictures are
    prepared for each file as the manifest.json beside it says, or else as --recipe does. Exits with 4 when an output is
    further away than the limits, is missing or holds a NaN.

    Example: workbench parity dist/cpm/cpm.onnx dist/cpm/cpm.int8.onnx --inputs pictures/
    """
    import json

    from workbench.cli import _inputs, _prepared
    from workbench.errors import RecipeError
    from workbench.parity.compare import compare_runs
    from workbench.parity.pairing import pair, parse_map
    from workbench.parity.verdict import judge
    from workbench.recipe.schema import Limits
    from workbench.runtimes import open_model

    numbers = inputs is None or inputs.suffix.lower() in (".npz", ".npy")
    if recipe is not None and numbers:
        raise RecipeError(
            "--recipe is used only with --inputs PICTURES; numbers are taken as they are",
            fix="leave --recipe out, or name a folder of pictures with --inputs",
        )
    limits = Limits(cosine=cosine, max_abs=max_abs, relative_l2=relative_l2)
    with open_model(a) as first, open_model(b) as second:
        layouts: dict[str, Any] = {"reference_layout": first.layout, "got_layout": second.layout}
        mapping = parse_map(input_maps)
        outputs = pair(first.outputs, second.outputs, mapping=parse_map(maps), **layouts)
        fed: tuple[Pair, ...] = ()
        told: tuple[str, ...] = ()
        if inputs is not None and not numbers:
            sides = _prepared.Side(a, first), _prepared.Side(b, second)
            (ours, theirs), described, told = _prepared.sources(*sides, inputs, recipe, samples, mapping)
        else:
            fed = pair(first.inputs, second.inputs, mapping=mapping, what="input", **layouts)
            ours, described = (
                _inputs.generated(first, samples, bounds, seed)
                if inputs is None
                else _inputs.archive(first, inputs, samples)
            )
            theirs = _inputs.turned(ours, fed)
        rows = compare_runs(map(first.run, ours()), map(second.run, theirs()), outputs)
    verdict = judge(rows, limits)
    notes = [*told, *(f"{one.reference}: {one.note}" for one in (*fed, *outputs) if one.note)]
    result = {
        "a": a.name,
        "b": b.name,
        "inputs": described,
        "limits": limits.model_dump(exclude_none=True),
        "notes": notes,
        "outputs": [row.to_json() for row in rows],
        "passed": verdict.passed,
        "failures": list(verdict.failures),
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _show(result)
    if not verdict.passed:
        raise _missed(a, b, verdict)


def _missed(a: Path, b: Path, verdict: Verdict) -> Exception:
    from workbench.errors import ParityError

    listed = "\n    ".join(verdict.failures)
    return ParityError(
        f"{b.name} is not {a.name} within the limits\n    {listed}",
        fix="find the step that moved the numbers, or widen the limits (--cosine, --max-abs, --relative-l2)",
    )


def _show(result: dict[str, Any]) -> None:
    from rich.markup import escape

    from workbench.cli._display import output, table

    heads = ("cosine", "worst_cosine", "max_abs", "mean_abs", "relative_l2", "snr_db")
    rows = [(escape(row["name"]), *(f"{float(row[key]):.6g}" for key in heads)) for row in result["outputs"]]
    titles = ("cosine", "worst", "max abs", "mean abs", "rel. L2", "SNR dB")
    columns = (("output", "left"), *((title, "right") for title in titles))
    console = output()
    console.print(table(f"{escape(result['a'])} (reference) and {escape(result['b'])}", columns, rows))
    console.print(f"inputs: {escape(result['inputs'])}")
    for note in result["notes"]:
        console.print(f"note: {escape(note)}")
    console.print("[green]passed[/]" if result["passed"] else "[bold red]failed[/]")
