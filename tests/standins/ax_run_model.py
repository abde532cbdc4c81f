"""A stand-in for `ax_run_model`, AXera's program on the board, for tests only: its command line, files and times.

It runs what the stand-in pulsar2 compiled. The file named by STANDIN_FAIL_FILE makes it fail: crash, space, short,
missing, nan, endless (prints without an end), hang.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from pulsar2_parts.container import unpack
from pulsar2_parts.running import _read, _write


def main(argv: list[str]) -> int:
    """Run the model on every sample of the list."""
    parser = argparse.ArgumentParser(prog="ax_run_model", allow_abbrev=False)
    for short, name in (("-m", "model"), ("-i", "input-folder"), ("-o", "output-folder"), ("-l", "list")):
        parser.add_argument(short, f"--{name}", required=True)
    parser.add_argument("-w", "--warmup", type=int, default=0)
    parser.add_argument("-r", "--repeat", type=int, default=1)
    parser.add_argument("--use-tensor-name", action="store_true")
    given = parser.parse_args(argv)
    told = Path(os.environ.get("STANDIN_FAIL_FILE", ""))
    fail = told.read_text().strip() if told.is_file() else ""
    if count := os.environ.get("STANDIN_STARTS"):
        with Path(count).open("a") as file:
            file.write("start\n")
    if fail == "hang":
        print("waiting for the NPU", flush=True)
        time.sleep(600)
    while fail == "endless":
        print("[E] axcl: retry " + "." * 200, flush=True)
    if fail == "crash":
        print("[ERROR] ax_engine: create handle failed, ret=0x80060082\x1b[0m", flush=True)
        return 1
    if not given.use_tensor_name:
        print("the stand-in knows tensors by name only")
        return 2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    model = unpack(Path(given.model)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    print("Run AxModel:\n      model: " + given.model)
    names = [one.name for one in session.get_outputs()]
    for sample in Path(given.list).read_text("utf-8").split():
        feeds = {one.name: _read(Path(given.input_folder, sample), one) for one in session.get_inputs()}
        if fail == "space":
            print(f"write {given.output_folder}/{sample}: No space left on device")
            return 1
        for name, array in zip(names, session.run(names, feeds), strict=True):
            _write(Path(given.output_folder, sample), name, array, "nothing" if fail == "missing" else fail)
    print("  " + "-" * 60)
    print("  min =   7.658 ms   max =   7.672 ms   avg =   7.662 ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
