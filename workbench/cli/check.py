"""`workbench check`: would the chip's compiler take this graph, and if not, what mends it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from workbench.errors import WorkbenchError
    from workbench.targets.pulsar2.findings import Finding, Report
    from workbench.targets.pulsar2.remedies import Remedy


# What helps against a blocked (operator, attribute) that is no node's; for nodes the last.
_CURES = {
    ("graph", "opset"): "export it again at opset 17 or 18",
    ("input", "shape"): "export it again with a number for every size of its inputs",
    ("input", "type"): "give its inputs a type of that list, or cast before the graph",
}
_CURE = "replace these in the network, cut them off with cut_outputs so that a CPU runs them, or take another chip"


@click.command(short_help="Check an ONNX graph against a chip's operator table.")
@click.argument("model", type=_options.FILE)
@click.option(
    "--chip",
    "chips",
    multiple=True,
    required=True,
    metavar="CHIP",
    help="AX650, AX620E, AX615, AX637, M57, AX8860, M76H or a part such as AX630C; may be given several times.",
)
@click.option(
    "--fix",
    "fixed",
    type=_options.FILE,
    metavar="OUT.onnx",
    help="Write the graph after all passes that mend it, and check that; MODEL itself may be named.",
)
@click.option("--all", "everything", is_flag=True, help="List the nodes that are fine, too.")
@_options.as_json
def command(model: Path, chips: tuple[str, ...], fixed: Path | None, everything: bool, as_json: bool) -> None:
    """Hold every node of MODEL, an ONNX file, against the operator table of a Pulsar2 chip, attribute by attribute.

    ok: nothing is said against it. rewrite: the compiler would fail, and the surgery pass that is named mends it; the
    lines for a recipe follow the table. blocked: it would fail, and no pass helps. by hand: the vendor's table leaves
    it open. Exits with 3 when a node is blocked.

    Example: workbench check dist/cpm/cpm.onnx --chip AX650 --chip AX620E
    """
    import json

    from workbench.errors import UnsupportedError
    from workbench.targets.pulsar2 import remedies
    from workbench.targets.pulsar2.chips import find

    names = tuple(dict.fromkeys(find(chip.upper()).name for chip in chips))
    if fixed is not None:
        _writable(fixed)
    done: list[Remedy] = []
    after: list[Report] = []
    try:
        graph = mended = _read(model)
        reports = [remedies.treat(graph, name).before for name in names]
    except UnsupportedError as error:
        error.where = error.where or str(model)
        raise
    if fixed is not None:
        for name in names:
            treated = remedies.treat(mended, name)
            mended = treated.model
            done += treated.remedies
        after = [remedies.treat(mended, name).before for name in names] if done else list(reports)
        _write(model, mended if done else None, fixed)
    result: dict[str, Any] = {"model": model.name, "checks": [report.to_json() for report in reports]}
    if fixed is not None:
        result["fix"] = {
            "out": fixed.name,
            "passes": [
                {"line": one.line, "changed": list(one.edits.changed), "left": list(one.edits.left)} for one in done
            ],
            "checks": [report.to_json() for report in after],
        }
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _show(model, reports, fixed, done, after, everything=everything)
    blocked = [report for report in (after if fixed is not None else reports) if report.of("blocked")]
    if blocked:
        raise _refused(fixed if fixed is not None else model, blocked)


def _read(path: Path) -> ir.Model:
    """The graph in `path`.

    Raises:
        ToolError: it is no ONNX file that can be checked, or one that makes ONNX crash.
    """
    from workbench.errors import ToolError
    from workbench.graph import io, trial
    from workbench.targets.pulsar2 import lint

    kinds = {".axmodel": "compiled already", ".tflite": "a TFLite file", ".pb": "a TensorFlow graph"}
    kind = kinds.get(path.suffix.lower())
    if kind is not None and path.exists():
        raise ToolError(
            f"it is {kind}: only what Pulsar2 is given can be checked, and that is ONNX",
            where=str(path),
            fix="check the .onnx file it belongs to, e.g. dist/<recipe>/<recipe>.onnx",
        )
    model = io.read(path)
    trial.survive(lambda: lint.lint(model, "AX650"))
    return model


def _writable(path: Path) -> None:
    from workbench.errors import RecipeError

    if path.suffix.lower() != ".onnx":
        raise RecipeError(f"--fix {path.name}: the mended graph is an ONNX file", fix=f"--fix {path.stem}.onnx")


def _write(model: Path, mended: ir.Model | None, out: Path) -> None:
    """Write `mended` to `out`; the bytes of `model` where nothing was to be done."""
    from workbench.graph import io

    if mended is not None:
        io.write(mended, out)
    elif not out.exists() or not out.samefile(model):
        io.write_bytes(model.read_bytes(), out)


def _show(
    model: Path,
    reports: Sequence[Report],
    fixed: Path | None,
    done: Sequence[Remedy],
    after: Sequence[Report],
    *,
    everything: bool,
) -> None:
    from workbench.cli import _findings
    from workbench.cli._display import output

    console = output()
    for report in reports:
        _findings.show(report, _title(model, report), console, everything=everything)
    if fixed is None:
        lines = dict.fromkeys(line for report in reports for line in report.passes)
        if lines:
            _findings.show_lines(tuple(lines), console)
        return
    if not done:
        console.print(f"nothing to mend: {fixed.name} is {model.name}")
        return
    _findings.show_remedies(done, console)
    for report in after:
        _findings.show(report, _title(fixed, report), console, everything=everything)


def _title(path: Path, report: Report) -> str:
    return f"{path.name} for {report.chip} ({report.table}), opset {report.opset}"


def _refused(path: Path, blocked: Sequence[Report]) -> WorkbenchError:
    from workbench.errors import UnsupportedError

    findings = [one for report in blocked for one in report.of("blocked")]
    return UnsupportedError(
        "; ".join(f"{report.chip} does not take {_counted(report.of('blocked'))}" for report in blocked),
        where=str(path),
        fix="; ".join(dict.fromkeys(_CURES.get((one.operator, one.attribute), _CURE) for one in findings)),
    )


def _counted(found: Sequence[Finding]) -> str:
    """The graph's operator set, inputs and nodes of `found`, each told once however much is wrong with it."""
    told = []
    nodes: dict[tuple[str, str], str] = {}
    for one in found:
        if one.operator == "graph":
            told.append(f"operator set {one.found.removeprefix('is ')}")
        elif one.operator == "input":
            told.append(f"input {one.node!r}")
        else:
            nodes[one.node, one.tensor] = one.operator
    if nodes:
        told.append(f"{len(nodes)} node{'s' * (len(nodes) != 1)} ({', '.join(dict.fromkeys(nodes.values()))})")
    return " and ".join(dict.fromkeys(told))


__all__ = ["command"]
