"""ONNX files, and compiled `.axmodel` files that call themselves so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import onnx
import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.graph import io, shapes, walk
from workbench.graph.macs import macs
from workbench.inspection import _axmodel
from workbench.inspection.facts import Facts, Tensor

_OWN = ("", "ai.onnx")


def read(path: Path) -> Facts:
    """What the ONNX file in `path` holds; a compiled model is described as what it is.

    Raises:
        ToolError: the file is missing, damaged, no ONNX, or keeps its weights elsewhere.
    """
    proto = io.read_proto(path)
    if io.is_compiled(proto):
        return _axmodel.of_proto(proto, path)
    reason = io.not_deployable(proto)
    notes = [f"NOT DEPLOYABLE: {reason}"] if reason else []
    origin = {
        "Producer": f"{proto.producer_name} {proto.producer_version}".strip(),
        "IR version": str(proto.ir_version),
    }
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = tensors(value for value in proto.graph.input if value.name not in constants)
    outputs = tensors(proto.graph.output)
    model = io.from_proto(proto, path)
    parameters, size = _parameters(model)
    count, doubt = _macs(model)
    domains = {domain for domain in model.opset_imports if domain not in _OWN}
    if domains:
        origin["Other sets"] = ", ".join(f"{one} {model.opset_imports[one]}" for one in sorted(domains))
    return Facts(
        kind="ONNX",
        inputs=inputs,
        outputs=outputs,
        operators=_operators(model),
        origin={label: said for label, said in origin.items() if said},
        parameters=parameters,
        parameter_bytes=size,
        macs=count,
        opset=walk.opset(model) or None,
        notes=(*notes, *doubt),
    )


def tensors(values: Iterable[onnx.ValueInfoProto]) -> tuple[Tensor, ...]:
    """Inputs or outputs as a file declares them."""
    return tuple(_tensor(value) for value in values)


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return Tensor(name=value.name, dtype=kind or "undeclared", shape=None)
    tensor = value.type.tensor_type
    return Tensor(
        name=value.name,
        dtype=_dtype(tensor.elem_type),
        shape=tuple(shapes.dim(size) for size in tensor.shape.dim) if tensor.HasField("shape") else None,
    )


def _dtype(code: int) -> str:
    """ONNX's code of a type as numpy calls it."""
    try:
        name = ir.DataType(code).name.lower()
    except ValueError:
        return f"type {code}"
    return {"float": "float32", "double": "float64"}.get(name, name)


def _operators(model: ir.Model) -> dict[str, int]:
    counts = Counter(
        node.op_type if node.domain in _OWN else f"{node.domain}.{node.op_type}" for node in model.graph.all_nodes()
    )
    return dict(sorted(counts.items()))


def _parameters(model: ir.Model) -> tuple[dict[str, int], int]:
    """Values in initializers and Constant nodes, by dtype, and their bytes; those of subgraphs included."""
    counts: Counter[str] = Counter()
    size = 0
    held: list[ir.TensorProtocol] = []
    for graph in (model.graph, *model.graph.subgraphs()):
        held += [value.const_value for value in graph.initializers.values() if value.const_value is not None]
        for node in walk.nodes(graph, "Constant"):
            attribute = node.attributes.get("value")
            if attribute is not None and attribute.type == ir.AttributeType.TENSOR:
                held.append(attribute.as_tensor())
    for tensor in held:
        counts[_dtype(int(tensor.dtype))] += tensor.size
        size += tensor.nbytes
    return dict(sorted(counts.items())), size


def _macs(model: ir.Model) -> tuple[int | None, list[str]]:
    """Multiplications of one run; None, and why, when a shape is open."""
    try:
        shapes.refresh(model)
    except UnsupportedError as error:
        return None, [f"MACs unknown: {error.what}"]
    counts = [(node, macs(node)) for node in model.graph.all_nodes()]
    unknown = [node for node, count in counts if count is None]
    if unknown:
        return None, [f"MACs unknown: the shapes of {walk.label(unknown[0])} are not static"]
    return sum(count or 0 for _, count in counts), []
