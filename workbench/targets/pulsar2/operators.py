"""The vendor's operator tables as data: which operators a chip takes, and the limits of each, sentence by sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from workbench.errors import ToolError
from workbench.targets.pulsar2 import chips

FOLDER = Path(__file__).resolve().parent / "operators"
Subject = Literal["operator", "attribute", "input"]
_SUBJECTS: tuple[Subject, ...] = ("attribute", "input")
_AROUND = ("when", "source", "because")
UNREADABLE = "unreadable"
_FIX = "compare it with the other tables of that folder, or install Workbench again"


@dataclass(frozen=True)
class Rule:
    """One word of `limits.RULES` and its argument, e.g. ``one_of`` and ``("NOTSET",)``."""

    word: str
    value: Any

    def __str__(self) -> str:
        shown = ", ".join(str(one) for one in self.value) if isinstance(self.value, tuple) else str(self.value)
        return f"{self.word}: {shown}"


@dataclass(frozen=True)
class Limit:
    """One limit of an operator.

    Attributes:
        subject: what is limited; ``operator`` is the node as a whole.
        name: of the attribute or, as ONNX's schema calls it, of the input; empty for the node.
        rule: what must hold. A rule that nobody can interpret is kept, for a person to read.
        when: the rule counts only where these hold, by the name of an attribute or input.
        source: the lines of the vendor's page that say so, word for word.
        because: why the lines are read so, where they leave room.
    """

    subject: Subject
    name: str
    rule: Rule
    when: tuple[tuple[str, Rule], ...]
    source: tuple[str, ...]
    because: str = ""

    @property
    def sentence(self) -> str:
        """The source as one line."""
        return " ".join(self.source)


@dataclass(frozen=True)
class Table:
    """What the vendor's page of one chip says.

    Attributes:
        chip: whose page it is.
        covers: the chips the page says it is for.
        stands_in_for: chips without a page of their own that are checked against this one.
        opset: the oldest operator set.
        spelt: ONNX's name of an operator that the page spells in another way, by the page's name.
        operators: limits by ONNX's name of the operator; an operator that is not in it is not supported.
    """

    chip: str
    covers: tuple[str, ...]
    stands_in_for: tuple[str, ...]
    opset: int
    spelt: Mapping[str, str]
    operators: Mapping[str, tuple[Limit, ...]]

    def about(self, chip: str) -> str:
        """Which table this is for `chip`, as one line of an account."""
        if chip in self.stands_in_for:
            return f"{self.chip}'s table stands in: no table of {chip} is published"
        if chip != self.chip:
            return f"{self.chip}'s table, which covers {chip}"
        return f"{self.chip}'s table"


def table(chip: str) -> Table:
    """The table that counts for `chip`, which may be an alias such as AX630C.

    Raises:
        RecipeError: there is no such chip.
        ToolError: no table counts for it, or its table cannot be read.
    """
    name = chips.find(chip).name
    own = FOLDER / f"{name.lower()}.yaml"
    if own.is_file():
        return read(own)
    for path in sorted(FOLDER.glob("*.yaml")):
        found = read(path)
        if name in (*found.covers, *found.stands_in_for):
            return found
    raise ToolError(f"no operator table counts for {name}", where=str(FOLDER), fix="install Workbench again")


@cache
def read(path: Path) -> Table:
    """The table in the YAML file `path`.

    Raises:
        ToolError: it cannot be read, or is no such table.
    """
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ToolError("the operator table cannot be read", where=str(path), fix=_FIX) from error
    try:
        return _table(data)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ToolError(f"not an operator table: {error}", where=str(path), fix=_FIX) from error


def _table(data: Any) -> Table:
    known = {"chip", "covers", "stands_in_for", "opset", "spelt", "operators"}
    if not isinstance(data, dict) or not known - {"stands_in_for", "spelt"} <= set(data) <= known:
        raise ValueError(f"it must have the keys {', '.join(sorted(known))}")
    if not isinstance(data["opset"], int):
        raise TypeError("opset must be a whole number")
    operators = {}
    for name, entries in data["operators"].items():
        if not isinstance(name, str) or not isinstance(entries, list) or not entries:
            raise ValueError(f"operators.{name} must be a list of limits")
        operators[name] = tuple(_limit(entry, f"operators.{name}[{index}]") for index, entry in enumerate(entries))
    return Table(
        chip=str(data["chip"]),
        covers=tuple(str(one) for one in data["covers"]),
        stands_in_for=tuple(str(one) for one in data.get("stands_in_for", ())),
        opset=data["opset"],
        spelt={str(theirs): str(ours) for theirs, ours in data.get("spelt", {}).items()},
        operators=operators,
    )


def _limit(entry: Any, at: str) -> Limit:
    if not isinstance(entry, dict) or not entry.get("source"):
        raise ValueError(f"{at} must name its source")
    source = entry["source"]
    subjects = [subject for subject in _SUBJECTS if subject in entry]
    words = [word for word in entry if word not in (*_SUBJECTS, *_AROUND)]
    when = entry.get("when", {})
    # What cannot be interpreted is not refused but kept for a person: a limit must never get lost.
    clear = len(subjects) <= 1 and len(words) == 1 and all(isinstance(one, dict) and len(one) == 1 for one in _of(when))
    rule = Rule(words[0], _frozen(entry[words[0]])) if clear else Rule(UNREADABLE, str(sorted(entry)))
    return Limit(
        subject=subjects[0] if subjects else "operator",
        name=str(entry[subjects[0]]) if subjects else "",
        rule=rule,
        when=tuple((str(name), _single(one)) for name, one in when.items()) if clear else (),
        source=tuple(str(line) for line in source) if isinstance(source, list) else (str(source),),
        because=str(entry.get("because", "")),
    )


def _of(when: Any) -> list[Any]:
    return list(when.values()) if isinstance(when, dict) else [None]


def _single(one: Mapping[str, Any]) -> Rule:
    ((word, value),) = one.items()
    return Rule(str(word), _frozen(value))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
