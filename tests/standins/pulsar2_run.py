"""A stand-in for `pulsar2 run`, for tests only: its documented command line and files; every output is 2 x the input.

STANDIN_FAIL makes it fail: nothing (no output file), short (half of one), crash.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import onnx


def file_name(tensor: str) -> str:
    """The documented name of a tensor's file."""
    return re.sub("[^a-zA-Z0-9_-]", "_", tensor) + ".bin"


def run(argv: list[str]) -> None:
    """`pulsar2 run` of a model with one output that is as large as its first input."""
    import numpy as np

    parser = argparse.ArgumentParser(prog="pulsar2 run", allow_abbrev=False)
    for name in ("model", "input_dir", "output_dir", "list"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args(argv)
    fail = os.environ.get("STANDIN_FAIL", "")
    if fail == "crash":
        raise RuntimeError("NPUBackendError: no such instruction")
    graph = onnx.load(given.model).graph
    for sample in Path(given.list).read_text().split():
        data = (Path(given.input_dir) / sample / file_name(graph.input[0].name)).read_bytes()
        result = (np.frombuffer(data, "<f4") * 2).astype("<f4").tobytes()
        folder = Path(given.output_dir) / sample
        folder.mkdir(parents=True, exist_ok=True)
        for output in graph.output:
            path = folder / file_name(output.name)
            if fail != "nothing":
                path.write_bytes(result[: len(result) // 2] if fail == "short" else result)
            print(f"write [{output.name}] to [{path}] successfully")


if __name__ == "__main__":
    if sys.argv[1:] == ["version"]:
        print("version: 7.0-standin\ncommit: 0000standin")
    elif sys.argv[1:2] == ["run"]:
        run(sys.argv[2:])
    else:
        sys.exit("usage: pulsar2 {version,run} ...")
