"""Read JSON as Pulsar2 takes it, with // /* */ and # comments, and remember where every key, value and comment stands.

Python's own reader knows neither comments nor lines, and keeps the last of two equal keys without a word.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # no public name, and no other strict reader
from typing import Any, NoReturn

from workbench.errors import RecipeError
from workbench.recipe.yaml_marks import At, Marks

DEEPEST = 40
MOST = 20_000  # values; ten thousand layer names are half of it, and larger constants belong into a file
_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_LONGEST_NUMBER = 40  # characters; Python would turn a million digits into one number, slowly


@dataclass
class Document:
    """What was read: plain data, the place of each key and value, and the comment that ends on each line."""

    data: Any
    marks: Marks
    comments: dict[int, str] = field(default_factory=dict)


def parse(text: str, file: str) -> Document:
    """The one value in `text`.

    Args:
        text: JSON, with comments.
        file: how errors call it.

    Raises:
        RecipeError: it is not JSON, is nested deeper than 40, has more than 20,000 values, or has a key twice in one
            object; with line and column.
    """
    return _Reader(text, file).document()


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._at = 0
        self._file = file
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._found = Document(None, Marks(file))

    def document(self) -> Document:
        self._skip()
        if self._at == len(self._text):
            self._refuse("it is empty", fix="write a BuildConfig, e.g. from workbench pulsar2 config RECIPE")
        self._found.data = self._value(())
        self._skip()
        if self._at != len(self._text):
            self._refuse("something follows the end", fix="remove it, or is a bracket closed too early?")
        return self._found

    def _value(self, path: At) -> Any:
        if len(path) > DEEPEST:
            self._refuse(f"nested deeper than {DEEPEST}", fix="write a BuildConfig")
        if len(self._found.marks.values) >= MOST:
            self._refuse(f"more than {MOST} values", fix="put long constants into a file (data_path)")
        self._found.marks.values[path] = self._place()
        first = self._text[self._at : self._at + 1]
        if first == "{":
            return self._object(path)
        if first == "[":
            return self._array(path)
        if first == '"':
            return self._string()
        return self._plain()

    def _object(self, path: At) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._at += 1
        while not self._closed("}", empty=not found):
            if self._text[self._at : self._at + 1] != '"':
                self._refuse("a key in double quotes is missing", fix='write "key": value')
            place = self._place()
            start = self._at
            key = self._string()
            self._skip()
            if self._text[self._at : self._at + 1] != ":":
                self._refuse(f"no colon after the key {key!r}", fix='write "key": value')
            if key in found:
                first = self._found.marks.keys[(*path, key)]
                self._refuse(f"key {key!r} is written twice (first at {first})", fix="keep one", at=start)
            self._at += 1
            self._skip()
            self._found.marks.keys[(*path, key)] = place
            found[key] = self._value((*path, key))
        return found

    def _array(self, path: At) -> list[Any]:
        found: list[Any] = []
        self._at += 1
        while not self._closed("]", empty=not found):
            found.append(self._value((*path, len(found))))
        return found

    def _closed(self, bracket: str, *, empty: bool) -> bool:
        """Pass the comma before the next entry, or the bracket that ends; whether it ended."""
        self._skip()
        here = self._text[self._at : self._at + 1]
        if here == bracket:
            self._at += 1
            return True
        if not here:
            self._refuse(f"it ends before a {bracket!r}", fix="was the file copied whole?")
        if empty:
            return False
        if here != ",":
            self._refuse(f"a comma or {bracket!r} is missing", fix="write one")
        comma = self._at
        self._at += 1
        self._skip()
        if self._text[self._at : self._at + 1] == bracket:
            self._refuse(f"a comma before {bracket!r}", fix="remove the comma", at=comma)
        return False

    def _string(self) -> str:
        start = self._at
        try:
            text, self._at = scanstring(self._text, self._at + 1, True)
        except JSONDecodeError as error:
            self._refuse(f"not JSON: {error.msg.lower().removesuffix(' at')}", fix="close the quotes", at=error.pos)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            self._refuse(
                "half of a character, \\ud800 to \\udfff", fix="write both halves, or the character itself", at=start
            )
        return str(text)

    def _plain(self) -> Any:
        number = _NUMBER.match(self._text, self._at)
        if number:
            if len(number[0]) > _LONGEST_NUMBER:
                self._refuse("a number of too many digits", fix="write fewer")
            self._at = number.end()
            return float(number[0]) if number[1] or number[2] else int(number[0])
        word = _WORD.match(self._text, self._at)
        if word and word[0] in _WORDS:
            self._at = word.end()
            return _WORDS[word[0]]
        if word:
            return self._refuse(f"{word[0][:40]!r} is no value", fix=f'text stands in double quotes: "{word[0][:40]}"')
        return self._refuse(
            "a value is missing", fix="write a number, true, false, text in double quotes, [...] or {...}"
        )

    def _skip(self) -> None:
        """Pass blanks and comments; the comments are kept by the line they begin on."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            self._at = blank.end() if blank else self._at
            two = self._text[self._at : self._at + 2]
            if two == "/*":
                end = self._text.find("*/", self._at + 2)
                if end < 0:
                    self._refuse("a comment is not closed", fix="write */ behind it")
                self._keep(self._text[self._at + 2 : end])
                self._at = end + 2
            elif two == "//" or two[:1] == "#":
                end = self._text.find("\n", self._at)
                end = len(self._text) if end < 0 else end
                self._keep(self._text[self._at + (2 if two == "//" else 1) : end])
                self._at = end
            else:
                return

    def _keep(self, comment: str) -> None:
        self._found.comments[self._line(self._at)] = comment.strip()

    def _line(self, at: int) -> int:
        return bisect_right(self._starts, at)

    def _place(self, at: int | None = None) -> str:
        at = self._at if at is None else at
        line = self._line(at)
        return f"{self._file}:{line}:{at - self._starts[line - 1] + 1}"

    def _refuse(self, what: str, *, fix: str, at: int | None = None) -> NoReturn:
        what = what if what.startswith(("key ", "not JSON")) else f"not JSON: {what}"
        raise RecipeError(what, where=self._place(at), fix=fix)
