"""AXera's Pulsar2, a closed program: find it, run it, follow its log, and say what its failures mean.

`find` looks, `toolchain` runs, `container` is the engine's part, `phases` and `signatures` are tables of what the log
says, `failures` makes errors of them, `choice` is what the user asked for.
"""

from __future__ import annotations

from workbench.runtimes.pulsar2_tool.choice import Choice, of_environment
from workbench.runtimes.pulsar2_tool.container import CONTAINER_SCRIPT, LICENCES
from workbench.runtimes.pulsar2_tool.find import ENGINES, FIX, MISSING, find, missing, search_report
from workbench.runtimes.pulsar2_tool.toolchain import Toolchain

__all__ = [
    "CONTAINER_SCRIPT",
    "ENGINES",
    "FIX",
    "LICENCES",
    "MISSING",
    "Choice",
    "Toolchain",
    "find",
    "missing",
    "of_environment",
    "search_report",
]
