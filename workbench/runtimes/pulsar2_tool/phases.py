"""What the tool is doing, read from its log: a table of the lines it is known to print, and a listener that follows it.

The lines are those of the logs in the vendor's quick start guides (2.4 to 7.0). A line that no row knows still counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.engine.progress import Progress
from workbench.runtimes._process import plain

STALLED = 120.0
"""Seconds without a line after which the silence is told; then after twice as long, and so on."""


@dataclass(frozen=True)
class Phase:
    """A part of the work: `doing` completes "failed while ..."; `lines` finds a line that only this part prints."""

    name: str
    doing: str
    lines: str


PHASES = (
    Phase("start", "starting", r"(?!)"),
    Phase(
        "frontend",
        "reading and optimizing the graph",
        r"extract(?:_archive|ing)? \[|patool: |Building onnx|onnxslim|parse_onnx|optimize_onnx|optimized onnx"
        r"|:fill_default:|\bfrontend\b",
    ),
    Phase(
        "quant",
        "quantizing",
        r"Quant Config Table|Transformer optimize level|Quantization calibration|\] AX [\w ]+ Running"
        r"|Stati?sti?cs? Inf tensor|Calibration Progress|\bcalibrate\b|Get Outlier|Tuning Procedure|# Block \[",
    ),
    Phase(
        "export",
        "exporting the quantized graph",
        r"Network Quantization Finished|quant\.axmodel export|===>export|Writing n(?:py|pz)|quant optimization",
    ),
    Phase("precision", "analysing precision", r"Quant Precision Table|precision analysis|per ?layer (?:cosin|debug)"),
    Phase(
        "compile",
        "compiling for the NPU",
        r"compile_(?:ptq_model|npu_subgraph):|schedule npu subgraph|tiling op|build op|ddr swap|calc (?:in|out)put dep"
        r"|assign eu|max_cycle|build jobs|assemb(?:el|le) model",
    ),
    Phase("check", "checking the compiled model", r"\bcheck (?:npu|assembl|compiled|result|axmodel)"),
    Phase("finish", "writing the compiled model", r"fuse \d+ subgraph"),
)

# How the traceback of a failure names the part: CodeException: (<ErrorCode.QuantError: 3>, ...).
ERROR_CODES = {"OnnxOptimizationError": "frontend", "QuantError": "quant", "NPUBackendError": "compile"}

_ANY = re.compile("|".join(f"(?P<{phase.name}>{phase.lines})" for phase in PHASES), re.IGNORECASE)
_ORDER = {phase.name: index for index, phase in enumerate(PHASES)}
_COUNTS = (
    re.compile(r"^\s*#?\s*(?P<what>[^|]{2,60}?)\s*:\s+\d+%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+)"),  # tqdm
    re.compile(r"^\s*(?P<what>[\w ]{2,60}?)[. ]*\s[━╸╺─╴ ]*\s?(?P<done>\d+)/(?P<total>\d+)\s+\d+:\d\d"),  # rich
    re.compile(r"^\s*#?\s*(?P<what>Block) \[(?P<done>\d+) / (?P<total>\d+)\]"),
)


def named(name: str) -> Phase:
    """The phase of that name."""
    return PHASES[_ORDER[name]]


class Following:
    """A listener that turns the log into phases and counts.

    Args:
        progress: hears "quant: Calibration Progress(Phase 1), 12 of 32"; of a line without a count, how many came.
        command: what runs, for the note about a silence: ``pulsar2 build``.

    Attributes:
        phase: the furthest part that was reached.
        last: the last line, without colours.
    """

    def __init__(self, progress: Progress, command: str = "pulsar2") -> None:
        self.phase = PHASES[0]
        self.last = ""
        self.progress, self._command = progress, command
        self._count, self._told = 0, STALLED
        progress.step(0, None, "log lines")

    def lines(self, new: Sequence[str]) -> None:
        """Look for phases and counts."""
        self._count += len(new)
        self._told = STALLED
        shown: tuple[int, int, str] | None = None
        for raw in new:
            line = plain(raw[:1000])
            if not line.strip():
                continue
            self.last = line.strip()
            reached = max((_ORDER[found.lastgroup or "start"] for found in _ANY.finditer(line)), default=0)
            if reached > _ORDER[self.phase.name]:
                self.phase, shown = PHASES[reached], None
            shown = _counted(line) or shown
        if shown is None:
            self.progress.step(self._count, None, f"log lines, {self.phase.doing}")
        else:
            done, total, what = shown
            self.progress.step(done, total, f"{self.phase.name}: {what}")

    def silent(self, seconds: float) -> None:
        """Tell a long silence once, and again when it has doubled."""
        if seconds >= self._told:
            self.progress.note(f"{self._command} has printed nothing for {seconds:.0f} s, {self.phase.doing}")
            self._told *= 2


def _counted(line: str) -> tuple[int, int, str] | None:
    """Done, total and what a progress bar counts."""
    if "/" not in line:
        return None
    for pattern in _COUNTS:
        found = pattern.match(line)
        if found and 0 < len(found["total"]) < 10:
            return int(found["done"]), int(found["total"]), found["what"].strip(" .#")
    return None
