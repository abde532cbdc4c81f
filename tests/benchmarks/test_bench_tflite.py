"""Our TFLite file of CPM beside the published one: the same numbers, and the same time on one thread."""

import os
import subprocess
import sys

import numpy as np
import pytest
from benchmarks import _timing

PUBLISHED = _timing.SHARED / "models" / "cpm" / "published.tflite"


@pytest.mark.benchmark
def test_latency_against_the_published_file(tmp_path):
    """Single-thread latency in pairs; the aim is a ratio of at most 1.1, and equal outputs within 1e-5."""
    if not PUBLISHED.is_file():
        pytest.skip(f"no {PUBLISHED.name} beside the repository")
    from ai_edge_litert.interpreter import Interpreter

    environment = {
        **os.environ,
        "WORKBENCH_HOME": str(tmp_path / "home"),
        "WORKBENCH_MIRROR": str(PUBLISHED.parent),
    }
    command = [sys.executable, "-m", "workbench", "convert", "recipes/cpm.yaml", "--dist", str(tmp_path / "dist")]
    subprocess.run(command, cwd=_timing.ROOT, env=environment, check=True)
    picture = np.random.default_rng(0).uniform(0, 255, (1, 192, 192, 3)).astype(np.float32)

    def runner(path):
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
        return interpreter

    ours, theirs = runner(tmp_path / "dist" / "cpm" / "cpm.fp32.tflite"), runner(PUBLISHED)
    for interpreter in (ours, theirs):
        interpreter.invoke()
    mine, published, ratio = _timing.paired(ours.invoke, theirs.invoke, 101)
    outputs = [one.get_tensor(one.get_output_details()[0]["index"]) for one in (ours, theirs)]
    worst = float(np.abs(outputs[0] - outputs[1]).max())
    print(f"\nours {mine * 1e3:.1f} ms, published {published * 1e3:.1f} ms, ratio {ratio:.3f} (aim <= 1.1)")
    print(f"largest difference of the outputs {worst:.1e} (aim <= 1e-5)")
