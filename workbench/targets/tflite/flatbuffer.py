"""The finished file as a flatbuffer: names and a signature are written into it, what varies is taken out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from workbench.errors import UnsupportedError

SIGNATURE = "serving_default"
_DESCRIPTION = "workbench"
_CUSTOM = "custom:"


def unpack(data: bytes) -> Any:
    """The `ModelT` object tree of a .tflite file."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(data)


def pack(model: Any) -> bytes:
    """The bytes of the `ModelT` tree `model`."""
    import flatbuffers  # type: ignore[import-untyped]  # it has no annotations

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def operators(model: Any) -> dict[str, int]:
    """How often each operator occurs, by its schema name (custom ones as ``custom:<name>``)."""
    kinds = _kinds(model)
    counts = Counter(kinds[op.opcodeIndex] for graph in model.subgraphs for op in graph.operators or ())
    return dict(sorted(counts.items()))


def named_operators(model: Any) -> list[tuple[str, Any]]:
    """The operators of the first graph in their order, each with its schema name."""
    kinds = _kinds(model)
    return [(kinds[op.opcodeIndex], op) for op in model.subgraphs[0].operators or ()]


def signature_names(model: Any) -> dict[int, str]:
    """The names that the file's signature gives to tensors of the first graph, by the tensors' places.

    ``serving_default``, or the first in name order; empty when the file has none.
    """
    signatures = [one for one in model.signatureDefs or () if one.subgraphIndex == 0]
    if not signatures:
        return {}
    chosen = min(signatures, key=lambda one: (one.signatureKey != SIGNATURE.encode(), one.signatureKey))
    named = (*(chosen.inputs or ()), *(chosen.outputs or ()))
    return {int(one.tensorIndex): bytes(one.name).decode("utf-8", "replace") for one in named}


def type_name(code: int) -> str:
    """The schema's name of a tensor type, e.g. ``INT8``."""
    from ai_edge_litert import schema_py_generated as schema

    names: dict[int, str] = {number: name for name, number in vars(schema.TensorType).items() if name.isupper()}
    return names.get(code, f"type {code}")


def constant(model: Any, index: int) -> bool:
    """Whether tensor `index` of the first graph is a constant."""
    data = model.buffers[model.subgraphs[0].tensors[index].buffer].data
    return data is not None and len(data) > 0


def drop_unread(model: Any) -> None:
    """Leave out of the first graph what no operator and no output reads, operators as well as tensors."""
    graph = model.subgraphs[0]
    read = {int(index) for index in graph.outputs}
    kept = []
    for operator in reversed(graph.operators):
        if read.intersection(int(index) for index in operator.outputs):
            kept.append(operator)
            read.update(int(index) for index in operator.inputs)
    graph.operators = kept[::-1]
    groups = [(graph, "inputs"), (graph, "outputs")]
    groups += [(operator, key) for operator in kept for key in ("inputs", "outputs", "intermediates")]
    named = [
        (owner, key, [int(index) for index in found])
        for owner, key in groups
        if (found := getattr(owner, key)) is not None
    ]
    used = sorted({index for _, _, places in named for index in places if index >= 0})
    moved = {old: new for new, old in enumerate(used)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in used]
    for owner, key, places in named:
        setattr(owner, key, [moved[index] for index in places])


def _kinds(model: Any) -> list[str]:
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    kinds = []
    for code in model.operatorCodes:
        # codes above 127 do not fit the older field
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        custom = f"{_CUSTOM}{(code.customCode or b'').decode('utf-8', 'replace')}"
        kinds.append(custom if builtin == schema.BuiltinOperator.CUSTOM else names.get(builtin, str(builtin)))
    return kinds


def not_builtin(names: str) -> UnsupportedError:
    """The error that a network needs operators which TensorFlow Lite does not have."""
    return UnsupportedError(
        f"TensorFlow Lite does not have these operators: {names}",
        fix="rewrite them in the source network, cut the graph before them, or drop the tflite target",
    )


def finish(
    model: Any, inputs: Sequence[str], outputs: Sequence[str], not_deployable: str = ""
) -> tuple[bytes, dict[str, int]]:
    """The `ModelT` tree with one signature of exactly these names, in order, and nothing that varies from run to run.

    Returns:
        The bytes and the operator counts.

    Raises:
        UnsupportedError: the file holds a custom or a Flex operator.
    """
    from ai_edge_litert import schema_py_generated as schema

    counts = operators(model)
    custom = [name.removeprefix(_CUSTOM) for name in counts if name.startswith(_CUSTOM)]
    if custom:
        raise not_builtin(", ".join(custom))
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE.encode()
    signature.subgraphIndex = 0
    signature.inputs = [_map(schema, graph, name, index) for name, index in zip(inputs, graph.inputs, strict=True)]
    signature.outputs = [_map(schema, graph, name, index) for name, index in zip(outputs, graph.outputs, strict=True)]
    model.signatureDefs = [signature]
    model.description = f"{_DESCRIPTION}; NOT DEPLOYABLE: {not_deployable}" if not_deployable else _DESCRIPTION
    model.metadata = [entry for entry in model.metadata or () if entry.name == b"min_runtime_version"] or None
    graph.name = b"main"
    return pack(model), counts


def _map(schema: Any, graph: Any, name: str, index: int) -> Any:
    graph.tensors[index].name = name.encode()
    entry = schema.TensorMapT()
    entry.name = name.encode()
    entry.tensorIndex = int(index)
    return entry
