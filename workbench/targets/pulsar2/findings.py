"""What a check found: one entry a limit that a node breaks, and the account of a whole graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Verdict = Literal["ok", "rewrite", "blocked", "by hand"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that stands between a graph and a chip.

    Attributes:
        node: its name, or that of the tensor it makes; empty for the graph as a whole.
        operator: as ONNX calls it; ``input`` and ``graph`` for what is no node.
        tensor: the first tensor the node makes, by which it is found again after a pass.
        attribute: what is limited: an attribute, an input, ``operator``, ``shape``, ``type``.
        found: what the graph has, e.g. ``is SAME_UPPER``.
        limit: what the chip takes, in the vendor's words where they are a sentence of its table.
        verdict: ``blocked`` fails the build, ``rewrite`` would, but a pass mends it, ``by hand`` a person must judge.
        passes: the lines of a recipe's surgery that mend it.
    """

    node: str
    operator: str
    tensor: str
    attribute: str
    found: str
    limit: str
    verdict: Verdict
    passes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What stays the same when passes rename nodes: tensors keep their names."""
        return self.tensor, self.operator, self.attribute

    def mended(self, lines: Sequence[str]) -> Finding:
        """The same finding with the passes that mend it."""
        return replace(self, verdict="rewrite", passes=tuple(lines))

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {
            "node": self.node,
            "operator": self.operator,
            "attribute": self.attribute,
            "found": self.found,
            "limit": self.limit,
            "verdict": self.verdict,
            "passes": list(self.passes),
        }


@dataclass(frozen=True)
class Report:
    """The check of one graph against one chip.

    Attributes:
        chip: as Pulsar2 spells it.
        table: which operator table counted.
        opset: the graph's operator set.
        findings: in graph order.
        fine: node and operator of every node without a finding, in graph order.
        notes: what is worth knowing and forbids nothing.
    """

    chip: str
    table: str
    opset: int
    findings: tuple[Finding, ...]
    fine: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def of(self, verdict: Verdict) -> tuple[Finding, ...]:
        """The findings with this verdict."""
        return tuple(one for one in self.findings if one.verdict == verdict)

    @property
    def passes(self) -> tuple[str, ...]:
        """The surgery lines of all findings that can be mended, each once, in the order they are to run."""
        return tuple(dict.fromkeys(line for one in self.findings for line in one.passes))

    @property
    def operators(self) -> dict[str, int]:
        """How many nodes of each operator have no finding, by name."""
        return dict(sorted(Counter(operator for _, operator in self.fine).items()))

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        verdicts = Counter(one.verdict for one in self.findings)
        return {
            "chip": self.chip,
            "table": self.table,
            "opset": self.opset,
            "blocked": verdicts["blocked"],
            "rewrite": verdicts["rewrite"],
            "by_hand": verdicts["by hand"],
            "ok": len(self.fine),
            "ok_operators": self.operators,
            "findings": [one.to_json() for one in self.findings],
            "notes": list(self.notes),
        }
