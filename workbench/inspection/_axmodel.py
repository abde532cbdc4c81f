"""Compiled `.axmodel` files: which parts run on the NPU, for which batch sizes, and how many bytes they hold.

An NPU program and its weights are initializers that no node reads by a declared input: the node's attribute
``npu_graph_info`` names them. Layout: read off files of Pulsar2 1.9 and 3.1.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

from workbench.graph.io import read_proto
from workbench.graph.shapes import dim
from workbench.inspection.facts import Facts, Part, Tensor
from workbench.runtimes.axmodel import NPU, described

_SHOWN = 3


def read(path: Path) -> Facts:
    """What the compiled model in `path` holds.

    Raises:
        ToolError: the file is missing, damaged, or no compiled model.
    """
    return of_proto(read_proto(path), path)


def of_proto(proto: onnx.ModelProto, path: Path) -> Facts:
    """The same of a file that was read; `path` is for errors.

    Raises:
        ToolError: it is damaged, or no compiled model.
    """
    said = described(proto, path)
    sizes = {tensor.name: _bytes(tensor) for tensor in proto.graph.initializer}
    doubts: list[str] = []
    named: set[str] = set()
    parts = tuple(_parts(proto.graph, sizes, named, doubts))
    spare = sorted(sizes.keys() - named - {name for node in proto.graph.node for name in node.input})
    if spare:
        doubts.append(f"{_some(spare)} {'belongs' if len(spare) == 1 else 'belong'} to no part")
    return Facts(
        kind="Pulsar2 axmodel",
        inputs=_tensors(proto.graph.input),
        outputs=_tensors(proto.graph.output),
        operators=dict(sorted(Counter(node.op_type for node in proto.graph.node).items())),
        origin={
            "Pulsar2": said.version or "not said",
            "Commit": said.commit or "not said",
            "Producer": proto.producer_name,
        },
        parameter_bytes=sum(sizes.values()),
        opset=next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), None),
        parts=parts,
        notes=(*doubts, "MACs unknown: NPU programs do not say"),
    )


def _parts(graph: onnx.GraphProto, sizes: Mapping[str, int], named: set[str], doubts: list[str]) -> Iterator[Part]:
    """NPU programs and the CPU operators between them; fills `named` with the initializers they use."""
    waiting: list[str] = []
    for node in graph.node:
        if node.op_type != NPU:
            waiting.append(node.op_type)
            continue
        if waiting:
            yield Part(name=f"before {_attribute(node, 'neu_name')}", runs_on="CPU", operators=tuple(waiting))
            waiting = []
        yield _program(node, sizes, named, doubts)
    if waiting:
        yield Part(name="after the last", runs_on="CPU", operators=tuple(waiting))


def _program(node: onnx.NodeProto, sizes: Mapping[str, int], named: set[str], doubts: list[str]) -> Part:
    name = _attribute(node, "neu_name") or node.name
    programs: dict[int, str] = {}
    constants: set[str] = set()
    for entry in _entries(_attribute(node, "npu_graph_info")):
        key, batch = entry.get("neu_key"), entry.get("batch")
        if not isinstance(key, str) or not isinstance(batch, int):
            continue
        programs[batch] = key
        for extra in entry.get("extra_inputs") or ():
            if isinstance(extra, dict):
                told = (extra.get(kind) for kind in ("const_data_key", "dyn_param_expr_key"))
                constants |= {one for one in told if isinstance(one, str) and one}
    if not programs:
        doubts.append(f"part {name!r}: npu_graph_info does not name its program")
    missing = sorted({*programs.values(), *constants} - sizes.keys())
    if missing:
        doubts.append(f"part {name!r}: {_some(missing)} missing from the file: it cannot run")
    named |= {*programs.values(), *constants}
    return Part(
        name=name,
        runs_on="NPU",
        operators=(NPU,),
        batches=tuple(sorted(programs)),
        program_bytes=sum(sizes.get(key, 0) for key in set(programs.values())),
        weight_bytes=sum(sizes.get(key, 0) for key in constants),
    )


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        return []
    listed = info.get("dotneus") if isinstance(info, dict) else None
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _attribute(node: onnx.NodeProto, name: str) -> str:
    found = (bytes(item.s).decode("utf-8", "replace") for item in node.attribute if item.name == name)
    return next(found, "")


def _bytes(tensor: onnx.TensorProto) -> int:
    return len(tensor.raw_data) or tensor.ByteSize()


def _tensors(values: Any) -> tuple[Tensor, ...]:
    known = onnx.helper.tensor_dtype_to_np_dtype
    return tuple(
        Tensor(
            name=value.name,
            dtype=known(value.type.tensor_type.elem_type).name,
            shape=tuple(dim(size) for size in value.type.tensor_type.shape.dim),
        )
        for value in values
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"initializer{'s' * (len(names) != 1)} {shown}{', ...' if len(names) > _SHOWN else ''}"
