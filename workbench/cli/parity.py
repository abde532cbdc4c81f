"""`workbench parity`: are two model files the same function?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from workbench.cli._prepared import Side, Source
    from workbench.parity.verdict import Verdict
    from workbench.runtimes._runner import Latency
    from workbench.targets.pulsar2.fed import Compiled


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
    help="Values of generated inputs, used when --inputs is not given: 0 1, or pixels 0 255 where a model takes them.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of generated inputs.")
@click.option(
    "--runner",
    default="auto",
    show_default=True,
    help="Runs a .axmodel: pulsar2, axengine, ssh://root@board[:port][/folder] or dump:DIR.",
)
@click.option(
    "--timeout",
    type=_options.Number(1, 1e6),
    default=3600.0,
    show_default=True,
    help="Seconds that pulsar2 or a board may take for all inputs.",
)
@click.option("--map", "maps", multiple=True, metavar="A=B", help="Pair output A of the first with B of the second.")
@click.option("--map-input", "input_maps", multiple=True, metavar="A=B", help="The same for inputs.")
@click.option("--cosine", type=_options.Number(-1, 1), default=0.999, show_default=True, help="At least.")
@click.option("--max-abs", type=_options.Number(0), help="At most.")
@click.option("--relative-l2", type=_options.Number(0), help="At most.")
@_options.toolchain
@_options.as_json
def command(
    a: Path,
    b: Path,
    inputs: Path | None,
    recipe: Path | None,
    samples: int,
    bounds: tuple[float, float] | None,
    seed: int,
    runner: str,
    timeout: float,
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

    A .axmodel runs on this machine's NPU, else in AXera's simulation; --runner names another place: a board by ssh, or
    a folder of outputs made elsewhere (where it has none yet, the inputs are written there).

    Example: workbench parity dist/cpm/cpm.onnx dist/cpm/cpm.int8.onnx --inputs pictures/
    """
    import json
    from dataclasses import asdict

    from workbench.cli import _prepared
    from workbench.parity.compare import compare_runs
    from workbench.parity.pairing import pair, parse_map
    from workbench.parity.verdict import judge
    from workbench.recipe.schema import Limits
    from workbench.runtimes import open_model

    _check_runner(runner, a, b)
    limits = Limits(cosine=cosine, max_abs=max_abs, relative_l2=relative_l2)
    mapping = parse_map(input_maps)
    pictures = inputs is not None and inputs.suffix.lower() not in (".npz", ".npy")
    known = [_compiled(path) for path in (a, b)]
    chosen: list[dict[str, Any]] = [{"runner": runner, "timeout": timeout, "hardware": one.hardware} for one in known]
    with open_model(a, **chosen[0]) as first, open_model(b, **chosen[1]) as second:
        outputs = pair(
            first.outputs,
            second.outputs,
            reference_layout=first.layout,
            got_layout=second.layout,
            mapping=parse_map(maps),
        )
        sides = _prepared.Side(a, first, known[0].cameras), _prepared.Side(b, second, known[1].cameras)
        if inputs is not None and pictures:
            (ours, theirs), described, told = _prepared.sources(*sides, inputs, recipe, samples, mapping)
        else:
            (ours, theirs), described, told = _numbers(sides, inputs, recipe, samples, bounds, seed, mapping)
        rows = compare_runs(first.run_all(ours()), second.run_all(theirs()), outputs)
    verdict = judge(rows, limits)
    runs = {"a": first, "b": second}
    notes = [*told, *(f"{one.reference}: {one.note}" for one in outputs if one.note), *first.notes, *second.notes]
    notes += [f"{one.runtime}: {_times(one.latency)}" for one in runs.values() if one.latency]
    result = {
        "a": a.name,
        "b": b.name,
        "runtimes": {key: one.runtime for key, one in runs.items()},
        "latency_ms": {key: asdict(one.latency) for key, one in runs.items() if one.latency},
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
        raise _missed(a, b, verdict, noise=inputs is None)


def _check_runner(runner: str, a: Path, b: Path) -> None:
    """Refuse a --runner that is none, would not be used, or would answer for both models at once."""
    if runner == "auto":
        return
    from workbench.errors import RecipeError
    from workbench.runtimes.axmodel import check_runner

    check_runner(runner)
    compiled = [path for path in (a, b) if path.suffix.lower() == ".axmodel"]
    if not compiled:
        raise RecipeError(f"--runner {runner} is for a .axmodel, and neither file is one", fix="leave --runner out")
    if len(compiled) == 2 and runner.startswith("dump:"):
        raise RecipeError(
            f"--runner {runner} would be the answer of both models", fix="compare each with the .onnx it was made of"
        )


def _compiled(path: Path) -> Compiled:
    """What is known of a compiled model beside its file; nothing of others."""
    from workbench.targets.pulsar2.fed import Compiled, compiled

    return compiled(path) if path.suffix.lower() == ".axmodel" else Compiled()


def _numbers(
    sides: tuple[Side, Side],
    inputs: Path | None,
    recipe: Path | None,
    samples: int,
    bounds: tuple[float, float] | None,
    seed: int,
    mapping: Mapping[str, str],
) -> tuple[tuple[Source, Source], str, tuple[str, ...]]:
    """Inputs that are numbers, taken as they are; where one side takes pixels and the other not, made of pixels."""
    from workbench.cli import _inputs, _pixels
    from workbench.errors import RecipeError
    from workbench.parity.pairing import pair

    first, second = (side.model for side in sides)
    if _pixels.needed(*sides, mapping):
        if inputs is None:
            return _pixels.generated(*sides, recipe, mapping, samples, bounds, seed)
        return _pixels.archive(*sides, recipe, mapping, inputs, samples)
    if recipe is not None:
        raise RecipeError(
            "--recipe is used only with --inputs PICTURES; numbers are taken as they are",
            fix="leave --recipe out, or name a folder of pictures with --inputs",
        )
    fed = pair(
        first.inputs,
        second.inputs,
        reference_layout=first.layout,
        got_layout=second.layout,
        mapping=mapping,
        what="input",
    )
    if inputs is None:
        ours, described = _inputs.generated(first, samples, bounds or (0.0, 1.0), seed)
    else:
        ours, described = _inputs.archive(first, inputs, samples)
    notes = tuple(f"{one.reference}: {one.note}" for one in fed if one.note)
    return (ours, _inputs.turned(ours, fed)), described, notes


def _times(latency: Latency) -> str:
    span = f"{latency.minimum:g} to {latency.maximum:g} ms"
    return f"{latency.average:.4g} ms an inference ({span})"


def _missed(a: Path, b: Path, verdict: Verdict, *, noise: bool) -> Exception:
    from workbench.errors import ParityError

    listed = "\n    ".join(verdict.failures)
    fix = "find the step that moved the numbers, or widen the limits (--cosine, --max-abs, --relative-l2)"
    if "NaN" in listed:
        fix = "find the first layer that answers NaN; no limit lets it pass"
    elif noise and b.suffix.lower() == ".axmodel":
        fix = f"give pictures with --inputs: it was calibrated on pictures, and generated inputs are noise; or {fix}"
    return ParityError(f"{b.name} is not {a.name} within the limits\n    {listed}", fix=fix)


def _show(result: dict[str, Any]) -> None:
    from rich.markup import escape

    from workbench.cli._display import output, table

    heads = ("cosine", "worst_cosine", "max_abs", "mean_abs", "relative_l2", "snr_db")
    rows = [(escape(row["name"]), *(f"{float(row[key]):.6g}" for key in heads)) for row in result["outputs"]]
    titles = ("cosine", "worst", "max abs", "mean abs", "rel. L2", "SNR dB")
    columns = (("output", "left"), *((title, "right") for title in titles))
    console = output()
    console.print(table(f"{escape(result['a'])} (reference) and {escape(result['b'])}", columns, rows))
    console.print(f"run by: {escape(' and '.join(dict.fromkeys(result['runtimes'].values())))}")
    console.print(f"inputs: {escape(result['inputs'])}")
    for note in result["notes"]:
        console.print(f"note: {escape(note)}")
    console.print("[green]passed[/]" if result["passed"] else "[bold red]failed[/]")
