"""Run another program to its end: output to a log file, a time limit, and nothing left running after Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workbench.engine.progress import Progress
from workbench.errors import ToolError

_PAUSE = 0.1  # seconds between two looks at the child
_GRACE = 5.0  # seconds a child has between SIGTERM and SIGKILL
_TAIL = 1 << 16


def run_logged(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    progress: Progress,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    stop: Callable[[], None] | None = None,
) -> int:
    """Run `command` in its own process group, with no input, and return its exit code (negative: killed by a signal).

    The child writes straight into the file, so nothing it prints can fill a pipe or this process's memory.

    Args:
        command: program and arguments; no shell sees them.
        cwd: the folder it starts in.
        log: receives stdout and stderr, together and as they come; overwritten.
        progress: told how many lines the log has.
        timeout: seconds.
        env: its whole environment; this process's when left out.
        stop: called before the group is killed, for work that does not live in it (a container).

    Raises:
        ToolError: the program cannot be started, the log cannot be written, or the time is over.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        sink = log.open("wb")
    except OSError as error:
        raise ToolError(f"cannot write the log: {error.strerror}", where=str(log), fix="free some space") from error
    with sink:
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
        return _watch(child, log, progress, timeout)
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{Path(command[0]).name} did not finish within {error.timeout:g} s and was stopped",
            where=str(log),
            fix="read the log for what it was doing, or allow more time",
        ) from error
    finally:
        if child.poll() is None:
            try:
                if stop is not None:
                    stop()
            finally:
                _kill(child)


def tail(log: Path) -> list[str]:
    """The last non-empty lines of `log`, at most 64 KiB of it, without terminal colours and carriage returns."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        text = file.read().decode("utf-8", "replace")
    lines = (_plain(line.rpartition("\r")[2] or line).rstrip() for line in text.replace("\r\n", "\n").split("\n"))
    return [line for line in lines if line.strip()]


def _watch(child: subprocess.Popen[bytes], log: Path, progress: Progress, timeout: float | None) -> int:
    start, lines, seen = time.monotonic(), 0, 0
    progress.step(0, None, "log lines")
    with log.open("rb") as reader:
        while True:
            try:
                return child.wait(_PAUSE)
            except subprocess.TimeoutExpired:
                pass
            while chunk := reader.read(_TAIL):
                lines += chunk.count(b"\n")
            if lines != seen:
                seen = lines
                progress.step(lines, None, "log lines")
            if timeout is not None and time.monotonic() - start > timeout:
                raise subprocess.TimeoutExpired(child.args, timeout)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the whole group, politely first. The leader is not reaped until the last signal, so its id stays ours."""
    os.killpg(child.pid, signal.SIGTERM)
    end = time.monotonic() + _GRACE
    while time.monotonic() < end and _alive(child.pid):
        time.sleep(_PAUSE / 5)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _alive(pid: int) -> bool:
    """Whether `pid`, a child of ours, has not ended yet; it is left for `wait` to collect."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _plain(line: str) -> str:
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
