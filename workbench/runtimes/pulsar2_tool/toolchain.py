"""A Pulsar2 that answered, and running it: one interface, whatever it lives in."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workbench.engine.progress import Progress
from workbench.errors import ToolError
from workbench.runtimes._process import TimedOut, run_logged
from workbench.runtimes.pulsar2_tool import container
from workbench.runtimes.pulsar2_tool.choice import Choice
from workbench.runtimes.pulsar2_tool.failures import Run, failure, too_slow
from workbench.runtimes.pulsar2_tool.phases import Following


@dataclass(frozen=True)
class Toolchain:
    """A Pulsar2 that answered.

    Attributes:
        version: what it says of itself; for an image, its tag.
        build: tells two builds of one version apart: the commit, or the image's id.
        program: the pulsar2 program, or the container engine.
        image: the image's name; empty when there is no container.
        choice: limits and engine options; they change no result, so two toolchains may differ in them and be equal.
    """

    kind: Literal["path", "package", "container"]
    version: str
    build: str
    program: str
    image: str = ""
    choice: Choice = field(default=Choice(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"Pulsar2 {self.version} ({self.image or self.program})"

    @property
    def identity(self) -> str:
        """Version and build, the same on every machine that has this toolchain: for cache keys and the manifest."""
        return f"{self.version} {self.build}".strip()

    def run(
        self,
        args: Sequence[str],
        workdir: Path,
        log: Path,
        progress: Progress,
        timeout: float | None = None,
        *,
        inside: str = ".",
    ) -> None:
        """Run ``pulsar2 ARGS``; what it writes belongs to the caller.

        Args:
            args: ``("build", "--config", "config.json", ...)``; relative paths start from `inside`.
            workdir: holds everything the tool reads and writes; a container sees nothing else.
            log: receives all that the tool prints.
            progress: told the phase and the counts that the log shows, and of long silences.
            timeout: seconds.
            inside: sub-folder of `workdir` to start in, with forward slashes.

        Raises:
            ToolError: it cannot be started, does not finish in time, or fails; with the phase, the node and the cause
                that its log names, and the telling lines.
        """
        following = Following(progress, f"pulsar2 {args[0]}" if args else "pulsar2")
        work = _contained if self.kind == "container" else _plain
        try:
            code = work(self, args, workdir, log, following, timeout, inside)
        except TimedOut as error:
            raise too_slow(self._ran(args, log, following, workdir / inside), error, timeout or 0.0) from error
        if code != 0:
            raise failure(self._ran(args, log, following, workdir / inside), code)

    def _ran(self, args: Sequence[str], log: Path, following: Following, folder: Path) -> Run:
        at = args.index("--config") + 1 if "--config" in args else len(args)
        config = folder / args[at] if at < len(args) else None
        return Run(args, log, following.phase, config, self.program if self.image else "")


def _plain(
    tool: Toolchain,
    args: Sequence[str],
    workdir: Path,
    log: Path,
    following: Following,
    timeout: float | None,
    inside: str,
) -> int:
    """A program of this machine: in its own process group, with a limit on its address space where one is asked for."""
    command = [tool.program, *args]
    if tool.choice.memory is not None:
        kib = str(tool.choice.memory // 1024)
        command = ["/bin/sh", "-c", 'ulimit -v "$0" && exec "$@"', kib, *command]
    return run_logged(
        command,
        cwd=workdir / inside,
        log=log,
        progress=following.progress,
        timeout=timeout,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},  # so that the log grows while it works
        listener=following,
        cpus=tool.choice.cpus,
    )


def _contained(
    tool: Toolchain,
    args: Sequence[str],
    workdir: Path,
    log: Path,
    following: Following,
    timeout: float | None,
    inside: str,
) -> int:
    """A container: ended through its engine, removed when it did not end by itself, its results handed back."""
    name = f"workbench-pulsar2-{os.getpid()}-{secrets.token_hex(4)}"
    command = container.run_command(tool.program, tool.image, name, args, workdir, tool.choice, inside)
    try:
        return run_logged(
            command,
            cwd=workdir,
            log=log,
            progress=following.progress,
            timeout=timeout,
            stop=lambda: container.stop(tool.program, name, tool.choice),
            listener=following,
            will=container.removal(tool.program, name, tool.choice),
        )
    except (TimedOut, KeyboardInterrupt, ToolError):
        container.remove(tool.program, name, tool.choice)
        raise
    finally:
        container.hand_back(tool.program, tool.image, f"{name}-owner", workdir, tool.choice)
