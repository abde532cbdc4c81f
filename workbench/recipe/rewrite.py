"""Put settings under the `quantization` key of a recipe's text, and leave every other byte as it is.

A recipe is written by people: their order, comments and style stay. So nothing is parsed and dumped again; the section
is cut out by its position and written anew, and the result must load as the recipe that was meant before it is kept.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.nodes import CollectionNode, MappingNode, Node

from workbench.errors import RecipeError, ToolError
from workbench.recipe import yaml_marks
from workbench.recipe.load import load
from workbench.recipe.schema import Limits, Quantization, Recipe

KEY = "quantization"
WIDTH = 100  # a list that does not fit gets a line for each entry
_BEFORE = ("calibration", "surgery", "joints", "outputs", "inputs")  # what a new section is put behind, best first
_PLAIN = re.compile(r"[A-Za-z_/.](?:[A-Za-z0-9_./\- ]*[A-Za-z0-9_./\-])?")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*", re.MULTILINE)
_ODD_ENDS = re.compile(r"\r(?!\n)|[\x85\u2028\u2029]")  # line ends for YAML, but not for what counts lines here


@dataclass(frozen=True)
class Rewritten:
    """A recipe's new text, and the comments that stood in the section and are gone."""

    text: str
    lost: tuple[str, ...] = ()


def lines(settings: Mapping[str, Any], note: str = "") -> list[str]:
    """`settings` as the lines of a section, its key first; empty lists and mappings are left out, as they say nothing.

    They stand in the order of the schema; a list or mapping is on one line where it fits, and otherwise has a line for
    each entry. `note` becomes a comment behind the key.
    """
    remark = f"   # {note}" if note else ""
    found = [f"{KEY}:{remark}"]
    order = list(Quantization.model_fields)
    for key in sorted(settings, key=lambda name: order.index(name) if name in order else len(order)):
        value = settings[key]
        if isinstance(value, Mapping):
            entries = [f"{scalar(name)}: {scalar(entry)}" for name, entry in value.items()]
            short, starts = f"{{{', '.join(entries)}}}", ""
        elif isinstance(value, Sequence) and not isinstance(value, str):
            entries = [scalar(entry) for entry in value]
            short, starts = f"[{', '.join(entries)}]", "- "
        else:
            found.append(f"  {key}: {scalar(value)}")
            continue
        if entries and len(short) + len(key) + 4 <= WIDTH:
            found.append(f"  {key}: {short}")
        elif entries:
            found += [f"  {key}:", *(f"    {starts}{entry}" for entry in entries)]
    return found if len(found) > 1 else [f"{KEY}: {{}}{remark}"]


def scalar(value: Any) -> str:
    """A plain value as YAML that is read back as itself, inside brackets too."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and yaml_marks.value(value) == value:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in quoted)


def limit_below(measured: float) -> float:
    """A limit on a cosine that other pictures than the measured ones should keep: half as much again is allowed.

    Rounded down, to 3 decimals from 0.99 on and to 2 below; 0 for a cosine that is no number or hardly above 0.
    """
    allowed = 1.0 - 1.5 * (1.0 - measured)
    if not 0.0 < allowed <= 1.0:
        return 0.0
    decimals = 1000 if allowed >= 0.99 else 100
    return min(math.floor(allowed * decimals) / decimals, 1.0 - 1.0 / decimals)


def rewrite(
    text: str,
    settings: Mapping[str, Any],
    limits: Mapping[str, float] | None = None,
    *,
    note: str = "",
    file: str = "recipe",
) -> Rewritten:
    """`text` with `settings` as its quantization section, and with a line for each of `limits` that is not there.

    Args:
        text: a recipe in YAML; its line ends stay what they are.
        settings: all of the section.
        limits: {precision: least cosine}, put under ``parity.limits`` where the recipe says nothing of the precision.
        note: a comment behind the section's key.
        file: what to call the recipe in errors.

    Raises:
        RecipeError: not YAML, or written in a way that a section cannot be exchanged in (anchors, tags, all on one line
            in braces); the reason is told.
    """
    root = _Document(text, file)
    edits = [root.section(lines(settings, note))]
    for precision, cosine in (limits or {}).items():
        edits += root.limit(precision, cosine)
    lost = root.comments(edits[0][0], edits[0][1])
    changed = text
    for start, end, new in sorted(edits, reverse=True):
        changed = changed[:start] + new + changed[end:]
    return Rewritten(changed, lost)


def write(
    path: Path,
    settings: Mapping[str, Any],
    limits: Mapping[str, float] | None = None,
    *,
    note: str = "",
    meant: Recipe | None = None,
) -> Rewritten:
    """Rewrite the recipe in `path`, once it is sure that it will load as the same recipe with these settings.

    Args:
        path: the file; where it is a link, what it leads to is written.
        settings: as `rewrite`.
        limits: as `rewrite`.
        note: as `rewrite`.
        meant: the recipe the settings were found for; if the file is another one by now, it is left alone.

    Raises:
        RecipeError: as `rewrite` and `load`; or the file changed meanwhile. Nothing was written.
        ToolError: it cannot be written.
    """
    here = path.resolve()
    now = load(path).recipe
    if meant is not None and _besides(now) != _besides(meant):
        raise RecipeError(
            "the recipe was changed while its settings were searched", where=str(path), fix="look at it, and run again"
        )
    try:
        raw = here.read_bytes()
    except OSError as error:
        raise _unwritable(error, path) from error
    mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
    done = rewrite(raw[len(mark) :].decode("utf-8"), settings, limits, note=note, file=str(path))
    aside = here.with_name(f".{here.stem}.{os.getpid()}.yaml")
    try:
        aside.write_bytes(mark + done.text.encode("utf-8"))
        _check(aside, path, _wanted(now, settings, limits or {}))
        shutil.copymode(here, aside)
        aside.replace(here)
    except OSError as error:
        raise _unwritable(error, path) from error
    finally:
        with suppress(OSError):
            aside.unlink()
    return done


def _besides(recipe: Recipe) -> Recipe:
    """The recipe without what is rewritten."""
    return recipe.model_copy(update={"quantization": None, "parity": None})


def _wanted(recipe: Recipe, settings: Mapping[str, Any], limits: Mapping[str, float]) -> Recipe:
    try:
        section = Quantization.model_validate(dict(settings))
    except ValidationError as error:  # e.g. a tensor of a name that no recipe can write
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise RecipeError(
            f"a recipe cannot hold these settings: {told}", fix="rename the tensor in the model"
        ) from error
    added = {name: Limits(cosine=cosine) for name, cosine in limits.items() if name not in recipe.parity.limits}
    parity = recipe.parity.model_copy(update={"limits": {**recipe.parity.limits, **added}})
    return recipe.model_copy(update={KEY: section, "parity": parity})


def _check(aside: Path, path: Path, wanted: Recipe) -> None:
    """Load what is to replace `path`.

    Raises:
        RecipeError: it is not `wanted`, or does not load.
    """
    try:
        if load(aside).recipe == wanted:
            return
        what, fix = "it would come out as another one", "put the lines in by hand"
    except RecipeError as error:
        told = str(error).replace(str(aside), path.name)
        what, fix = f"it would not load any more\n    {told}", "mend that, and run again"
    raise RecipeError(f"this recipe cannot be rewritten: {what}", where=str(path), fix=fix)


def _unwritable(error: OSError, path: Path) -> ToolError:
    return ToolError(
        f"the recipe cannot be rewritten: {error.strerror}", where=str(path), fix="check its permissions and the disk"
    )


class _Document:
    """A recipe's text with the positions of its top keys."""

    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file
        yaml_marks.parse(text, file)  # complains about everything that is no recipe at all
        if odd := _ODD_ENDS.search(text):
            raise self._refuse("its lines do not end as others do", odd.start(), "save it with LF or CRLF line ends")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(root, MappingNode) or root.flow_style:
            raise self._refuse("the whole recipe stands in braces", 0, "write each key on a line of its own")
        self._keys: dict[str, tuple[Node, Node]] = {key.value: (key, value) for key, value in root.value}
        self._special = [
            (token.start_mark.index, type(token).__name__.removesuffix("Token").lower())
            for token in yaml.scan(text, Loader=yaml.SafeLoader)
            if isinstance(token, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken)
        ]
        first = text.find("\n")
        self._newline = "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"

    def section(self, new: Sequence[str]) -> tuple[int, int, str]:
        """Start, end and text of the edit that makes `new` the section."""
        if KEY in self._keys:
            start, end = self._span(KEY)
            end = self._comments_below(end, self._keys[KEY][0].start_mark.column)
            return start, end, self._block(new, self._keys[KEY][0].start_mark.column)
        before = next((key for key in _BEFORE if key in self._keys), "")
        if not before:
            raise self._refuse("it has no key to put the section behind", 0, "complete the recipe first")
        _, end = self._span(before)
        column = self._keys[before][0].start_mark.column
        return end, end, f"{self._newline}{' ' * column}{self._block(new, column)}"

    def limit(self, precision: str, cosine: float) -> list[tuple[int, int, str]]:
        """The edit that adds a limit, or none where there is one."""
        entries = self._keys["parity"][1].value if "parity" in self._keys else ()
        limits = next((value for key, value in entries if key.value == "limits"), None)
        if not isinstance(limits, MappingNode) or not limits.value:
            raise self._refuse("parity.limits is not a mapping", 0, f"add {precision}: {{cosine: {cosine:g}}} by hand")
        self._span("parity")  # an alias may lead elsewhere
        if any(key.value == precision for key, _ in limits.value):
            return []
        added = f"{precision}: {{cosine: {cosine:g}}}"
        end = self._end(limits.value[-1][1])
        if limits.flow_style:
            return [(end, end, f", {added}")]
        end, column = self._line_end(end), limits.value[0][0].start_mark.column
        return [(end, end, f"{self._newline}{' ' * column}{added}")]

    def comments(self, start: int, end: int) -> tuple[str, ...]:
        """The comments between two positions."""
        if start == end:
            return ()
        inside: list[tuple[int, int]] = [
            (token.start_mark.index, token.end_mark.index)
            for token in yaml.scan(self._text, Loader=yaml.SafeLoader)
            if isinstance(token, yaml.ScalarToken)
        ]
        return tuple(
            one[0].strip()
            for one in _COMMENT.finditer(self._text[start:end])
            if not any(low <= start + one.start() < high for low, high in inside)  # a # in quotes is no comment
        )

    def _span(self, name: str) -> tuple[int, int]:
        """From the key to the end of the last line of its value.

        Raises:
            RecipeError: it holds an anchor, an alias or a tag, or its key does not begin a line.
        """
        key, value = self._keys[name]
        start = key.start_mark.index
        following = [other.start_mark.index for other, _ in self._keys.values() if other.start_mark.index > start]
        limit = min(following, default=len(self._text))
        for index, what in self._special:
            if start <= index < limit:
                article = "a" if what == "tag" else "an"
                raise self._refuse(
                    f"{name} holds {article} {what}, which other lines may need",
                    index,
                    "write it out there, or put the lines in by hand",
                )
        begins = self._text.rfind("\n", 0, start) + 1
        if self._text[begins:start].strip(" "):
            raise self._refuse(f"{name} does not begin its line", start, f"write {name}: at the start of a line")
        return start, self._line_end(self._end(value))

    def _end(self, node: Node) -> int:
        """Where the text of a node ends; the node's own mark is behind the comments and empty lines that follow."""
        if isinstance(node, CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._end(last[1] if isinstance(node, MappingNode) else last)
        end: int = node.end_mark.index
        return len(self._text[:end].rstrip())

    def _line_end(self, index: int) -> int:
        end = self._text.find("\n", index)
        end = len(self._text) if end < 0 else end
        return end - 1 if end > 0 and self._text[end - 1 : end + 1] == "\r\n" else end

    def _comments_below(self, end: int, column: int) -> int:
        """The end of the comments that follow and are indented as the section's own lines."""
        here = end
        while here < len(self._text):
            start = self._text.find("\n", here) + 1
            if not start:
                break
            here = self._line_end(start)
            line = self._text[start:here]
            if line.strip() and not (line.lstrip().startswith("#") and len(line) - len(line.lstrip()) > column):
                break
            if line.strip():
                end = here
        return end

    def _block(self, new: Sequence[str], column: int) -> str:
        return f"{self._newline}{' ' * column}".join(new)

    def _refuse(self, what: str, index: int, fix: str) -> RecipeError:
        line = self._text.count("\n", 0, index)
        column = index - (self._text.rfind("\n", 0, index) + 1)
        return RecipeError(
            f"this recipe cannot be rewritten: {what}", where=f"{self._file}:{line + 1}:{column + 1}", fix=fix
        )
