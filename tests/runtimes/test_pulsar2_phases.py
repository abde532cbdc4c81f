"""Following a log: phases, counts, silences."""

from __future__ import annotations

import pytest

from workbench.engine.progress import Silent
from workbench.runtimes.pulsar2_tool.phases import Following

# In the order of the log in the vendor's quick start guide.
LOG = [
    ("2024-09-25 11:45:26.533 | WARNING | yamain.command.build:fill_default:300 - apply default output", "frontend"),
    ("2024-09-25 11:45:26.534 | INFO | yamain.common.util:extract_archive:181 - extract [a.tar] to [o]", "frontend"),
    ("Building onnx ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 100% 0:00:00", "frontend"),
    ("                               Quant Config Table                               ", "quant"),
    ("[11:45:28] AX Set MixPrecision Pass Running ...           ", "quant"),
    ("Calibration Progress(Phase 1):  50%|█████     | 16/32 [00:01<00:01,  8.89it/s]", "quant"),
    ("Network Quantization Finished.", "export"),
    ("===>export io data to folder: output/quant/debug/io", "export"),
    ("                   Quant Precision Table【PerLayer Reference】", "precision"),
    ("2024-09-25 | INFO | yamain.command.build:compile_ptq_model:1035 - group 0 compiler transformation", "compile"),
    ("tiling op...   ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 68/68 0:00:00", "compile"),
    ("2024-09-25 | INFO | yasched.test_onepass:results2model:2542 - max_cycle = 450,154", "compile"),
    ("2024-09-25 | INFO | yamain.command.build:compile_ptq_model:1142 - fuse 1 subgraph(s)", "finish"),
]


class Telling(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int | None, str]] = []
        self.notes: list[str] = []

    def step(self, done: int, total: int | None, what: str) -> None:
        self.steps.append((done, total, what))

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_the_documented_log_goes_through_the_phases_in_order():
    """Each documented line leaves the follower in its phase."""
    following = Following(Silent())
    for line, phase in LOG:
        following.lines([line])
        assert following.phase.name == phase, line


def test_phases_only_advance():
    """A word of an earlier phase in a later one changes nothing."""
    following = Following(Silent())
    following.lines(["tiling op...", "Building onnx"])
    assert following.phase.name == "compile"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Calibration Progress(Phase 1):   6%|▋         | 2/32 [00:00<00:02, 14.13it/s]",
         (2, 32, "quant: Calibration Progress(Phase 1)")),
        ("# Tuning Procedure : 100%|█████████| 50/50 [00:11<00:00,  4.55it/s]", (50, 50, "quant: Tuning Procedure")),
        ("# Block [1 / 51]: [['207'] -> ['211']]", (1, 51, "quant: Block")),
        ("build op serially...   ━━━━━━━━━━━━━━━━━━━━━ 649/649 0:00:02", (649, 649, "compile: build op serially")),
        ("assign eu onepass   ━━━━━━━━━━━━ 921/921 0:00:00", (921, 921, "start: assign eu onepass")),
        ("add ddr swap...   ━━━━━━━ 497/497 0:00:00", (497, 497, "compile: add ddr swap")),
    ],
)  # fmt: skip
def test_progress_bars_become_counts(line, told):
    """Bars of tqdm and of rich, as the vendor's log has them."""
    progress = Telling()
    following = Following(progress)
    following.lines([line])
    got = progress.steps[-1]
    assert (got[0], got[1]) == told[:2]
    assert got[2].partition(": ")[2] == told[2].partition(": ")[2]


def test_unknown_lines_are_counted():
    """Lines that no row knows still move."""
    progress = Telling()
    following = Following(progress)
    following.lines(["what is this"] * 7)
    assert progress.steps[-1] == (7, None, "log lines, starting")
    following.lines(["\x1b[31mBuilding onnx\x1b[0m"])
    assert progress.steps[-1] == (8, None, "log lines, reading and optimizing the graph")


def test_a_path_or_a_date_is_no_count():
    """A slash between numbers is not always progress."""
    progress = Telling()
    Following(progress).lines(["2024/09/25 11:45 working on 3/4 of it", "/data/1/2", "a: 5%|x| 1/0 ["])
    assert progress.steps[-1][1] is None


def test_a_silence_is_told_once_and_again_when_it_doubled():
    """A tool that prints nothing for long is noted, with the phase it is in."""
    progress = Telling()
    following = Following(progress, "pulsar2 build")
    following.lines(["tiling op"])
    for seconds in (60.0, 121.0, 130.0, 200.0, 241.0, 300.0):
        following.silent(seconds)
    assert progress.notes == [
        "pulsar2 build has printed nothing for 121 s, compiling for the NPU",
        "pulsar2 build has printed nothing for 241 s, compiling for the NPU",
    ]
    following.lines(["again"])
    following.silent(125.0)
    assert len(progress.notes) == 3
