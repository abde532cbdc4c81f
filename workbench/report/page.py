"""Render the dossier of a run as one self-contained HTML page: nothing is loaded, every value is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.recipe.schema import InputSpec
from workbench.report.calibration import Summary
from workbench.report.charts import Chart, along
from workbench.report.poses import Gallery
from workbench.report.snippets import Snippet

_MOST_LINES = 300  # of one list or table; the rest is counted


@dataclass(frozen=True)
class Dossier:
    """What the page shows; its numbers are also in ``parity.json``, ``manifest.json`` and ``report.json``.

    Attributes:
        parity: the content of ``parity.json``.
        files: (path, bytes, sha256) of every file made.
        skipped: (path, reason, fix) of every file that was not.
        surgery: per pass what changed and what was left alone.
        simplify: the content of ``simplify.json``.
        chips: by chip, the content of its ``vendor.json``: what its compiler said beside our emulation.
        checks: by chip, the content of its ``check.json``: every node against the chip's operator table.
        source: where the network comes from.
        weights: what the manifest says of the weights.
        tools: version by tool.
        inputs: how a picture becomes each input.
        gallery: pictures with joints.
        bake: the content of ``bake.json``; empty without one.
        layers: tensor, operator, per_layer and end_to_end cosine, in graph order.
        layers_left_out: why there are none.
        calibration: the calibration pictures at a glance.
        configs: (chip, lines of its compiler's configuration, each with where it comes from).
        snippets: how to run the artifacts.
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
    source: str = ""
    weights: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[InputSpec] = ()
    gallery: Gallery = field(default_factory=Gallery)
    bake: Mapping[str, Any] = field(default_factory=dict)
    layers: Sequence[Mapping[str, Any]] = ()
    layers_left_out: str = ""
    calibration: Summary | None = None
    configs: Sequence[tuple[str, Sequence[tuple[str, str]]]] = ()
    snippets: Sequence[Snippet] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the results must not be shipped; empty when they may."""
        missed = () if self.parity["passed"] else ("a parity limit was missed",)
        return (*((self.not_deployable,) if self.not_deployable else ()), *missed)

    @property
    def judged(self) -> Mapping[str, Mapping[str, Any]]:
        """What parity says of each file."""
        return {entry["artifact"]: entry for entry in self.parity["artifacts"]}

    @property
    def layer_chart(self) -> Chart | None:
        """Error of the emulation along the network: 1 - cosine."""
        return along(
            [row["tensor"] for row in self.layers],
            [
                (kind, name, [max(0.0, 1 - row[key]) for row in self.layers])
                for kind, name, key in (
                    ("alone", "layer alone", "per_layer"),
                    ("through", "end to end", "end_to_end"),
                )
            ],
        )

    @property
    def equalized(self) -> Sequence[Mapping[str, Any]]:
        """The tensors whose range was changed; each with ``before`` and ``after``."""
        changed: Sequence[Mapping[str, Any]] = (self.bake.get("equalized") or {}).get("changed", ())
        return changed

    @property
    def range_chart(self) -> Chart | None:
        """Width of every changed range along the network."""
        return along(
            [row["tensor"] for row in self.equalized],
            [
                (kind, name, [row[key]["high"] - row[key]["low"] for row in self.equalized])
                for kind, name, key in (("before", "before", "before"), ("after", "after", "after"))
            ],
        )


def render(dossier: Dossier) -> str:
    """The page as text; the same dossier gives the same text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("workbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"bytes": human_bytes, "number": number, "cosine": cosine, "column": lambda name: (name, "")}
    style, script = (environment.get_template(name).render() for name in ("style.css.j2", "page.js.j2"))
    template = environment.get_template("report.html.j2")
    return template.render(run=dossier, most=_MOST_LINES, policy=_policy(style, script)) + "\n"


def human_bytes(size: int) -> str:
    """``16.3 MB`` for 16300000."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"


def number(value: Any) -> str:
    """A measurement in four digits; what is no number (``nan``, ``inf``) as it is, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def cosine(value: Any) -> str:
    """A cosine in six decimals, of which the last say something where the first are nines."""
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, int | float) else str(value)


def _policy(style: str, script: str) -> str:
    """The content-security policy: this style and this script, pictures inside the page, and nothing else."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; style-src {hashes[0]}; script-src {hashes[1]}; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
