"""The documented output tree: what each phase leaves in the work folder, and the compiled model beside it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import onnx

from pulsar2_parts.frontend import sizes
from pulsar2_parts.quantizing import Operator, description, operators
from pulsar2_parts.table import kind
from pulsar2_parts.talk import COMMIT, LABEL, VERSION, log

_MACS_A_CYCLE = 2048  # roughly a chip of a few TOPS; the figures are made up, and only have to be the same every time


def optimized(model: onnx.ModelProto, work: Path) -> None:
    """``frontend/optimized.onnx``."""
    path = _made(work / "frontend/optimized.onnx")
    path.write_bytes(model.SerializeToString(deterministic=True))
    log("command.build:quant:806", f"save optimized onnx to [{path}]")


def quantized(model: onnx.ModelProto, work: Path, chip: str) -> None:
    """``quant/quant_axmodel.json``, ``.onnx`` with the vendor's operators and without weights, and ``.data``."""
    text = json.dumps(description(model, chip), indent=2)
    _made(work / "quant/quant_axmodel.json").write_text(text, "utf-8")
    data = model.SerializeToString(deterministic=True)
    (work / "quant/quant_axmodel.data").write_bytes(data)  # what the stand-in runs; the vendor's holds weights
    nodes = [
        onnx.helper.make_node(kind(one.kind), list(one.reads), list(one.makes), one.name) for one in operators(model)
    ]
    graph = onnx.helper.make_graph(nodes, "quant", model.graph.input, model.graph.output, doc_string=LABEL)
    proto = onnx.helper.make_model(graph, producer_name="Pulsar2 stand-in", doc_string=LABEL)
    (work / "quant/quant_axmodel.onnx").write_bytes(proto.SerializeToString(deterministic=True))
    print(f"quant.axmodel export success: \n\t{work}/quant/quant_axmodel.onnx", flush=True)


def precision(text: str, work: Path) -> None:
    """``quant/debug/precision_analysis_table.txt`` and a graph beside it; the table goes to the log, too."""
    path = _made(work / "quant/debug/precision_analysis_table.txt")
    path.write_text(text, "utf-8")
    path.with_name("precision_analysis.mmd").write_text("graph TD\n", "utf-8")
    print(text, end="", flush=True)
    log("command.precision_analysis:quant_precision_analysis:401", f"save precision analysis table to [{path}]")
    graph = path.with_name("precision_analysis.mmd")
    log("command.precision_analysis:quant_precision_analysis:409", f"save precision analysis graph to [{graph}]")


def profile(model: onnx.ModelProto, cycles: dict[str, int], shapes: dict[str, tuple[int, ...]], work: Path) -> None:
    """``trace.json`` and ``op_profile.csv`` of the only subgraph; of the CSV's columns three are known for certain."""
    folder = _made(work / "compiler/debug/subgraph_npu_0/b1/trace.json").parent
    events: list[dict[str, Any]] = []
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["op", "type", "cycles", "inputs", "outputs"])
    start = 0
    for one in operators(model):
        spent = cycles.get(one.name, 1)
        engine = "conv0" if one.kind in ("Conv", "ConvTranspose", "Gemm", "MatMul") else "teng2"
        event = {"ph": "X", "pid": "subgraph_npu_0", "tid": engine, "name": one.name, "ts": start, "dur": spent}
        events.append(event | {"args": {"cname": kind(one.kind)}})
        rows.writerow([one.name, kind(one.kind), spent, _shapes(list(one.reads), shapes), _shapes(one.makes, shapes)])
        start += spent
    (folder / "trace.json").write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}), "utf-8")
    (folder / "op_profile.csv").write_text(table.getvalue(), "utf-8")


def spent(counts: dict[str, int], model: onnx.ModelProto) -> dict[str, int]:
    """Made-up cycles of every operator of the quantized graph, from the multiplications of its float node."""
    return {one.name: 100 + counts.get(_float_name(one, counts), 0) // _MACS_A_CYCLE for one in operators(model)}


def known_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Every shape that the float model declares."""
    graph = model.graph
    return {value.name: sizes(value) for value in (*graph.input, *graph.value_info, *graph.output)}


def context(config: dict[str, Any], out: Path) -> None:
    """``build_context.json``: the configuration as it was after the command line."""
    told = {"toolchain_version": VERSION, "toolchain_commit": COMMIT, "target_platform": config["target_hardware"]}
    _made(out / "build_context.json").write_text(json.dumps({**told, "about": LABEL, "cfg": config}, indent=2), "utf-8")


def _float_name(one: Operator, counts: dict[str, int]) -> str:
    return one.name if one.name in counts else one.name.removesuffix("_quant")


def _shapes(names: list[str] | tuple[str, ...], shapes: dict[str, tuple[int, ...]]) -> str:
    return ";".join(f"{name}:{shapes[name]}" for name in names if name in shapes)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
