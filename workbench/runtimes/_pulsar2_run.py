"""Compiled models in the vendor's x86 simulation, `pulsar2 run`: slow, and what the chip computes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.runtimes._runner import Array, Runner
from workbench.runtimes._samples import GIVEN, LIST, MADE, Samples, disk_full
from workbench.runtimes._scratch import Scratch
from workbench.runtimes.pulsar2_tool import Toolchain

_MODEL = "model.axmodel"


class Pulsar2Runner(Runner):
    """A `Runner` over ``pulsar2 run``, through any back-end: many samples in a start of the tool.

    Args:
        toolchain: a Pulsar2 that answered.
        path: a compiled model.
        samples: its tensors as files.
        hardware: the chip it was compiled for, as ``--target_hardware`` names it; the tool's default when empty.
        timeout: seconds for everything that is run.

    Raises:
        ToolError: the disk is full.
    """

    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __init__(
        self, toolchain: Toolchain, path: Path, samples: Samples, *, hardware: str = "", timeout: float = 3600.0
    ) -> None:
        self.runtime = f"pulsar2 run ({toolchain.version})"
        self.inputs, self.outputs = samples.inputs, samples.outputs
        self._toolchain, self._samples = toolchain, samples
        self._hardware = ("--target_hardware", hardware) if hardware else ()
        self._left = timeout
        self._scratch = Scratch("pulsar2-run")
        try:
            (self._scratch.folder / _MODEL).write_bytes(path.read_bytes())
        except OSError as error:
            self._scratch.__exit__(None, None, None)
            raise disk_full(error, path) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see `Runner.run`."""
        (result,) = self.run_all([feeds])
        return result

    def run_all(self, feeds: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        """Run all; see `Runner.run_all`.

        Raises:
            ToolError: `feeds` does not fit the inputs, the tool fails or takes too long, or it writes something else
                than the outputs. Its log is kept.
        """
        work = self._scratch.folder
        for names in self._samples.staged(feeds, work):
            try:
                self._start(work)
                for name in names:
                    yield self._samples.read(work / MADE / name, "pulsar2 run")
            except ToolError:
                self._scratch.failed = True
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the scratch folder."""
        self._scratch.__exit__(kind, error, trace)

    def _start(self, work: Path) -> None:
        files = ("--model", _MODEL, "--input_dir", GIVEN, "--output_dir", MADE, "--list", LIST)
        start = time.monotonic()
        self._toolchain.run(("run", *files, *self._hardware), work, self._scratch.log, Silent(), max(1.0, self._left))
        self._left -= time.monotonic() - start
