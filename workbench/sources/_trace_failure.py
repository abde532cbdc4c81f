"""Why a network could not be traced: the exporter wraps the reason in advice to its own developers."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST = 300


def explain(error: BaseException) -> str:
    """The innermost exception that says something, and the line of the network's code that it comes from.

    Returns:
        ``Type: first line of its message``, and `` at file:line: the line`` where a traceback leads there.
    """
    chain = _chain(error)
    told = next((text for text in map(_first_line, reversed(chain)) if text), type(error).__name__)
    at = next((place for place in map(_place, reversed(chain)) if place), "")
    return f"{told} at {at}" if at else told


def is_missing_operator(error: BaseException) -> bool:
    """Whether the trace succeeded, and one of its operators has no ONNX counterpart."""
    return any(type(one).__name__ == "DispatchError" for one in _chain(error))


def _chain(error: BaseException) -> list[BaseException]:
    """`error` and what led to it, outermost first."""
    chain: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in chain:
        chain.append(inner)
        inner = inner.__cause__ or (None if inner.__suppress_context__ else inner.__context__)
    return chain


def _first_line(error: BaseException) -> str:
    lines = (_ESCAPES.sub("", line).strip() for line in str(error).splitlines())
    first = next(filter(None, lines), "")
    return f"{type(error).__name__}: {first[:_LONGEST]}" if first else ""


def _place(error: BaseException) -> str:
    """The innermost line of the traceback that is neither a library's nor of this package's sources."""
    ours = Path(__file__).parent
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not any(path.is_relative_to(folder) for folder in (ours, *libraries)):
            return f"{path}:{frame.lineno}: {frame.line}" if frame.line else f"{path}:{frame.lineno}"
    return ""
