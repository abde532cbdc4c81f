"""A stand-in for AXera's closed `pulsar2`, for tests only: its documented command line, checks, log and output tree.

It compiles nothing for any chip. Its `.axmodel` has the documented container, says that it is a stand-in, and holds a
model that onnxruntime quantized, which `pulsar2 run` of this stand-in executes.

STANDIN_FAIL makes it fail in a documented way (`FAILURES`); ``hang@PHASE`` and ``signal@PHASE`` choose the phase.
STANDIN_VERSION changes the version that it says; STANDIN_PID names a file that receives its process id and where it
stands still.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pulsar2_parts.talk import COMMIT, LABEL, VERSION, CodeException, ErrorCode, bar, log

FAIL, _, AT = os.environ.get("STANDIN_FAIL", "").partition("@")
FAILURES = {
    "licence": "no licence when the model is assembled (H0007)",
    "operator": "an operator that is not in the chip's table",
    "crash": "a traceback that ends in a CodeException; of `run`, one of another kind",
    "signal": "killed by the kernel",
    "hang": "works for ever, after a line of log",
    "quiet-hang": "works for ever and prints nothing",
    "silent": "prints nothing and exits 1, whatever is asked",
    "nospace": "the disk is full",
    "nothing": "ends well and writes no model; of `run`, no output",
    "empty": "ends well and writes an empty model",
    "truncated": "ends well and writes half a model",
    "plain": "ends well and writes a model without an NPU part",
    "link": "ends well and leaves a link where the model should be",
    "written": "writes a good model and exits 3",
    "narrow": "leaves every tensor at 8 bits, whatever layer_configs says",
    "unread": "its list of widths is no JSON",
    "unlisted": "its list of widths misses every tensor, as if they were renamed",
    "short": "writes half of every output of `run`",
    "nan": "writes outputs of NaN in `run`",
    "version": "says a version that is none",
}
PHASES = ("frontend", "calibration", "quantize", "precision", "compile", "assemble", "write", "run")


def build(argv: list[str]) -> int:
    """`pulsar2 build`."""
    if FAIL == "quiet-hang":
        time.sleep(600)
    from pulsar2_parts import container, frontend, inputs, precision, quantizing, table, tree
    from pulsar2_parts.samples import samples
    from pulsar2_parts.settings import of_tensor, settings

    config = settings(argv)
    chip, quant, out, work = (
        config["target_hardware"],
        config["quant"],
        Path(config["output_dir"]),
        Path(config["work_dir"]),
    )
    print(f"[{LABEL}]", flush=True)
    log("command.build:fill_default:302", f"version {VERSION}, frontend: {config['input']}", "WARNING")
    phase("frontend")
    model = frontend.load(Path(config["input"]), chip, config.get("input_shapes", ""), config.get("model_type", "ONNX"))
    if FAIL == "operator":
        raise KeyError("dont support LRN opr in AXOPS/ONNXOPS/CUSTOM_OPS")
    shapes = {value.name: frontend.sizes(value) for value in model.graph.input}
    processors, datasets = config.get("input_processors", []), quant.get("input_configs", [])
    for entry in (*processors, *datasets):
        if entry["tensor_name"] not in (*shapes, "DEFAULT"):
            raise KeyError(f"tensor {entry['tensor_name']} is not an input of the model: {sorted(shapes)}")
    tree.optimized(model, work)

    phase("calibration")
    found = {}
    for name, shape in shapes.items():
        dataset = of_tensor(datasets, name)
        if not dataset:
            raise ValueError(f"no calibration dataset for input {name}")
        log(
            "common.util:extract_archive:140",
            f"extract [{dataset['calibration_dataset']}] to [{work}/quant/dataset]...",
        )
        found[name] = samples(dataset, of_tensor(processors, name), name, shape)
        print(f"{len(found[name])} File(s) Loaded.", flush=True)
    count = min(len(one) for one in found.values())
    feeds = [{name: one[index] for name, one in found.items()} for index in range(count)]

    phase("quantize")
    entries = [] if FAIL == "narrow" else quant.get("layer_configs", [])
    wide = precision.wide(model, entries)
    bar("Calibration Progress(Phase 1)", count)
    if config.get("model_type") == "QuantONNX":
        quantized = model
    else:
        quantized = quantizing.quantize(model, feeds, wide, quant.get("calibration_method", "MinMax"))
    print("Network Quantization Finished.", flush=True)
    tree.quantized(quantized, work, chip)
    if FAIL in ("unread", "unlisted"):
        (work / "quant/quant_axmodel.json").write_text("{" if FAIL == "unread" else '{"tensor_configs": {}}')

    phase("precision")
    if quant.get("precision_analysis"):
        method = quant.get("precision_analysis_method", "PerLayer")
        title = f"Quant Precision Table【{method} {quant.get('precision_analysis_mode', 'Reference')}】"
        rows = table.analyse(model, quantized, feeds[0], method == "EndToEnd")
        tree.precision(table.render(rows, title), work)

    phase("compile")
    counts = frontend.macs(model)
    cycles = tree.spent(counts, quantized)
    log("command.build:compile_ptq_model:1123", f"group 0 QuantAxModel macs: {sum(counts.values()):,}")
    log("command.build:compile_ptq_model:1255", "subgraph [0], group: 0, type: GraphType.NPU")
    if FAIL == "crash":
        cause = RuntimeError("tiling failed")
        raise CodeException(ErrorCode.NPUBackendError, cause)
    if FAIL == "nospace":
        raise OSError(28, "No space left on device", str(work / "compiler"))
    log("test_onepass:results2model:2700", f"max_cycle = {sum(cycles.values()):,}")
    if config["compiler"].get("npu_perf"):
        tree.profile(quantized, cycles, tree.known_shapes(model), work)

    phase("assemble")
    log("command.npu_backend_compiler:compile:233", f"assemble model [0] [{container.GRAPH}] b1")
    if FAIL == "licence":
        raise CodeException(ErrorCode.NPUBackendError, RuntimeError("Sentinel key not found (H0007)"))
    for name in shapes:
        inputs.embed(quantized, name, of_tensor(processors, name), of_tensor(datasets, name))
    tree.context(config, out)
    data = (
        quantized.SerializeToString(deterministic=True)
        if FAIL == "plain"
        else container.pack(quantized, batches(config["compiler"]))
    )
    return deliver(data, out / config["output_name"])


def batches(compiler: dict[str, Any]) -> list[int]:
    """The batch sizes that share a compiled model: 1, those of the list, and 2, 4 and so on up to the limit."""
    limit = compiler.get("max_dynamic_batch_size", 0)
    doubled = [2**power for power in range(1, limit.bit_length()) if 2**power <= limit]
    return sorted({1, *compiler.get("static_batch_sizes", []), *doubled})


def deliver(data: bytes, path: Path) -> int:
    """Write the compiled model, or what STANDIN_FAIL says instead; returns the exit code."""
    if FAIL == "link":
        path.with_suffix(".elsewhere").write_bytes(data)
        path.symlink_to(path.with_suffix(".elsewhere"))
    elif FAIL != "nothing":
        path.write_bytes({"empty": b"", "truncated": data[: len(data) // 2]}.get(FAIL, data))
    phase("write")
    log("command.build:compile_ptq_model:1297", "fuse 1 subgraph(s)")
    return 3 if FAIL == "written" else 0


def phase(name: str) -> None:
    """Enter a phase: the place where STANDIN_FAIL may stop or kill it."""
    assert name in PHASES
    if FAIL in ("hang", "signal") and name == (AT or "frontend"):
        print(f"standing still at {name}", flush=True)
        note(name)
        if FAIL == "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)


def note(text: str) -> None:
    """Write the process id and `text` for a test that waits or wants to end this process."""
    if path := os.environ.get("STANDIN_PID"):
        aside = Path(f"{path}.{os.getpid()}")
        aside.write_text(f"{os.getpid()} {text}")
        aside.replace(path)


def main(argv: list[str]) -> int:
    """Run one command."""
    note("started")
    if FAIL == "silent":
        return 1
    options: Any = argv[1:]
    match argv[:1]:
        case ["version"]:
            version = "unknown" if FAIL == "version" else os.environ.get("STANDIN_VERSION", VERSION)
            print(f"version: {version}\ncommit: {COMMIT}")
        case ["build"]:
            return build(options)
        case ["run"]:
            from pulsar2_parts.running import run

            phase("run")
            run(options, FAIL)
        case _:
            print("usage: pulsar2 {version,build,run} ...", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
