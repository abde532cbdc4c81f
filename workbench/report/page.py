"""Render the dossier of a run as one self-contained HTML page: no network, no script, every value escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Dossier:
    """What the page shows; all of it is also in ``parity.json`` and ``manifest.json``.

    Attributes:
        parity: the content of ``parity.json``.
        files: (path, bytes, sha256) of every file made.
        skipped: (path, reason, fix) of every file that was not.
        surgery: per pass what changed and what was left alone.
        simplify: the content of ``simplify.json``.
        chips: by chip, the content of its ``vendor.json``: what its compiler said beside our emulation.
        checks: by chip, the content of its ``check.json``: every node against the chip's operator table.
    """

    recipe: str
    about: str
    not_deployable: str
    parity: Mapping[str, Any]
    files: Sequence[tuple[str, int, str]]
    skipped: Sequence[tuple[str, str, str]]
    surgery: Sequence[Mapping[str, Any]]
    simplify: Mapping[str, Any]
    chips: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def render(dossier: Dossier) -> str:
    """The page as text; the same dossier gives the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("workbench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["bytes"] = human_bytes
    return environment.get_template("report.html.j2").render(run=dossier) + "\n"


def human_bytes(size: int) -> str:
    """``16.3 MB`` for 16300000."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
