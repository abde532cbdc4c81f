"""Find the line of each key of a TOML file: Python's reader gives the data and no places."""

from __future__ import annotations

import re
from typing import Any

from workbench.recipe.yaml_marks import At, Marks

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=[ \t]*")


def places(text: str, file: str, data: dict[str, Any]) -> Marks:
    """The place of every table and every key that begins a line; others have the place of what is around them.

    A line inside a text of several lines that looks like a key is taken for one only where `data` has such a key.
    """
    marks = Marks(file, values={(): f"{file}:1:1"})
    table: At = ()
    counts: dict[At, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            names = _names(header[2])
            if header[1] == "[[":
                outer = _entered(names[:-1], counts)
                counts[(*outer, names[-1])] = counts.get((*outer, names[-1]), -1) + 1
            table = _entered(names, counts)
            _note(
                marks, data, table, f"{file}:{number}:{header.start(1) + 1}", f"{file}:{number}:{header.start(2) + 1}"
            )
        elif key := _KEY.match(line):
            at = (*table, *_names(key[1]))
            _note(marks, data, at, f"{file}:{number}:{key.end() + 1}", f"{file}:{number}:{key.start(1) + 1}")
    return marks


def _names(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, dotted)]


def _entered(names: list[str], counts: dict[At, int]) -> At:
    """The path of a table: a list of tables is entered at its last entry."""
    at: At = ()
    for name in names:
        at = (*at, name)
        if at in counts:
            at = (*at, counts[at])
    return at


def _note(marks: Marks, data: Any, at: At, value: str, key: str) -> None:
    """Note the place of `at`, and of the tables that it makes on its way where no line of their own did."""
    for step in at:
        there = range(len(data)) if isinstance(data, list) else data if isinstance(data, dict) else ()
        if step not in there:
            return
        data = data[step]
    for end in range(1, len(at) + 1):
        marks.values.setdefault(at[:end], value if end == len(at) else key)
        marks.keys.setdefault(at[:end], key)
