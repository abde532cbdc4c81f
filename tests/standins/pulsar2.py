"""A stand-in for AXera's closed `pulsar2`, for tests only: its documented command line, checks, log and output tree.

It compiles nothing. The `.axmodel` it writes has the documented container and says that it is a stand-in. STANDIN_FAIL
makes it fail in a documented way: licence, operator, signal, hang, nothing, empty, truncated, plain, silent; or ignore
what it is told: narrow (no layer gets 16 bits), unread (its list of widths is no JSON).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import onnx
from build_config import mistakes
from onnx import TensorProto, helper

VERSION, COMMIT = "7.0-standin", "0000standin"


class CodeError(Exception):
    """What the tool calls yamain.common.error.CodeException."""


def build(argv: list[str]) -> None:
    """`pulsar2 build`."""
    parser = argparse.ArgumentParser(prog="pulsar2 build", allow_abbrev=False)
    for name in ("input", "config", "output_dir", "target_hardware", "npu_mode", "output_name", "work_dir"):
        parser.add_argument(f"--{name}")
    given = {key: value for key, value in vars(parser.parse_args(argv)).items() if value is not None}
    config = json.loads(Path(given.pop("config")).read_text("utf-8")) | given
    if found := mistakes(config, "BuildConfig"):
        raise CodeError(f"ParseError: {found[0]}")
    print(f"[info] {VERSION} frontend: {config['input']}", flush=True)
    fail = os.environ.get("STANDIN_FAIL", "")
    if fail == "hang":
        print("[info] working", flush=True)
        time.sleep(600)
    model = onnx.load(config["input"])
    inputs = {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim) for value in model.graph.input
    }
    for data in config["quant"]["input_configs"]:
        calibrate(data, inputs)
    if fail == "operator":
        raise KeyError("dont support LRN opr in AXOPS/ONNXOPS/CUSTOM_OPS")
    if fail == "licence":
        raise CodeError("(<ErrorCode.NPUBackendError: 8>, RuntimeError('Sentinel key not found (H0007)'))")
    if fail == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    write(model, config, Path(config["output_dir"]), fail)


def calibrate(data: dict[str, object], inputs: dict[str, tuple[int, ...]]) -> None:
    """Read every sample, as the quantizer would."""
    name = str(data["tensor_name"])
    if name not in inputs:
        raise CodeError(f"tensor {name} is not an input of the model")
    with tarfile.open(str(data["calibration_dataset"])) as archive:
        members = [member for member in archive if member.isfile()]
        for member in members:
            content = archive.extractfile(member)
            assert content is not None
            if data["calibration_format"] == "Image":
                assert content.read(8) == b"\x89PNG\r\n\x1a\n", member.name
            else:
                tensor = np.load(io.BytesIO(content.read()), allow_pickle=False)
                assert tensor.dtype == np.float32, member.name
                assert tensor.shape == inputs[name], member.name
    if not members:
        raise CodeError(f"calibration dataset of {name} is empty")
    print(f"[info] calibrate {name}: {len(members)} samples", flush=True)


def write(model: onnx.ModelProto, config: dict[str, object], out: Path, fail: str) -> None:
    """The documented output tree."""
    for folder in ("frontend", "quant/debug", "compiler/debug"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    onnx.save(model, out / "frontend/optimized.onnx")
    (out / "build_context.json").write_text("{}")
    told = {} if fail == "narrow" else settings(config)
    (out / "quant/quant_axmodel.json").write_text("{" if fail == "unread" else json.dumps(widths(model, told)))
    if config["quant"]["precision_analysis"]:  # type: ignore[index]
        (out / "quant/debug/precision_analysis_table.txt").write_text("Quant Precision Table\n")
    weights = helper.make_tensor("npu_params", TensorProto.UINT8, [4], b"\0\1\2\3", raw=True)
    graph = {"name": "npu_0", "dotneus": [{"neu_key": "npu_params", "batch": 1, "extra_inputs": []}]}
    node = helper.make_node(
        "neu mode",
        [value.name for value in model.graph.input],
        [value.name for value in model.graph.output],
        neu_name="npu_0",
        npu_graph_info=json.dumps(graph),
        outputs_info="{}",
        version="1",
    )
    compiled = helper.make_model(
        helper.make_graph([node], "standin", model.graph.input, model.graph.output, [weights]),
        producer_name="Pulsar2 stand-in",
        doc_string=f"Pulsar2 Version:  {VERSION}\nPulsar2 Commit: {COMMIT}",
    )
    data = (model if fail == "plain" else compiled).SerializeToString()
    path = out / str(config.get("output_name", "compiled.axmodel"))
    if fail != "nothing":
        path.write_bytes({"empty": b"", "truncated": data[: len(data) // 2]}.get(fail, data))
    print("[info] max_cycle = 123456", flush=True)


def settings(config: dict[str, object]) -> dict[str, dict[str, str]]:
    """By layer name, the entry of layer_configs that names it."""
    entries = config["quant"].get("layer_configs", [])  # type: ignore[index]
    return {name: entry for entry in entries for name in entry.get("layer_names", [])}


def widths(model: onnx.ModelProto, told: dict[str, dict[str, str]]) -> dict[str, dict[str, dict[str, object]]]:
    """quant_axmodel.json: a layer reads what its data_type says, and its output takes what the next layers read."""
    constants = {tensor.name for tensor in model.graph.initializer}
    reads: dict[str, list[bool]] = {}
    for node in model.graph.node:
        for name in node.input:
            if name and name not in constants:
                reads.setdefault(name, []).append(told.get(node.name, {}).get("data_type") == "U16")
    found = {}
    for node in model.graph.node:
        entry = told.get(node.name, {})
        wide = entry.get("data_type") == "U16"
        tensors = {name: wide for name in node.input if name in reads}
        for name in node.output:
            tensors[name] = entry.get("output_data_type") == "U16" or any(reads.get(name, [wide]))
        found[node.name] = {name: {"bit_width": 16 if wide else 8} for name, wide in tensors.items()}
    return found


def main(argv: list[str]) -> int:
    """Run one command."""
    if os.environ.get("STANDIN_FAIL") == "silent":
        return 1
    match argv:
        case ["version"]:
            print(f"version: {VERSION}\ncommit: {COMMIT}")
        case ["build", *rest]:
            build(rest)
        case _:
            print("usage: pulsar2 {version,build} ...", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
