"""Turn the end of a log into an error: how it ended, phase, node, known cause and cure, and the telling lines."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ToolError
from workbench.runtimes._process import TimedOut, tail
from workbench.runtimes.pulsar2_tool.phases import ERROR_CODES, PHASES, Phase, named
from workbench.runtimes.pulsar2_tool.signatures import CODES, Known, recognize

_SHOWN = 6
_WIDEST = 300
_LOOKED_AT = 1 << 18
_LAST_LINES = 100
_ENGINE_CODES = (125, 126, 127)  # docker and podman: they failed themselves, the program is none, there is no program
_TELLING = re.compile(
    r"error|exception|failed|fatal|not support|dont support|\bH\d{4}\b|killed|no space|denied", re.IGNORECASE
)
_NODES = (
    r"op name: (?P<node>[^,\s]+),",
    r"\bop: (?P<node>[^\s,'\"\\]+)(?:\\n|\n|$)",
    r"'prefix': '(?P<node>[^']+)'",
    r"Op Execution Error: (?P<node>[^\s(]+)\(",
    r"Graph op: (?P<node>[^\s(]+)\(",
    r"Operator\(name:(?P<node>[^,)]+)",
)
_ERROR_CODE = re.compile(r"ErrorCode\.(\w+)")
_BUG = "read the whole log; workbench pulsar2 bundle packs what AXera needs to look into it"


@dataclass(frozen=True)
class Run:
    """A run that ended badly.

    Attributes:
        args: of pulsar2.
        log: all it printed.
        phase: the furthest phase its log reached.
        config: the configuration it was given, if it was.
        engine: the container engine's name; empty without one.
    """

    args: Sequence[str]
    log: Path
    phase: Phase = PHASES[0]
    config: Path | None = None
    engine: str = ""

    @property
    def name(self) -> str:
        """``pulsar2 build``."""
        return f"pulsar2 {self.args[0]}" if self.args else "pulsar2"


def failure(run: Run, code: int) -> ToolError:
    """The error of a run that ended with `code` (negative, or 128 and more: by a signal)."""
    lines = tail(run.log, _LOOKED_AT)
    text = "\n".join(_end_of(lines))
    by_engine = bool(run.engine) and code in _ENGINE_CODES
    known = recognize(text, engine=by_engine)
    number = _signal(code)
    told = known.cause if known else ""
    cure = known.cure if known else ""
    if not known and number in CODES:
        told, cure = CODES[number]
    if by_engine:
        what = f"{Path(run.engine).name} could not run it (exit code {code})"
    elif number:
        what = f"{run.name} was killed by {signal.Signals(number).name}{_while(run, text)}"
    else:
        what = f"{run.name} failed with exit code {code}{_while(run, text)}"
    node = "" if by_engine else _node(text)
    if node:
        what += f", at node {node}"
    told = _with_line(known, run, told)
    if told:
        what += f": {told}"
    shown = _telling(lines)
    if shown:
        what += "".join(f"\n    {line}" for line in shown)
    elif not told:
        what += " and printed nothing"
    return ToolError(what, where=str(run.log), fix=cure or (_BUG if shown else "start it by hand"))


def too_slow(run: Run, error: TimedOut, seconds: float) -> ToolError:
    """The error of a run that was stopped because its time was over."""
    lines = tail(run.log)
    what = f"{run.name} did not finish within {seconds:g} s and was stopped{_while(run, '')}"
    if not lines:
        what += "; it printed nothing"
    elif error.silent > min(60.0, seconds / 2):
        what += f"; its last line is {error.silent:.0f} s old"
    what += "".join(f"\n    {line.strip()[:_WIDEST]}" for line in lines[-2:])
    build = "allow more time (targets.pulsar2.timeout_minutes), or calibrate with fewer samples"
    more = (
        "allow more time (workbench parity --timeout), or run fewer samples" if list(run.args[:1]) == ["run"] else build
    )
    fix = f"{more}; if it hangs at the same line again, workbench pulsar2 bundle packs what AXera needs"
    return ToolError(what, where=str(run.log), fix=fix)


def _while(run: Run, text: str) -> str:
    """Where in its work it was: what its error code says, else how far the log came."""
    found = _ERROR_CODE.search(text)
    phase = named(ERROR_CODES[found[1]]) if found and found[1] in ERROR_CODES else run.phase
    return "" if phase is PHASES[0] else f" while {phase.doing}"


def _signal(code: int) -> int:
    """The signal that ended the program; a shell, and so a container, adds 128."""
    number = -code if code < 0 else code - 128
    try:
        return int(signal.Signals(number))
    except ValueError:
        return 0


def _end_of(lines: Sequence[str]) -> Sequence[str]:
    """From the first traceback on, whose causes come first; else the last lines."""
    starts = [index for index, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    return lines[starts[0] :] if starts else lines[-_LAST_LINES:]


def _node(text: str) -> str:
    """The node that the log blames."""
    for pattern in _NODES:
        if found := re.search(pattern, text):
            return found["node"][:200]
    return ""


def _telling(lines: Sequence[str]) -> list[str]:
    """A few lines that say most; frames of a traceback do not."""
    worth = [line.strip() for line in lines if _TELLING.search(line) and not line.lstrip().startswith('File "')]
    worth = [line for line in worth if not re.match(r"(?:Traceback|During handling|The above exception|raise )", line)]
    return [line[:_WIDEST] for line in dict.fromkeys(worth[-2 * _SHOWN :])][-_SHOWN:] or [
        line.strip()[:_WIDEST] for line in lines[-_SHOWN:]
    ]


def _with_line(known: Known | None, run: Run, told: str) -> str:
    """`told`, after the line of the configuration that it is about."""
    word = known.groups.get("value") or known.groups.get("field") if known else None
    if word is None or run.config is None or known is None or not known.name.startswith("config"):
        return told
    try:
        lines = run.config.read_text("utf-8", "replace").splitlines()
    except OSError:
        return told
    plain = {word, re.sub(r"(?<!^)(?=[A-Z])", "_", word).lower()}  # protobuf's messages say targetHardware, files don't
    at = next((n for n, line in enumerate(lines, 1) if any(re.search(rf"\b{re.escape(w)}\b", line) for w in plain)), 0)
    return f"{run.config.name}:{at}: {told}" if at else told
