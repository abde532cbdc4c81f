"""Wall time and peak memory of whole processes, in pairs, since machines drift."""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def process(arguments: Sequence[str], **options) -> tuple[float, float]:
    """Seconds and peak MB of one child process, as the system accounts it."""
    code = (
        "import resource, subprocess, sys, time; t = time.perf_counter();"
        "r = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode;"
        "print(time.perf_counter() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3, r)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=ROOT, **options
    )
    seconds, megabytes, status = run.stdout.split()
    assert status in ("0", "4"), f"{arguments} ended with {status}"
    return float(seconds), float(megabytes)


def paired(a: Callable[[], object], b: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of `a` and of `b`, run in turn, and the median of their ratios pair by pair."""
    pairs = []
    for _ in range(rounds):
        times = []
        for work in (a, b):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        pairs.append(times)
    ratio = statistics.median(one / other for one, other in pairs)
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs), ratio


def own_peak() -> float:
    """Peak MB of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
