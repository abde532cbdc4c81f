"""Where each field of a rendered BuildConfig comes from: a path in the recipe, or a decision of the workbench.

The templates say it in the comment of each line; `of` reads that, `annotated` writes it with the recipe's lines, and
`blamed` turns what a rule found in the configuration into an error of the recipe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import RecipeError, RecipeErrors
from workbench.recipe.complaints import dotted
from workbench.recipe.yaml_marks import At, Marks
from workbench.targets.pulsar2.jsonc import Document
from workbench.targets.pulsar2.rules_finding import Finding

OURS = "workbench"
_PATH = re.compile(r"([A-Za-z_]\w*(?:\[\d+\]|\.[A-Za-z_][\w-]*)*)(?:: (.*))?")
_WIDEST = 100  # columns that a value may take before its comment goes above it


@dataclass(frozen=True)
class Origin:
    """What a field comes from: the path in the recipe (None: the workbench itself) and a word on why."""

    at: At | None
    note: str = ""


Origins = Mapping[At, Origin]


def of(document: Document) -> Origins:
    """The origin of every value of a rendered template, by its path.

    Raises:
        ValueError: a plain value has none; a mistake in a template.
    """
    found: dict[At, Origin] = {}
    for at, place in sorted(document.marks.values.items(), key=lambda entry: len(entry[0])):
        line = int(place.rsplit(":", 2)[1])
        comment = document.comments.get(line)
        if comment is not None and _ends_there(document, at):
            found[at] = _read(comment)
        elif at[:-1] in found and at:
            found[at] = found[at[:-1]]
        elif not isinstance(_value(document.data, at), dict | list):
            raise ValueError(f"{dotted(at)}: no comment says where it comes from")
    return found


def blamed(findings: Sequence[Finding], origins: Origins, file: str) -> RecipeErrors:
    """Findings as errors of the recipe; those that nothing in it caused are errors of `file`."""
    errors: dict[tuple[At | None, str], RecipeError] = {}
    for finding in findings:
        origin = _nearest(origins, finding.at)
        here = dotted(finding.at)
        if origin.at is None:
            error = RecipeError(f"{here}: {finding.what}", where=file, fix=finding.fix)
        else:
            what = f"{dotted(origin.at)}: {finding.what} ({file.rsplit('/', 1)[-1]}: {here})"
            error = RecipeError(what, at=origin.at, fix=finding.fix)
        errors.setdefault((origin.at, finding.what), error)
    return RecipeErrors(list(errors.values()))


def annotated(data: Any, origins: Origins, marks: Marks, changed: Collection[At] = (), u16: Sequence[str] = ()) -> str:
    """`data` as JSON with a comment on every line that holds a value: ``file:line:col path``.

    Args:
        data: the configuration.
        origins: of its values.
        marks: of the recipe.
        changed: paths in the recipe whose value the surgery replaced.
        u16: the tensors that the recipe names, to say which of them a layer is for.
    """
    lines: list[tuple[str, str]] = []

    def write(value: Any, at: At, indent: str, head: str, tail: str) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        brackets = "{}" if isinstance(value, dict) else "[]"
        if not items or (isinstance(value, list) and _is_short(value)):
            lines.append((f"{indent}{head}{json.dumps(value, ensure_ascii=False)}{tail}", _told(at)))
            return
        lines.append((f"{indent}{head}{brackets[0]}", ""))
        for place, (key, inner) in enumerate(items):
            named = f"{json.dumps(key, ensure_ascii=False)}: " if isinstance(value, dict) else ""
            comma = "," if place < len(value) - 1 else ""
            write(inner, (*at, key), indent + "  ", named, comma)
        lines.append((f"{indent}{brackets[1]}{tail}", ""))

    def _told(at: At) -> str:
        return _said(_entry(_nearest(origins, at), u16), marks, changed)

    write(data, (), "", "", "")
    column = 2 + max(len(text) for text, note in lines if note and len(text) <= _WIDEST)
    return "".join(f"{text:<{column if note else 0}}{f'// {note}' if note else ''}\n" for text, note in lines)


def _entry(origin: Origin, u16: Sequence[str]) -> Origin:
    """`origin`, at the one entry of quantization.u16 that its note speaks of."""
    _, _, tensor = origin.note.partition(" ")
    if origin.at == ("quantization", "u16") and tensor in u16:
        return Origin((*origin.at, u16.index(tensor)), origin.note)
    return origin


def _said(origin: Origin, marks: Marks, changed: Collection[At]) -> str:
    if origin.at is None:
        return f"{OURS}: {origin.note}"
    default = "" if marks.knows(origin.at) else " (default)"
    surgery = ", changed by surgery" if origin.at in changed else ""
    note = f": {origin.note}" if origin.note else ""
    where = "" if default else marks.where(origin.at)
    if where.startswith("--set "):
        return f"{where}{surgery}{note}"
    return f"{where} {dotted(origin.at)}{default}{surgery}{note}".lstrip()


def _read(comment: str) -> Origin:
    if comment.startswith(f"{OURS}: "):
        return Origin(None, comment.removeprefix(f"{OURS}: "))
    found = _PATH.fullmatch(comment)
    if found is None:
        raise ValueError(f"no path in a recipe: {comment!r}")
    steps = re.findall(r"\[(\d+)\]|([A-Za-z_][\w-]*)", found[1])
    return Origin(tuple(int(index) if index else name for index, name in steps), found[2] or "")


def _ends_there(document: Document, at: At) -> bool:
    """Whether a comment on the line where the value begins is about it, not about something inside it."""
    value = _value(document.data, at)
    if not isinstance(value, dict | list) or not value:
        return True
    begin = document.marks.values[at].rsplit(":", 2)[1]
    first = next(iter(value.keys() if isinstance(value, dict) else range(len(value))))
    inside = document.marks.values[(*at, first)].rsplit(":", 2)[1]
    return begin != inside or isinstance(value, list)


def _nearest(origins: Origins, at: At) -> Origin:
    for end in range(len(at), -1, -1):
        if at[:end] in origins:
            return origins[at[:end]]
    return Origin(None, "it is made of several things")


def _value(data: Any, at: At) -> Any:
    for step in at:
        data = data[step]
    return data


def _is_short(values: list[Any]) -> bool:
    return len(json.dumps(values)) <= 60 and not any(isinstance(value, dict | list | str) for value in values)
