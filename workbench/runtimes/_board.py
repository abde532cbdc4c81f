"""Compiled models on a board, reached by ssh: copy, run many samples in one start of `ax_run_model`, fetch back."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from workbench.errors import ToolError
from workbench.runtimes._runner import Array, Latency, Runner
from workbench.runtimes._samples import (
    GIVEN,
    LIST,
    MADE,
    Samples,
    byte_size,
    disk_full,
    file_name,
    missing,
    wrong_size,
)
from workbench.runtimes._scratch import Scratch
from workbench.runtimes._ssh import PATHS, Board, lines_of
from workbench.runtimes._ssh_trouble import explain, listed, where
from workbench.runtimes.board_address import Address

PROGRAM = "ax_run_model"
_MODEL, _FILES = "model.axmodel", "files.txt"
_WARM_UP, _REPEATS = 1, 5  # runs before the clock starts, and runs that are timed, for each sample
_LOG_LINES = 4000
_RUN = (
    f"exec 2>&1; {PATHS} {PROGRAM} -m {_MODEL} -w {_WARM_UP} -r {_REPEATS} -i {GIVEN} -o {MADE} -l {LIST}"
    " --use-tensor-name </dev/null & p=$!; echo $p >pid; wait $p; c=$?; rm -f pid; echo; echo workbench-exit $c;"
    f' cd {MADE} || exit 9; while read -r f; do if [ -f "$f" ] && [ ! -h "$f" ];'
    f' then echo "workbench-size" $(wc -c <"$f") "$f"; fi; done <../{_FILES}'
)
_FETCH = f'cd {MADE} || exit 9; echo workbench-data; while read -r f; do cat "$f" || exit 8; done <../{_FILES}'
_TIMES = re.compile(r"\s+".join(rf"{word}\s*=\s*(\d+(?:\.\d+)?)\s*ms" for word in ("min", "max", "avg")))
_CHUNK = 1 << 16


class BoardRunner(Runner):
    """A `Runner` over ``ax_run_model`` on a board; `latency` is what it printed.

    Args:
        address: of the board.
        path: a compiled model.
        samples: its tensors as files.
        timeout: seconds for everything together.

    Raises:
        ToolError: the board cannot be used, or has no space for the model.
    """

    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __init__(self, address: Address, path: Path, samples: Samples, *, timeout: float = 3600.0) -> None:
        self.runtime = f"{PROGRAM} on {address}"
        self.inputs, self.outputs = samples.inputs, samples.outputs
        self._samples, self._path = samples, path
        self._times: list[Latency] = []
        with ExitStack() as stack:
            self._scratch = stack.enter_context(Scratch(PROGRAM))
            self._board = stack.enter_context(Board(address, PROGRAM, timeout))
            self._send_model()
            self._stack = stack.pop_all()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see `Runner.run`."""
        (result,) = self.run_all([feeds])
        return result

    def run_all(self, feeds: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        """Run all; see `Runner.run_all`.

        Raises:
            ToolError: `feeds` does not fit the inputs, the board fails, is full, takes too long or goes away, or an
                output is missing or has another size. What the program printed is kept.
        """
        work = self._scratch.folder
        for names in self._samples.staged(feeds, work):
            try:
                self._send(work, names)
                self._start(names)
                self._fetch(work, names)
                for name in names:
                    yield self._samples.read(work / MADE / name, PROGRAM)
            except ToolError:
                self._scratch.failed = self._scratch.log.stat().st_size > 0
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove everything from the board."""
        self._stack.__exit__(kind, error, trace)

    def _send_model(self) -> None:
        try:
            with self._path.open("rb") as file:
                wanted = hashlib.file_digest(file, "sha256").hexdigest()
            size = self._path.stat().st_size
        except OSError as error:
            raise ToolError(
                f"cannot read the model: {error.strerror}", where=str(self._path), fix="check the path"
            ) from error
        there = f"echo workbench-size $(wc -c <{_MODEL}); echo workbench-hash $(sha256sum {_MODEL} 2>/dev/null)"
        said = self._unpack([(_MODEL, self._path)], [], there)
        got = {parts[0]: parts[1] for line in said if len(parts := line.split()) > 1}
        # A board without sha256sum is trusted with the size.
        if got.get("workbench-size") != str(size) or got.get("workbench-hash", wanted) != wanted:
            raise ToolError(
                "the model did not arrive whole on the board", where=where(self._board.address), fix="try again"
            )

    def _send(self, work: Path, names: Sequence[str]) -> None:
        """Put a batch on the board, in place of the one before."""
        made = [f"{name}/{file_name(port.name)}" for name in names for port in self.outputs]
        try:
            (work / _FILES).write_text("".join(f"{name}\n" for name in made), "utf-8")
        except OSError as error:
            raise disk_full(error, work) from error
        given = [f"{GIVEN}/{name}/{file_name(port.name)}" for name in names for port in self.inputs]
        files = [(name, work / name) for name in (*given, LIST, _FILES)]
        folders = [GIVEN, MADE, *(f"{top}/{name}" for name in names for top in (GIVEN, MADE))]
        self._unpack(files, folders, ":", before=f"rm -rf {GIVEN} {MADE};")

    def _unpack(
        self, files: Sequence[tuple[str, Path]], folders: Sequence[str], after: str, before: str = ""
    ) -> list[str]:
        def give(pipe: IO[bytes]) -> None:
            for name in folders:
                info = tarfile.TarInfo(name)
                info.type, info.mode = tarfile.DIRTYPE, 0o700
                pipe.write(info.tobuf(tarfile.GNU_FORMAT))
            for name, path in files:
                info = tarfile.TarInfo(name)
                info.size, info.mode = path.stat().st_size, 0o600
                pipe.write(info.tobuf(tarfile.GNU_FORMAT))
                with path.open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        pipe.write(chunk)
                pipe.write(b"\0" * (-info.size % tarfile.BLOCKSIZE))
            pipe.write(b"\0" * 2 * tarfile.BLOCKSIZE)

        script = f"{before} tar -xf - && {{ {after}; }}"
        code, said, trouble = self._board.call(script, lambda out: list(deque(lines_of(out), 20)), give)
        if code != 0:
            raise explain(trouble, self._board.address, f"the board could not unpack the files (exit code {code})")
        return said

    def _start(self, names: Sequence[str]) -> None:
        kept: deque[str] = deque(maxlen=_LOG_LINES)
        sizes: dict[str, int] = {}
        ended: list[int] = []

        def take(out: IO[bytes]) -> None:
            for line in lines_of(out):
                if found := re.fullmatch(r"workbench-exit (\d+)", line):
                    ended.append(int(found[1]))
                elif found := re.fullmatch(r"workbench-size (\d+) (\S+)", line):
                    sizes[found[2]] = int(found[1])
                else:
                    kept.append(line)
                    self._note_time(line)

        try:
            code, _, trouble = self._board.call(_RUN, take)
        finally:
            self._scratch.log.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        lines = [line for line in kept if line]
        if code != 0 or not ended:
            raise explain([*lines, *trouble], self._board.address, f"{PROGRAM} could not be started or was cut off")
        if ended[0] != 0:
            raise self._failure(ended[0], lines)
        for name in names:
            for port in self.outputs:
                size = sizes.get(f"{name}/{file_name(port.name)}")
                if size is None:
                    raise missing(port, self._path, PROGRAM)
                if size != byte_size(port):
                    raise wrong_size(port, size, self._path, PROGRAM)

    def _failure(self, code: int, lines: Sequence[str]) -> ToolError:
        how = f"was killed by signal {code - 128}" if code > 128 else f"failed with exit code {code}"
        if "No space left on device" in "\n".join(lines):
            return explain(lines, self._board.address, "")
        return ToolError(
            f"{PROGRAM} {how}{f':{listed(lines)}' if lines else ' and printed nothing'}",
            where=where(self._board.address),
            fix=f"was the model compiled for this chip, and is the NPU free? what it printed: {self._scratch.log}",
        )

    def _fetch(self, work: Path, names: Sequence[str]) -> None:
        """Copy the outputs, whose sizes are known to be right, and not a byte more."""

        def take(out: IO[bytes]) -> bool:
            if not any(line == "workbench-data" for line in lines_of(out)):
                return False
            for name in names:
                for port in self.outputs:
                    with (work / MADE / name / file_name(port.name)).open("wb") as file:
                        left = byte_size(port)
                        while left and (chunk := out.read(min(left, _CHUNK))):
                            left -= file.write(chunk)
                        if left:
                            return False
            return True

        try:
            code, whole, trouble = self._board.call(_FETCH, take)
        except OSError as error:
            raise disk_full(error, work) from error
        if not whole:
            raise explain(trouble, self._board.address, f"the outputs did not arrive whole (exit code {code})")

    def _note_time(self, line: str) -> None:
        if found := _TIMES.search(line):
            low, high, average = map(float, found.groups())
            self._times.append(Latency(low, average, high))
            self.latency = Latency(
                min(one.minimum for one in self._times),
                sum(one.average for one in self._times) / len(self._times),
                max(one.maximum for one in self._times),
            )
