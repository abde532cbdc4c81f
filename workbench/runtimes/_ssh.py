"""Commands on a board through the OpenSSH client, in a folder there that goes when this process does, however it ends.

One connection holds the folder: a shell on the board that waits for the end of its input and then removes it, and
kills what still runs in it. Its input ends when this process closes it, dies, or loses the network, so nothing is left
behind even after SIGKILL. Host keys, identities and jump hosts are the user's own configuration; no password is asked.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self, TypeVar, cast

from workbench.errors import ToolError
from workbench.runtimes._process import plain
from workbench.runtimes._ssh_trouble import explain, where
from workbench.runtimes.board_address import Address

T = TypeVar("T")

# What a login would have, and where AXera's board packages put their programs.
PATHS = (
    "p=$PATH; if [ -r /etc/profile ]; then . /etc/profile >/dev/null 2>&1; fi;"
    ' PATH="$p:$PATH:/usr/local/bin:/opt/bin"; export PATH;'
)
_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "RequestTTY=no",
)
_ANSWER = 30.0  # seconds until the board must have made the folder
_GOODBYE = 15.0  # seconds it has to remove it
_HOLD = (
    "umask 077; d=$(mktemp -d {parent}/workbench-XXXXXX) || exit 3;"
    ' end() {{ if [ -s "$d/pid" ]; then kill -9 "$(cat "$d/pid")" 2>/dev/null; fi;'
    ' rm -rf "$d" 2>/dev/null || {{ sleep 1; rm -rf "$d"; }}; }};'
    " trap end EXIT; trap 'exit 1' HUP INT TERM;"
    ' echo "workbench-folder $d"; ( {paths} command -v {program} >/dev/null ) || echo workbench-lacks;'
    " echo workbench-ready; cat >/dev/null"
)
_LINE = 4096
_SAID = 1 << 14


class Board:
    """A folder on a board, and commands that run there; a context manager.

    Args:
        address: of the board.
        program: what must be installed there.
        timeout: seconds for everything together.
    """

    def __init__(self, address: Address, program: str, timeout: float) -> None:
        self.address = address
        self.folder = ""
        self._program, self._timeout = program, timeout
        self._end = time.monotonic() + timeout
        self._said: IO[bytes] | None = None
        self._holder: _Child | None = None

    def __enter__(self) -> Self:
        """Connect and make the folder.

        Raises:
            ToolError: there is no ssh, the board cannot be reached or refuses, or lacks the program.
        """
        parent = self.address.folder or '"${TMPDIR:-/tmp}"'
        script = _HOLD.format(parent=parent, paths=PATHS, program=self._program)
        self._said = tempfile.TemporaryFile()
        try:
            self._holder = self._start(script, self._said)
            self._settle(self._holder, self._said)
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the board remove the folder, and wait until it has."""
        self._let_go()

    def call(
        self, script: str, take: Callable[[IO[bytes]], T], give: Callable[[IO[bytes]], None] | None = None
    ) -> tuple[int, T, list[str]]:
        """Run `script` in a shell on the board, started in the folder.

        Args:
            script: one line for a POSIX shell.
            take: reads its output, as far as it likes.
            give: writes its input.

        Returns:
            exit code, what `take` returned, and the last lines on stderr.

        Raises:
            ToolError: the connection fails, or the time is over.
        """
        with tempfile.TemporaryFile() as said:
            child = self._start(f"cd {self.folder} || exit 9; {script}", said)
            with _Watch(child.process, self._left()) as watch:
                with suppress(BrokenPipeError):  # it ended early: its exit code says why
                    if give is not None:
                        give(child.stdin)
                    child.stdin.close()
                taken = take(child.stdout)
                child.stdout.close()
                code = child.process.wait()
            lines = _last(said)
        if watch.over:
            raise self.late()
        if code == 255:
            raise explain(lines, self.address, "ssh failed")
        return code, taken, lines

    def late(self) -> ToolError:
        """The error of a board that takes too long."""
        return ToolError(
            f"not finished within {self._timeout:g} s: it was stopped",
            where=where(self.address),
            fix="is the NPU held by another program? else allow more time: --timeout SECONDS",
        )

    def _left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.late()
        return left

    def _start(self, script: str, said: IO[bytes]) -> _Child:
        program = shutil.which("ssh")
        if program is None:
            raise ToolError("no ssh program here", where=where(self.address), fix="install the OpenSSH client")
        command = [program, "-T", *(part for option in _OPTIONS for part in ("-o", option))]
        if self.address.port:
            command += ["-p", str(self.address.port)]
        if self.address.user:
            command += ["-l", self.address.user]
        command += ["--", self.address.host, f"exec sh -c {shlex.quote(script)}"]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "LC_ALL": "C"},  # its messages are read
                start_new_session=True,  # Ctrl-C is for this process, which then ends the others in order
            )
        except OSError as error:
            raise ToolError(
                f"cannot start {program}: {error.strerror}", where=where(self.address), fix="install the OpenSSH client"
            ) from error
        return _Child(process, cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout))

    def _settle(self, holder: _Child, said: IO[bytes]) -> None:
        """Read what the holder says until it is ready."""
        lacks = ready = False
        seconds = min(_ANSWER, self._left())
        with _Watch(holder.process, seconds, keep=True) as watch:
            for line in lines_of(holder.stdout):
                found = re.fullmatch(r"workbench-folder (/[A-Za-z0-9_./\-]*/workbench-[A-Za-z0-9]+)", line)
                self.folder = found[1] if found else self.folder
                lacks = lacks or line == "workbench-lacks"
                ready = line == "workbench-ready"
                if ready:
                    break
        if watch.over and seconds < _ANSWER:
            raise self.late()
        if watch.over:
            raise ToolError(
                f"no answer within {seconds:g} s",
                where=where(self.address),
                fix=f"is it overloaded? try by hand: {self.address.by_hand}",
            )
        if not ready or not self.folder:
            code = holder.process.wait()
            raise explain(_last(said), self.address, f"the board ended the session with exit code {code}")
        if lacks:
            raise ToolError(
                f"{self._program} is not on the board",
                where=where(self.address),
                fix="install AXera's board package; it is looked for on PATH and in /opt/bin",
            )

    def _let_go(self) -> None:
        holder, self._holder = self._holder, None
        said, self._said = self._said, None
        if said is not None:
            said.close()  # the child has its own
        if holder is None:
            return
        try:
            with suppress(BrokenPipeError):
                holder.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                holder.process.wait(_GOODBYE)
        finally:
            holder.process.kill()  # the board notices the end of its input all the same
            holder.process.wait()
            holder.stdout.close()


@dataclass(frozen=True)
class _Child:
    """A running ssh with its two pipes."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]


class _Watch:
    """Kills a child at the end of its time, or when the block ends by an error; `keep` lets it live otherwise."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float, *, keep: bool = False) -> None:
        self.over = False
        self._child, self._keep = child, keep
        self._timer = threading.Timer(seconds, self._late)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        if kind is not None or (not self._keep and self._child.poll() is None):
            self._child.kill()
            self._child.wait()

    def _late(self) -> None:
        self.over = True
        self._child.kill()


def lines_of(stream: IO[bytes]) -> Iterator[str]:
    """What a board prints, line by line, without control characters; a line without end comes in pieces."""
    while raw := stream.readline(_LINE):
        yield printable(raw)


def printable(raw: bytes) -> str:
    """`raw` as text that a terminal shows as it is."""
    return plain(raw.decode("utf-8", "replace")).strip()


def _last(said: IO[Any]) -> list[str]:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
    return [line for line in map(printable, said.read().splitlines()) if line]
