"""Time and peak memory of watching calibration pictures: ours beside onnxruntime's calibrators, on the same network.

As a script, with numbers of pictures: python tests/benchmarks/test_bench_observers.py 16 64
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for a run as a script
from benchmarks import _observing, _timing

CPM = _timing.SHARED / "models" / "cpm"
LIMIT_GB = 6
PATIENCE = 900  # seconds for one observation
PICTURES = (16, 64, 256, 1024)
OURS = ("ours MinMax", "ours histograms", "ours all four methods")
THEIRS = ("onnxruntime MinMax", "onnxruntime Percentile", "onnxruntime Entropy")


def network(folder: Path) -> Path:
    """The canonical graph of CPM where its weights are beside the repository, else of a seeded network."""
    if not (CPM / "model.pb").is_file():
        return seeded(folder)
    environment = {**os.environ, "WORKBENCH_HOME": str(folder / "home"), "WORKBENCH_MIRROR": str(CPM)}
    command = [sys.executable, "-m", "workbench", "convert", "recipes/cpm.yaml", "--dist", str(folder)]
    subprocess.run(command, cwd=_timing.ROOT, env=environment, check=False, capture_output=True)
    return folder / "cpm" / "cpm.onnx"


def seeded(folder: Path) -> Path:
    """Four stages of convolutions that meet in Concats, at 96x96, with fixed random weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def convolve(source, target, inputs, outputs, size, stride=1):
        values = rng.normal(0, (2 / (inputs * size * size)) ** 0.5, (outputs, inputs, size, size)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{target}_w"))
        pads = [size // 2] * 4
        nodes.append(
            helper.make_node("Conv", [source, f"{target}_w"], [f"{target}_c"], pads=pads, strides=[stride] * 2)
        )
        nodes.append(helper.make_node("Relu", [f"{target}_c"], [target]))

    convolve("image", "wide", 3, 32, 3, 2)
    beside, channels = "wide", 32
    for stage in range(4):
        for layer in range(8):
            convolve(beside if layer == 0 else f"l{stage}_{layer - 1}", f"l{stage}_{layer}", channels, 32, 3)
            channels = 32
        nodes.append(helper.make_node("Concat", ["wide", f"l{stage}_7"], [f"s{stage}"], axis=1))
        beside, channels = f"s{stage}", 64
    convolve(beside, "heat", channels, 14, 1)
    graph = helper.make_graph(
        nodes,
        "seeded",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 192, 192])],
        [helper.make_tensor_value_info("heat", TensorProto.FLOAT, [1, 14, 96, 96])],
        weights,
    )
    path = folder / "seeded.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def measure(what: str, count: int, model: Path) -> tuple[float, float] | str:
    """Seconds and peak MB of one observation in a process of its own, or why there are none."""
    command = [sys.executable, _observing.__file__, what, str(count), str(model), str(LIMIT_GB)]
    environment = {**os.environ, "PYTHONPATH": str(_timing.ROOT)}
    try:
        run = subprocess.run(
            command, cwd=_timing.ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"> {PATIENCE} s"
    if run.returncode == 0:
        seconds, peak = json.loads(run.stdout.splitlines()[-1])
        return seconds, peak
    text = run.stderr.lower()
    if run.returncode < 0 or "memoryerror" in text or "alloc" in text:
        return f"> {LIMIT_GB} GB"
    raise AssertionError(f"{what} failed:\n{run.stderr[-2000:]}")


def table(counts) -> dict[tuple[str, int], tuple[float, float] | str]:
    """Print the table line by line; what could not be done with fewer pictures is not tried with more."""
    found: dict[tuple[str, int], tuple[float, float] | str] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = network(Path(folder))
        print(f"\n{model.name}, {len(os.sched_getaffinity(0)) if sys.platform == 'linux' else os.cpu_count()} cores")
        print(f"{'pictures':24}" + "".join(f"{count:>18}" for count in counts), flush=True)
        for what in (*OURS, *THEIRS):
            print(f"{what:24}", end="", flush=True)
            last: tuple[float, float] | str = ""
            for count in counts:
                last = "not tried" if last and isinstance(last, str) else measure(what, count, model)
                found[what, count] = last
                text = last if isinstance(last, str) else f"{last[0]:.1f} s {last[1]:.0f} MB"
                print(f"{text:>18}", end="", flush=True)
            print()
    return found


@pytest.mark.benchmark
def test_observers_beside_onnxruntime():
    """Our memory is that of 16 pictures for any number of them; the times are printed, and judged by nobody."""
    found = table(PICTURES)
    for what in OURS:
        peaks = [found[what, count][1] for count in PICTURES]
        assert max(peaks) < 1.25 * peaks[0], f"{what} takes {peaks} MB"


if __name__ == "__main__":
    table([int(count) for count in sys.argv[1:]] or PICTURES)
