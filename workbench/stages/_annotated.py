"""The configuration that a chip's compiler is given, line by line with the place in the recipe behind each value."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from workbench.recipe.schema import InputSpec
from workbench.recipe.yaml_marks import At, Marks
from workbench.targets.pulsar2 import provenance, render
from workbench.targets.pulsar2.options import Options

_NOTE = "// "


def annotated(
    folder: Path,
    chip: str,
    inputs: Sequence[InputSpec],
    options: Options,
    u16: Sequence[str],
    marks: Marks,
    asked: Sequence[str],
    changed: Collection[At],
) -> list[tuple[str, str]]:
    """(line of JSON, where its value comes from) of ``config.json`` in `folder`, as the target wrote it.

    It is rendered once more to learn the origins; should that be another text, which a newer rule may cause, the file
    is shown as it is, without.

    Args:
        folder: what the target wrote.
        chip: as the recipe names it.
        inputs: after surgery.
        options: the target's.
        u16: the tensors at 16 bits.
        marks: of the recipe.
        asked: the tensors that the recipe names.
        changed: paths in the recipe whose value the surgery replaced.
    """
    written = (folder / render.folder(chip) / render.CONFIG).read_text("utf-8")
    made = render.of_file(chip, inputs, options, folder / render.MODEL, u16)
    if made.data != json.loads(written):
        return [(line, "") for line in written.splitlines()]
    text = provenance.annotated(made.data, made.origins, marks, changed, asked)
    return [_split(line) for line in text.splitlines()]


def _split(line: str) -> tuple[str, str]:
    """A line and its comment; every line that holds a value has one."""
    code, _, note = line.rpartition(_NOTE)
    return (code.rstrip(), note) if code else (line, "")
