"""Whether a graph fits every chip, for rewrites that are meant for all of them."""

from __future__ import annotations

import onnx_ir as ir

from workbench.targets.pulsar2.lint import lint

TABLES = ("AX650", "AX620E", "AX615", "AX637", "M57")


def blocked(model: ir.Model, *chips: str) -> list[str]:
    """What the operator tables of these chips, of all when none is named, forbid in `model`."""
    return [
        f"{chip}: {one.operator} {one.attribute} {one.found}"
        for chip in chips or TABLES
        for one in lint(model, chip).of("blocked")
    ]
