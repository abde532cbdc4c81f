"""`workbench inspect`: what is inside a model file?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from rich.console import Console

    from workbench.inspection.facts import Facts, Part


@click.command(short_help="Show what is inside a model file.")
@click.argument("models", nargs=-1, required=True, type=_options.FILE, metavar="MODEL...")
@_options.as_json
def command(models: tuple[Path, ...], as_json: bool) -> None:
    """Show inputs, outputs, operators, parameters, MACs and opset of .onnx, .tflite, .pb and .axmodel files.

    Of a compiled .axmodel also the Pulsar2 that made it, what runs on the NPU and what on the CPU, batch sizes, and the
    bytes of programs and weights. Files are only read, each in a process of its own.

    Example: workbench inspect dist/cpm/cpm.int8.onnx
    """
    import json

    from workbench.cli._display import output
    from workbench.inspection.bounded import describe

    if as_json:
        told = [{"file": path.name, **describe(path).to_json()} for path in models]
        click.echo(json.dumps(told[0] if len(told) == 1 else told, indent=2))
        return
    console = output()
    for number, path in enumerate(models):
        facts = describe(path)
        if number:
            console.print()
        _show(console, path, facts)


def _show(console: Console, path: Path, facts: Facts) -> None:
    from rich.markup import escape

    from workbench.cli._display import table
    from workbench.report.page import human_bytes

    def say(label: str, text: str) -> None:
        console.print(f"{label:<11} {escape(text)}")

    console.print(f"[bold]{escape(path.name)}[/]  {facts.kind}, {human_bytes(facts.size)}")
    for label, said in facts.origin.items():
        say(label, said)
    if facts.opset is not None:
        say("Opset", str(facts.opset))
    if facts.parameters:
        counts = ", ".join(f"{count:,} {dtype}" for dtype, count in facts.parameters.items())
        say("Parameters", f"{counts} ({human_bytes(facts.parameter_bytes)})")
    if facts.macs is not None:
        say("MACs", f"{facts.macs:,} in one run")
    rows = [
        (what, escape(one.name), escape(one.shown), escape(one.note))
        for what, tensors in (("input", facts.inputs), ("output", facts.outputs))
        for one in tensors
    ]
    console.print(table("", (("", "left"), ("tensor", "left"), ("type", "left"), ("", "left")), rows))
    if facts.parts:
        columns = (("runs on", "left"), ("part", "left"), ("batch", "left"), ("program", "right"), ("weights", "right"))
        console.print(table("", columns, [_part(one) for one in facts.parts]))
    counts = ", ".join(f"{count} {name}" for name, count in sorted(facts.operators.items(), key=_most))
    say("Operators", f"{sum(facts.operators.values())}: {counts}")
    for note in facts.notes:
        style = "bold red" if note.startswith("NOT DEPLOYABLE") else "yellow"
        console.print(f"[{style}]{escape(note)}[/]")


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _part(part: Part) -> tuple[str, ...]:
    from rich.markup import escape

    from workbench.report.page import human_bytes

    if part.runs_on != "NPU":
        return part.runs_on, escape(", ".join(part.operators)), "", "", ""
    batches = ", ".join(str(batch) for batch in part.batches) or "?"
    return part.runs_on, escape(part.name), batches, human_bytes(part.program_bytes), human_bytes(part.weight_bytes)
