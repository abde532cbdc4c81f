"""A scratch folder for running a model, and a log beside it that is kept when the program fails."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.runtimes._samples import disk_full


class Scratch:
    """A temporary folder and a log file; the folder always goes, the log stays when the block ends by an `Exception`.

    Raises:
        ToolError: the disk is full.
    """

    def __init__(self, tool: str) -> None:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="workbench-run-", ignore_cleanup_errors=True)
            handle, log = tempfile.mkstemp(prefix=f"workbench-{tool}-", suffix=".log")
        except OSError as error:
            raise disk_full(error, Path(tempfile.gettempdir())) from error
        os.close(handle)
        self.folder = Path(self._folder.name)
        self.log = Path(log)
        self.failed = False

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the folder, and the log where no program failed."""
        self._folder.cleanup()
        if not self.failed:
            self.log.unlink(missing_ok=True)
