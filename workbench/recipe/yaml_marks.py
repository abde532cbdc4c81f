"""Read YAML into plain data and remember the line and column of every key and value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from workbench.errors import RecipeError, RecipeErrors

At = tuple[str | int, ...]
_LARGEST_FILE = 1_000_000
_MOST_VALUES = 20_000  # an alias that points to aliases can stand for billions of values
_DEEPEST = 40
_TAG = "tag:yaml.org,2002:"
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")
_TEXT = f"{_TAG}str"
_SCALARS = (*_NUMBERS, _TEXT, f"{_TAG}bool", f"{_TAG}null")
_LONGEST_NUMBER = 32
_HALF = "half of a character, \\ud800 to \\udfff"


class _Loader(yaml.SafeLoader):
    """The safe loader, where ``1e-4`` is the number it looks like (YAML 1.1 wants ``1.0e-4``) and a date is text."""


_Loader.yaml_implicit_resolvers = {
    key: [rule for rule in rules if rule[0] != f"{_TAG}timestamp"]
    for key, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


@dataclass
class Marks:
    """Where each key and value of a document stands: ``file:line:col``, counted from 1."""

    file: str
    values: dict[At, str] = field(default_factory=dict)
    keys: dict[At, str] = field(default_factory=dict)

    def where(self, at: At, *, key: bool = False) -> str:
        """The place of the value (or its key) at `at`, or of the nearest thing around it that is written down."""
        first, second = (self.keys, self.values) if key else (self.values, self.keys)
        for end in range(len(at), -1, -1):
            for places in (first, second):
                if at[:end] in places:
                    return places[at[:end]]
        return self.file

    def knows(self, at: At) -> bool:
        """Whether `at` is written down."""
        return at in self.values or at in self.keys

    def override(self, at: At, where: str) -> None:
        """From now on `at` and all below it were written at `where`."""
        for places in (self.values, self.keys):
            for known in [known for known in places if known[: len(at)] == at]:
                del places[known]
        self.values[at] = self.keys[at] = where


def read(path: Path) -> tuple[dict[str, Any], Marks]:
    """The mapping in `path` and its marks.

    Raises:
        RecipeError: no such file, not a file, not UTF-8, not YAML, empty, not a mapping, too large.
        RecipeErrors: keys that are written twice.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise RecipeError("cannot read the recipe: not a file", where=str(path), fix="recipes are .yaml files")
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise RecipeError(
            f"cannot read the recipe: {error.strerror}", where=str(path), fix="check the path; recipes are .yaml files"
        ) from error
    if len(raw) > _LARGEST_FILE:
        what = f"more than {_LARGEST_FILE} bytes are too many for a recipe"
        raise RecipeError(what, where=str(path), fix="is it a recipe?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"not UTF-8 text (byte {error.start})", where=str(path), fix="is it a recipe?") from error
    return parse(text, str(path))


def parse(text: str, file: str, noun: str = "recipe") -> tuple[dict[str, Any], Marks]:
    """As `read`, on text; errors call what it should be a `noun`."""
    example = "start from one of recipes/*.yaml" if noun == "recipe" else f"write a {noun}"
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        raise RecipeError(
            f"not YAML: {error.problem or error.context}", where=where, fix="check indentation, colons and quotes there"
        ) from error
    except RecursionError as error:
        raise RecipeError(f"too deeply nested for a {noun}", where=file, fix=f"is it a {noun}?") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"not YAML: {error}", where=file, fix=f"is it a {noun}?") from error
    if node is None:
        raise RecipeError(f"the {noun} is empty", where=file, fix=example)
    if not isinstance(node, MappingNode):
        raise RecipeError(f"a {noun} is a mapping of keys", where=f"{file}:1:1", fix=example)
    builder = _Builder(Marks(file), noun)
    data = builder.build(node, ())
    if builder.errors:
        raise RecipeErrors(builder.errors)
    return data, builder.marks


def value(text: str) -> Any:
    """One YAML value from the command line.

    Raises:
        RecipeError: it is not YAML, or not what a recipe may hold.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(
            f"not a YAML value: {text!r}", fix="quote it for the shell, e.g. --set 'a.b=[1, 2]'"
        ) from error
    except RecursionError as error:
        raise RecipeError("too deeply nested for a recipe", fix="write a plain value") from error
    if node is None:
        return None
    builder = _Builder(Marks("VALUE"))
    found = builder.build(node, ())
    if builder.errors:
        raise builder.errors[0]
    return found


def _half_of_a_character(text: str) -> bool:
    """Whether an escape made what no file can hold as UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


class _Builder:
    """Turns YAML nodes into data, noting marks and duplicate keys on the way."""

    def __init__(self, marks: Marks, noun: str = "recipe") -> None:
        self.marks = marks
        self._noun = noun
        self.errors: list[RecipeError] = []
        self._scalars = _Loader("")
        self._count = 0

    def build(self, node: Node, at: At) -> Any:
        self._count += 1
        place = f"{self.marks.file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
        if self._count > _MOST_VALUES or len(at) > _DEEPEST:
            what = f"too many or too deeply nested values for a {self._noun}"
            raise RecipeError(what, where=place, fix=f"is it a {self._noun}?")
        self.marks.values[at] = place
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.build(item, (*at, index)) for index, item in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, at)
        if isinstance(node, ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node, place)
        shown = node.tag.replace(_TAG, "!!")
        self.errors.append(
            RecipeError(f"the tag {shown} is not for {self._noun}s", where=place, fix="write a plain value")
        )
        return None

    def _scalar(self, node: Node, place: str) -> Any:
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            return node.value  # a hash made of digits, or of digits and one e, is no number
        if _half_of_a_character(node.value):
            self.errors.append(RecipeError(_HALF, where=place, fix="write both halves, or the character itself"))
            return None
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self.errors.append(
                RecipeError(f"cannot read the value {node.value!r}", where=place, fix="write a plain number or text")
            )
            return None

    def _mapping(self, node: MappingNode, at: At) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, str] = {}
        for key_node, value_node in node.value:
            place = f"{self.marks.file}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
            if key_node.tag != _TEXT or not isinstance(key_node, ScalarNode):
                plain = isinstance(key_node, ScalarNode)
                what = f"a key must be text, not {key_node.value}" if plain else "a key must be text"
                fix = "put it in quotes" if plain else "write key: value"
                self.errors.append(RecipeError(what, where=place, fix=fix))
                continue
            key: str = key_node.value
            if _half_of_a_character(key):
                self.errors.append(RecipeError(_HALF, where=place, fix="write both halves, or the character itself"))
                continue
            if key in found:
                self.errors.append(
                    RecipeError(f"key {key!r} is written twice (first at {first[key]})", where=place, fix="keep one")
                )
                continue
            first[key] = place
            self.marks.keys[(*at, key)] = place
            found[key] = self.build(value_node, (*at, key))
        return found
