"""Read a BuildConfig from a file as people write it: JSON with comments, YAML, TOML or protobuf text."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import RecipeError, ToolError
from workbench.recipe import yaml_marks
from workbench.recipe.yaml_marks import At, Marks
from workbench.targets.pulsar2 import jsonc, schema, toml_marks

NOUN = "BuildConfig"
LARGEST = 4_000_000  # bytes; a list of ten thousand layer names is a tenth of it
SUFFIXES = {
    ".json": "json",
    ".jsonc": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".prototxt": "prototxt",
    ".pbtxt": "prototxt",
}


def read(path: Path, given: Mapping[str, str] | None = None) -> tuple[schema.BuildConfig, Marks]:
    """The configuration in `path`, whose suffix says how it is written, and the place of each of its values.

    Args:
        path: the file.
        given: what the tool will be told on its command line, by field, where the file does not say it: examples of
            the vendor have neither input nor output_dir.

    Raises:
        ToolError: there is no such file, or it cannot be read.
        RecipeError: it is too large, not text, or not what its suffix says; with line and column.
        RecipeErrors: every unknown field, wrong type, bad value and key that is written twice.
    """
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        what = f"{path.suffix or 'no suffix'} says not how the configuration is written"
        raise RecipeError(what, where=str(path), fix=f"name it {', '.join(SUFFIXES)}")
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ToolError("cannot read the configuration: not a file", where=str(path), fix="check the path")
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        what = f"cannot read the configuration: {error.strerror}"
        raise ToolError(what, where=str(path), fix="check the path and its permissions") from error
    if len(raw) > LARGEST:
        what = f"more than {LARGEST} bytes are too many for a {NOUN}"
        raise RecipeError(what, where=str(path), fix=f"is it a {NOUN}?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"not UTF-8 text (byte {error.start})"
        raise RecipeError(what, where=str(path), fix="save it as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise RecipeError("not text: it holds a zero byte", where=f"{path}:{line}", fix=f"is it a {NOUN}?")
    return parse(text, str(path), form, given)


def parse(
    text: str, file: str, form: str = "json", given: Mapping[str, str] | None = None
) -> tuple[schema.BuildConfig, Marks]:
    """As `read`, on text in one of the forms json, yaml, toml and prototxt."""
    data, marks = plain(text, file, form)
    if not isinstance(data, dict):
        raise RecipeError(f"a {NOUN} is an object", where=f"{file}:1:1", fix='write {"input": ..., ...}')
    return schema.validate({**(given or {}), **data}, marks), marks


def plain(text: str, file: str, form: str = "json") -> tuple[Any, Marks]:
    """`text` as plain data that JSON could hold, before it is held against the schema, and its places.

    Raises:
        RecipeError: it is not what `form` says.
        RecipeErrors: keys that are written twice, in YAML.
    """
    if form == "json":
        document = jsonc.parse(text, file)
        return document.data, document.marks
    if form == "yaml":
        return yaml_marks.parse(text, file, NOUN)
    if form == "toml":
        return _toml(text, file)
    from workbench.targets.pulsar2 import prototxt

    data = prototxt.parse(text, file)
    _check_count(data, file)
    return data, Marks(file)


def _check_count(value: Any, file: str) -> None:
    """Refuse more values than any configuration has; the readers of JSON and YAML count for themselves."""
    waiting, count = [value], 0
    while waiting:
        one = waiting.pop()
        count += 1
        if count > jsonc.MOST:
            what = f"more than {jsonc.MOST} values are too many for a {NOUN}"
            raise RecipeError(what, where=file, fix="put long constants into a file (data_path)")
        waiting.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())


def _toml(text: str, file: str) -> tuple[dict[str, Any], Marks]:
    try:
        data = tomllib.loads(text)
        _check_count(data, file)
        _check(data, ())
    except tomllib.TOMLDecodeError as error:
        told = re.match(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        what = (told[1] if told else str(error)).rstrip(".")
        where = f"{file}:{told[2]}:{told[3]}" if told and told[2] else file
        raise RecipeError(f"not TOML: {what[:1].lower()}{what[1:]}", where=where, fix="mend it there") from error
    except _OddError as error:
        at = error.at
        raise RecipeError(error.what, where=toml_marks.places(text, file, data).where(at), fix=error.fix) from error
    except ValueError as error:  # an integer of thousands of digits
        raise RecipeError("not TOML: a number of too many digits", where=file, fix="write fewer") from error
    except RecursionError as error:
        raise RecipeError(f"too deeply nested for a {NOUN}", where=file, fix=f"is it a {NOUN}?") from error
    return data, toml_marks.places(text, file, data)


class _OddError(Exception):
    def __init__(self, at: At, what: str, fix: str) -> None:
        super().__init__(what)
        self.at, self.what, self.fix = at, what, fix


def _check(value: Any, at: At) -> None:
    """What TOML can hold and JSON cannot."""
    if len(at) > jsonc.DEEPEST:
        raise _OddError(at[:1], f"too deeply nested for a {NOUN}", f"is it a {NOUN}?")
    if isinstance(value, int) and abs(value) >= 2**64:
        raise _OddError(at, "a number of too many digits", "write fewer")  # Python does not even print all of them
    if isinstance(value, datetime.date | datetime.time):
        raise _OddError(at, "a date or time is no value of a configuration", "put it in quotes if it is text")
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        _check(inner, (*at, key))
