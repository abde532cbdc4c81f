"""Compiled `.axmodel` files of AXera's NPUs: what they hold, and a runner when this machine has one.

The file is an ONNX protobuf whose weights hang on no node, so it is read and never written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError, ToolError
from workbench.graph.io import read_proto
from workbench.runtimes import _axengine, pulsar2_tool
from workbench.runtimes._pulsar2_run import Pulsar2Runner
from workbench.runtimes._runner import Port, Runner
from workbench.runtimes._samples import Samples
from workbench.runtimes.board_address import FORM, parse

NPU = "neu mode"
AUTO = "auto"
KINDS = (AUTO, "pulsar2", "axengine", "ssh", "dump")
RUNNERS = (AUTO, "pulsar2", "axengine", *(f"axengine:{name}" for name in _axengine.PROVIDERS), FORM, "dump:DIR")
TIMEOUT = 3600.0


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
    return described(read_proto(path), path)


def described(proto: onnx.ModelProto, path: Path) -> AxModel:
    """The same of a file that was read; `path` is for errors.

    Raises:
        ToolError: it is damaged, or no compiled model.
    """
    graph = proto.graph
    programs = [node for node in graph.node if node.op_type == NPU]
    if not programs:
        raise ToolError(
            "no NPU program inside", where=str(path), fix="give a .axmodel that pulsar2 build wrote; this is plain ONNX"
        )
    if not all(isinstance(text, str) for text in _texts(proto)):  # protobuf gives bytes for what is no UTF-8
        raise ToolError("a damaged compiled model: a name in it is no text", where=str(path), fix="compile it again")
    return AxModel(
        version=_said("Version", proto.doc_string),
        commit=_said("Commit", proto.doc_string),
        inputs=_ports(graph.input, path),
        outputs=_ports(graph.output, path),
        neu=tuple(_neu_name(node) for node in programs),
        cpu=tuple(sorted(node.op_type for node in graph.node if node.op_type != NPU)),
    )


def open_axmodel(path: Path, *, runner: str = AUTO, hardware: str = "", timeout: float = TIMEOUT) -> Runner:
    """A runner for the compiled model in `path`.

    Args:
        path: a compiled model.
        runner: see `RUNNERS`; ``auto`` is the NPU of this machine, else the vendor's simulation.
        hardware: the chip it was compiled for, as Pulsar2's ``--target_hardware`` names it; empty when not known.
        timeout: seconds for everything that is run in the simulation or on a board.

    Raises:
        RecipeError: there is no such runner.
        ToolError: the file is no compiled model, or the runner cannot be had; where `runner` is ``auto``, all ways to
            run the file are listed.
    """
    check_runner(runner)
    facts = describe(path)
    kind, _, rest = runner.partition(":")
    if kind == "ssh":
        from workbench.runtimes._board import BoardRunner

        return BoardRunner(parse(runner), path, Samples(path, facts.inputs, facts.outputs), timeout=timeout)
    if kind == "dump":
        from workbench.runtimes._dump import DumpRunner

        return DumpRunner(Path(rest), path, Samples(path, facts.inputs, facts.outputs))
    trouble = ""
    if kind in (AUTO, "axengine"):
        engine, trouble = _axengine.find()
        if engine is not None:
            return _axengine.AxEngineRunner(engine, path, rest)
        if kind == "axengine":
            raise ToolError(
                f"axengine cannot be used here: {trouble}",
                where=str(path),
                fix="install AXera's Python package and driver on the machine with the NPU, or take another --runner",
            )
    toolchain = pulsar2_tool.find()
    if toolchain is not None:
        samples = Samples(path, facts.inputs, facts.outputs)
        return Pulsar2Runner(toolchain, path, samples, hardware=hardware, timeout=timeout)
    if kind == "pulsar2":
        raise ToolError(f"{pulsar2_tool.MISSING}", where=str(path), fix=pulsar2_tool.FIX)
    raise ToolError(
        "nothing on this machine runs a compiled model\n"
        f"    axengine: runs it on the chip; needs AXera's Python package and its NPU: {trouble}\n"
        "    pulsar2 run: simulates the chip on x86-64 Linux; needs the Pulsar2 toolchain: not found\n"
        "    ax_run_model: AXera's program on a board: --runner ssh://root@board\n"
        "    by hand: --runner dump:DIR writes the inputs there and reads the outputs you put beside them",
        where=str(path),
        fix=f"{pulsar2_tool.FIX}; or name a board",
    )


def check_runner(text: str) -> None:
    """Hold `text` against `RUNNERS`, without looking for anything.

    Raises:
        RecipeError: it is none of them.
    """
    kind, colon, rest = text.partition(":")
    if kind == "ssh" and colon:
        parse(text)
    elif kind == "axengine" and colon and rest not in _axengine.PROVIDERS:
        raise RecipeError(
            f"--runner {text}: axengine has no provider {rest!r}", fix=did_you_mean(rest, _axengine.PROVIDERS)
        )
    elif (kind == "dump" and not rest) or kind not in KINDS or (colon and kind in (AUTO, "pulsar2")):
        raise RecipeError(f"--runner {text}: no such runner", fix=f"one of: {', '.join(RUNNERS)}")


def _texts(proto: onnx.ModelProto) -> Iterator[object]:
    """Everything in a compiled model that must be text."""
    yield from (proto.doc_string, proto.producer_name)
    yield from (one.name for one in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer))
    for node in proto.graph.node:
        yield from (node.name, node.op_type, *node.input, *(one.name for one in node.attribute))


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
