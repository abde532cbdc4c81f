"""Compiled `.axmodel` files of AXera's NPUs: what they hold, and a runner when this machine has one.

The file is an ONNX protobuf whose weights hang on no node, so it is read and never written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from workbench.errors import ToolError
from workbench.graph.io import read_proto
from workbench.runtimes import _axengine, pulsar2_tool
from workbench.runtimes._pulsar2_run import Pulsar2Runner
from workbench.runtimes._runner import Port, Runner

NPU = "neu mode"


@dataclass(frozen=True)
class AxModel:
    """The facts of a compiled model.

    Attributes:
        version: of the Pulsar2 that compiled it; empty when it does not say.
        commit: likewise.
        inputs: as the file declares them.
        outputs: as the file declares them.
        neu: names of the NPU programs, in the order they run.
        cpu: operators between them that run on the CPU, sorted.
    """

    version: str
    commit: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    neu: tuple[str, ...]
    cpu: tuple[str, ...]


def describe(path: Path) -> AxModel:
    """The facts of the compiled model in `path`.

    Raises:
        ToolError: the file is missing, damaged, or no compiled model.
    """
    proto = read_proto(path)
    graph = proto.graph
    programs = [node for node in graph.node if node.op_type == NPU]
    if not programs:
        raise ToolError(
            "no NPU program inside", where=str(path), fix="give a .axmodel that pulsar2 build wrote; this is plain ONNX"
        )
    return AxModel(
        version=_said("Version", proto.doc_string),
        commit=_said("Commit", proto.doc_string),
        inputs=_ports(graph.input, path),
        outputs=_ports(graph.output, path),
        neu=tuple(_neu_name(node) for node in programs),
        cpu=tuple(sorted(node.op_type for node in graph.node if node.op_type != NPU)),
    )


def open_axmodel(path: Path) -> Runner:
    """A runner for the compiled model in `path`: the NPU of this machine, else the vendor's simulation.

    Raises:
        ToolError: the file is no compiled model, or nothing here can run it; all ways to run it are listed.
    """
    facts = describe(path)
    engine, trouble = _axengine.find()
    if engine is not None:
        return _axengine.AxEngineRunner(engine, path)
    toolchain = pulsar2_tool.find()
    if toolchain is not None:
        return Pulsar2Runner(toolchain, path, facts.inputs, facts.outputs)
    raise ToolError(
        "nothing on this machine runs a compiled model\n"
        f"    axengine: runs it on the chip; needs AXera's Python package and its NPU: {trouble}\n"
        "    pulsar2 run: simulates the chip on x86-64 Linux; needs the Pulsar2 toolchain: not found\n"
        "    ax_run_model: AXera's program on the board, over ssh; copy the file there and run it by hand",
        where=str(path),
        fix=f"{pulsar2_tool.FIX}; or work on the board",
    )


def _said(key: str, text: str) -> str:
    found = re.search(rf"\bPulsar2 {key}:[ \t]*(\S+)", text)
    return found[1] if found else ""


def _neu_name(node: onnx.NodeProto) -> str:
    names = [bytes(item.s).decode("utf-8", "replace") for item in node.attribute if item.name == "neu_name"]
    return names[0] if names else str(node.name)


def _ports(values: Iterable[onnx.ValueInfoProto], path: Path) -> tuple[Port, ...]:
    return tuple(_port(value, path) for value in values)


def _port(value: onnx.ValueInfoProto, path: Path) -> Port:
    tensor = value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError as error:
        raise ToolError(
            f"tensor {value.name!r} has unknown type {tensor.elem_type}", where=str(path), fix="compile the model again"
        ) from error
    shape = tuple(size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim)
    return Port(value.name, shape, dtype.name)
