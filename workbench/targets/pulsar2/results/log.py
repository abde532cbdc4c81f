"""What Pulsar2's log says of the compiled model: the version that made it and its cycles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from workbench.targets.pulsar2.results import _text

_CYCLES = re.compile(r"\bmax_cycle\s*[=:]\s*([\d,]+)")


@dataclass(frozen=True)
class Log:
    """The facts of a log.

    Attributes:
        max_cycle: NPU cycles of the slowest batch size's program by the compiler's own estimate; None when not said.
    """

    max_cycle: int | None


def read(path: Path) -> Log:
    """The facts of the log in `path`; the last value counts, since a log may hold several runs.

    Raises:
        ToolError: the file cannot be read.
    """
    found = _CYCLES.findall(_text.read(path))
    return Log(int(found[-1].replace(",", "")) if found and found[-1].strip(",") else None)
