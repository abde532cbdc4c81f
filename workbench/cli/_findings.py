"""Findings of a check as a table, or stacked where a terminal is narrow: equal ones share a row, fine nodes a line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from workbench.cli._display import table
from workbench.targets.pulsar2.findings import Finding, Report
from workbench.targets.pulsar2.remedies import Remedy

_COLUMNS = ("node", "operator", "attribute", "limit", "verdict", "pass")
_COLORS = {"ok": "green", "rewrite": "yellow", "blocked": "bold red", "by hand": "cyan"}
_MOST = 5  # lines of what one pass did
_WIDE = 110  # columns that the table needs; below, the sentences of the vendor would break into single words


def show(report: Report, title: str, console: Console, *, everything: bool = False) -> None:
    """Print `report`: findings, then how many nodes are fine; with `everything`, each of these, too."""
    rows = [_row(same) for same in _grouped(report.findings)]
    if everything:
        rows += [(_plain(node), _plain(operator), "", "", _verdict("ok"), "") for node, operator in report.fine]
    if rows and console.width >= _WIDE:
        console.print(table(_plain(title), [(heading, "left") for heading in _COLUMNS], rows))
    else:
        console.print(f"[bold]{_plain(title)}[/]")
        for row in rows:
            _stack(row, console)
    count = f"{len(report.fine)} node{'s' * (len(report.fine) != 1)}"
    listed = ", ".join(f"{times} {operator}" for operator, times in report.operators.items())
    console.print(f"{_verdict('ok')}: {count}{f' ({_plain(listed)})' if listed else ''}")
    for note in report.notes:
        console.print(f"note: {_plain(note)}")


def show_lines(lines: Sequence[str], console: Console) -> None:
    """Print surgery lines as a recipe has them."""
    console.print("surgery:")
    for line in lines:
        console.print(f"  {_plain(line)}", soft_wrap=True)  # to be copied


def show_remedies(remedies: Sequence[Remedy], console: Console) -> None:
    """Print what passes did and what they left alone."""
    for remedy in remedies:
        console.print(f"[bold]{_plain(remedy.line)}[/]", soft_wrap=True)
        for lead, lines in (("", remedy.edits.changed), ("left alone: ", remedy.edits.left)):
            for line in lines[:_MOST]:
                console.print(f"    {lead}{_plain(line)}")
            if len(lines) > _MOST:
                console.print(f"    {lead}and {len(lines) - _MOST} more")


def _grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings that say the same of different nodes, in the order of the first."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for one in findings:
        key = (one.operator, one.attribute, _about(one), one.limit, one.verdict, one.passes)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _about(one: Finding) -> str:
    """What is found, without the names that differ from node to node."""
    return one.found if one.attribute not in ("shape", "type") else one.attribute


def _row(same: Sequence[Finding]) -> tuple[str, ...]:
    first = same[0]
    more = f" and {len(same) - 1} more" if len(same) > 1 else ""
    passes = ", ".join(line.removeprefix("- ").partition(":")[0] for line in first.passes)
    return (
        _plain(first.node or "-") + more,
        _plain(first.operator),
        _plain(f"{first.attribute} {first.found}".removeprefix("operator ")),
        _plain(first.limit),
        _verdict(first.verdict),
        _plain(passes or "-"),
    )


def _stack(row: Sequence[str], console: Console) -> None:
    """The cells of a row under each other."""
    node, operator, attribute, limit, verdict, passes = row
    console.print(f"{verdict}  {operator}  {node}")
    for cell in (attribute, limit, f"pass: {passes}" if passes not in ("", "-") else ""):
        if cell:
            console.print(Padding(cell, (0, 0, 0, 4)))


def _verdict(verdict: str) -> str:
    return f"[{_COLORS[verdict]}]{verdict}[/]"


def _plain(text: str) -> str:
    """Text of a file for the terminal: no markup, and no character that moves the cursor."""
    return escape("".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text))
