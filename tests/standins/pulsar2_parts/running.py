"""`pulsar2 run`: raw files in, the model in onnxruntime, raw files out, the documented lines on the way."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

import numpy as np
import onnx

from pulsar2_parts.container import GRAPH, unpack
from pulsar2_parts.talk import log

_DTYPES = {
    "tensor(float)": "<f4",
    "tensor(uint8)": "u1",
    "tensor(int8)": "i1",
    "tensor(uint16)": "<u2",
    "tensor(int16)": "<i2",
    "tensor(uint32)": "<u4",
    "tensor(int32)": "<i4",
    "tensor(int64)": "<i8",
    "tensor(float16)": "<f2",
}


def run(argv: list[str], fail: str) -> None:
    """Run every sample; `fail` may be nothing, short or nan (as outputs), or crash."""
    import onnxruntime

    given = _arguments(argv)
    if fail == "crash":
        raise RuntimeError("NPUBackendError: no such instruction")
    model = unpack(Path(given.model))
    if given.group_index:
        raise ValueError(f"group_index {given.group_index} out of range, the model has 1 group")
    if given.enable_perlayer_output:
        _expose(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    print("Building native ━━━━━━━━━━━━━━━━━━━━ 100% 0:00:00", flush=True)
    samples = Path(given.list).read_text("utf-8").split() if given.list else ["."]
    for sample in samples:
        log("command.run:run:90", f">>> [{sample}] start")
        log("npu_subgraph_op:pyrun:89", f"running npu subgraph: {GRAPH}, version: 1, target batch: {given.batch_size}")
        feeds = {one.name: _read(Path(given.input_dir, sample), one) for one in session.get_inputs()}
        names = [one.name for one in session.get_outputs()]
        for name, array in zip(names, session.run(names, feeds), strict=True):
            _write(Path(given.output_dir, sample), name, array, fail)
        log("command.run:run:104", f">>> [{sample}] finish")


def file_name(tensor: str) -> str:
    """The documented name of a tensor's file."""
    return re.sub("[^a-zA-Z0-9_-]", "_", tensor) + ".bin"


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pulsar2 run", allow_abbrev=False)
    for name in ("model", "input_dir", "output_dir"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--list", default="")
    parser.add_argument("--batch_size", type=int, default=0)
    parser.add_argument("--group_index", type=int, default=0)
    parser.add_argument("--mode", choices=("Reference", "NPUBackend"), default="Reference")
    parser.add_argument("--target_hardware", default="AX650")
    parser.add_argument("--enable_perlayer_output", nargs="?", const="1")
    return parser.parse_args(argv)


def _read(folder: Path, port: object) -> np.ndarray:
    path = folder / file_name(port.name)  # type: ignore[attr-defined]
    array = np.frombuffer(path.read_bytes(), _DTYPES[port.type])  # type: ignore[attr-defined]
    return array.reshape(port.shape)  # type: ignore[attr-defined]


def _write(folder: Path, name: str, array: np.ndarray, fail: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(name)
    if fail == "nan":
        array = np.full_like(array, np.nan)
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    if fail == "short":
        data = data[: len(data) // 2]
    if fail != "nothing":
        path.write_bytes(data)
    log("command.run:write_output:55", f"write [{name}] to [{os.fspath(path)}] successfully, size: {len(data)}")


def _expose(model: onnx.ModelProto) -> None:
    """Make every tensor an output."""
    named = {one.name for one in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in named:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
