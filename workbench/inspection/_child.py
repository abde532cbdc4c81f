"""The process that reads one file for `bounded`: arguments are the reader and the path; prints facts or an error."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.inspection.bounded import OUT_OF_MEMORY

_TIMES, _ROOM = 6, 256 * 2**20  # of the file's size, and what parsing anything takes
_TENSORFLOW = 2**29  # its threads reserve address space, which they do not use


def main(reader: str, path: str) -> int:
    """Read, print, and return the exit code."""
    module = importlib.import_module(f"workbench.inspection.{reader}")
    room = _ROOM
    if reader == "_graph_def":
        from workbench.runtimes.tensorflow import import_tensorflow

        import_tensorflow()
        room += _TENSORFLOW
    _limit(room + _TIMES * Path(path).stat().st_size)
    try:
        answer = {"facts": module.read(Path(path)).to_json()}
    except WorkbenchError as error:
        answer = {"error": {"what": error.what, "where": error.where, "fix": error.fix}}
    except MemoryError:
        return OUT_OF_MEMORY
    os.write(1, json.dumps(answer).encode())  # whole, after everything else could fail
    return 0


def _limit(more: int) -> None:
    """Allow this process `more` bytes of address space than it has now; only Linux says how much it has."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
