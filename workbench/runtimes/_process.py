"""Run another program to its end: output to a log file, a time limit, and nothing left running after Ctrl-C."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from workbench.engine.progress import Progress
from workbench.errors import ToolError
from workbench.runtimes._last_will import last_will

_PAUSE = 0.1  # seconds between two looks at the child
_GRACE = 5.0  # seconds a child has between SIGTERM and SIGKILL
_CHUNK = 1 << 16
_TAIL = 1 << 16
_ENDS = re.compile(rb"[\r\n]+")


class TimedOut(ToolError):  # noqa: N818 -- it says what happened
    """A program did not finish in time and was stopped; `silent` is for how many seconds it had printed nothing."""

    def __init__(self, what: str, *, where: str, fix: str, silent: float) -> None:
        super().__init__(what, where=where, fix=fix)
        self.silent = silent


class Listener(Protocol):
    """Hears what a running program prints."""

    def lines(self, new: Sequence[str]) -> None:
        """What came since the last call; a progress bar that overwrites itself counts as lines."""

    def silent(self, seconds: float) -> None:
        """Nothing was printed for so long; called about ten times a second while that is so."""


class Counting:
    """A listener that tells how many lines a log has."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._count = progress, 0
        progress.step(0, None, "log lines")

    def lines(self, new: Sequence[str]) -> None:
        """Count them."""
        self._count += len(new)
        self._progress.step(self._count, None, "log lines")

    def silent(self, seconds: float) -> None:
        """Say nothing."""


def run_logged(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    progress: Progress,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    stop: Callable[[], None] | None = None,
    listener: Listener | None = None,
    cpus: float | None = None,
    will: Sequence[str] = (),
) -> int:
    """Run `command` in its own process group, with no input, and return its exit code (negative: killed by a signal).

    The child writes straight into the file, so nothing it prints can fill a pipe or this process's memory.

    Args:
        command: program and arguments; no shell sees them.
        cwd: the folder it starts in.
        log: receives stdout and stderr, together and as they come; overwritten.
        progress: told how many lines the log has, where no `listener` is given.
        timeout: seconds.
        env: its whole environment; this process's when left out.
        stop: called before the group is killed, for work that does not live in it (a container).
        listener: hears what is printed.
        cpus: how many processors it may use, rounded up; all of this process's when left out.
        will: a command that is run should this process be killed; the group is ended then, in any case.

    Raises:
        TimedOut: the time is over.
        ToolError: the program cannot be started, or the log cannot be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        sink = log.open("wb")
    except OSError as error:
        raise ToolError(f"cannot write the log: {error.strerror}", where=str(log), fix="free some space") from error
    with last_will(will) as tell:
        with sink, _on(cpus):
            try:
                child = subprocess.Popen(
                    list(command),
                    cwd=cwd,
                    env=None if env is None else dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise ToolError(
                    f"cannot start {command[0]}: {error.strerror}", fix="check that it is a program for this machine"
                ) from error
        try:
            tell(child.pid)
            return _watch(child, log, listener or Counting(progress), timeout)
        finally:
            _end(child, stop)


def tail(log: Path, size: int = _TAIL) -> list[str]:
    """The last non-empty lines of `log`, at most `size` bytes of it, without terminal colours and carriage returns."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - size))
        text = file.read().decode("utf-8", "replace")
    lines = (plain(line.rpartition("\r")[2] or line).rstrip() for line in text.replace("\r\n", "\n").split("\n"))
    return [line for line in lines if line.strip()]


def plain(line: str) -> str:
    """`line` without escape sequences and control characters."""
    out, inside = [], False
    for char in line:
        if char == "\x1b":
            inside = True
        elif inside:
            inside = not ("@" <= char <= "~" and char != "[")
        elif char == "\t" or char.isprintable():
            out.append(char)
    return "".join(out)


def _watch(child: subprocess.Popen[bytes], log: Path, listener: Listener, timeout: float | None) -> int:
    start = heard = time.monotonic()
    rest = b""
    with log.open("rb") as reader:
        while True:
            over = ended(child.pid)
            while chunk := reader.read(_CHUNK):
                heard = time.monotonic()
                *whole, rest = _ENDS.split(rest + chunk)
                if len(rest) > _CHUNK:  # no end of line in 64 KiB: it is none
                    whole, rest = [*whole, rest], b""
                if whole := [line for line in whole if line]:
                    listener.lines([line.decode("utf-8", "replace") for line in whole])
            if over:
                if rest:
                    listener.lines([rest.decode("utf-8", "replace")])
                return reap(child)
            now = time.monotonic()
            if timeout is not None and now - start > timeout:
                raise TimedOut(
                    f"{Path(str(child.args[0])).name} did not finish within {timeout:g} s and was stopped",  # type: ignore[index]
                    where=str(log),
                    fix="read the log for what it was doing, or allow more time",
                    silent=now - heard,
                )
            if now - heard > _PAUSE:
                listener.silent(now - heard)


@contextmanager
def _on(cpus: float | None) -> Iterator[None]:
    """Children started inside get `cpus` processors: Linux keeps the set a thread, and a child inherits it."""
    if cpus is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mine)[: max(1, math.ceil(cpus))])
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM for the seconds that ending a child takes: a second one would leave it running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(child: subprocess.Popen[bytes], stop: Callable[[], None] | None) -> None:
    """End a child that has not ended by itself; after `stop`, if there is one."""
    if child.poll() is not None:
        return
    with _undisturbed():
        try:
            if stop is not None:
                stop()
        finally:
            _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the whole group, politely first. The leader is not reaped until the last signal, so its id stays ours."""
    os.killpg(child.pid, signal.SIGTERM)
    end = time.monotonic() + _GRACE
    while time.monotonic() < end and _alive(child.pid):
        time.sleep(_PAUSE / 5)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def reap(child: subprocess.Popen[bytes]) -> int:
    """The exit code of a child that has ended, after what it left running in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def ended(pid: int) -> bool:
    """Whether `pid` ends within a moment."""
    end = time.monotonic() + _PAUSE
    while _alive(pid):
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE / 10)
    return True


def _alive(pid: int) -> bool:
    """Whether `pid`, a child of ours, has not ended yet; it is left for `wait` to collect."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
