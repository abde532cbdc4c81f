"""Read and write ONNX files: hostile bytes in, the same bytes out on every run."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from workbench.errors import ToolError
from workbench.graph.damage import damages

PRODUCER = "workbench"
_MARK = "workbench."
_NOT_DEPLOYABLE = "workbench.not_deployable"
_LARGEST = 2_000_000_000  # a protobuf message cannot be larger; such models need external data, which we refuse


def read_proto(path: Path) -> onnx.ModelProto:
    """The ONNX protobuf in `path`.

    Raises:
        ToolError: the file is missing, unreadable, not an ONNX graph, or keeps its weights in other files.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not path.is_dir():
            raise ToolError("not a plain file", where=str(path), fix="give a .onnx file")
        if status.st_size > _LARGEST:
            told = f"{status.st_size} bytes, and a protobuf holds 2 GB"
            raise ToolError(told, where=str(path), fix="give a .onnx file with its weights inside")
        data = path.read_bytes()
    except OSError as error:
        raise ToolError(
            f"cannot read the model: {error.strerror}", where=str(path), fix="check the path and its permissions"
        ) from error
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ToolError(
            "not an ONNX file", where=str(path), fix=f"give a {_suffix(path)} file; was it downloaded whole?"
        ) from error
    if not proto.graph.node and not proto.graph.output:
        raise ToolError("an ONNX file without a graph", where=str(path), fix="was it downloaded whole?")
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ToolError(
                f"initializer {tensor.name!r} lives in another file",
                where=str(path),
                fix="save the model with its weights inside (onnx.save_model(..., save_as_external_data=False))",
            )
    return proto


def _suffix(path: Path) -> str:
    """What a whole file of this name would be: compiled models have ONNX's container."""
    return ".axmodel" if path.suffix.lower() == ".axmodel" else ".onnx"


def is_compiled(proto: onnx.ModelProto) -> bool:
    """Whether this is a Pulsar2 `.axmodel`, whose weights no node declares: any rewrite would destroy it."""
    return any(node.op_type == "neu mode" for node in proto.graph.node)


def read(path: Path) -> ir.Model:
    """The ONNX graph in `path`, ready to be changed.

    Raises:
        ToolError: as `read_proto`, or the file is a compiled `.axmodel`.
    """
    return from_proto(read_proto(path), path)


def from_proto(proto: onnx.ModelProto, path: Path) -> ir.Model:
    """The graph of a file that was read; it keeps to the weights of `proto`, and `path` is for errors.

    Raises:
        ToolError: it is damaged, or a compiled `.axmodel`.
    """
    if is_compiled(proto):
        raise ToolError(
            "a compiled .axmodel cannot be edited: its weights hang on no node",
            where=str(path),
            fix="edit the ONNX it was compiled from and compile again",
        )
    damage = next(damages(proto.graph), None)
    if damage is not None:
        raise ToolError(f"a damaged ONNX file: {damage}", where=str(path), fix="export or download it again")
    try:
        return ir.serde.deserialize_model(proto)
    except (ir.serde.SerdeError, ValueError, KeyError, TypeError) as error:  # onnx_ir's words for graphs that cannot be
        raise ToolError(
            f"not a valid ONNX graph: {error}", where=str(path), fix="check the file with onnx.checker"
        ) from error


def from_bytes(data: bytes) -> ir.Model:
    """The graph that `to_bytes` serialized."""
    return ir.serde.deserialize_model(onnx.ModelProto.FromString(data))


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """`model` as a protobuf without paths, stack traces, timestamps or tool versions; our own marks stay."""
    proto = ir.serde.serialize_model(model)
    marks = {prop.key: prop.value for prop in proto.metadata_props if prop.key.startswith(_MARK)}
    proto.producer_name = PRODUCER
    proto.producer_version = ""
    proto.domain = ""
    proto.doc_string = ""
    del proto.metadata_props[:]
    for key in sorted(marks):
        proto.metadata_props.add(key=key, value=marks[key])
    graph = proto.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.doc_string = ""
        del value.metadata_props[:]
    for tensor in graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    return proto


def mark_not_deployable(model: ir.Model, reason: str) -> None:
    """Write into `model` why nobody should ship it; every target carries the mark on."""
    model.metadata_props[_NOT_DEPLOYABLE] = reason


def not_deployable(model: ir.Model | onnx.ModelProto) -> str:
    """Why `model` must not be shipped; empty when nothing speaks against it."""
    if isinstance(model, ir.Model):
        return model.metadata_props.get(_NOT_DEPLOYABLE, "")
    return next((prop.value for prop in model.metadata_props if prop.key == _NOT_DEPLOYABLE), "")


def to_bytes(model: ir.Model) -> bytes:
    """`model` serialized deterministically.

    Raises:
        ToolError: the model is larger than a protobuf can hold.
    """
    proto = to_proto(model)
    if proto.ByteSize() > _LARGEST:
        raise ToolError(
            f"the model has {proto.ByteSize()} bytes, ONNX holds 2 GB", fix="cut the graph or use fewer weights"
        )
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def write(model: ir.Model, path: Path) -> None:
    """Write `model` to `path`, whole or not at all.

    Raises:
        ToolError: the disk is full or the folder cannot be written.
    """
    write_bytes(to_bytes(model), path)


def write_bytes(data: bytes, path: Path) -> None:
    """Write `data` aside and rename it to `path`.

    Raises:
        ToolError: the disk is full or the folder cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):  # the parent may be a file
            aside.unlink()
        raise ToolError(
            f"cannot write: {error.strerror}", where=str(path), fix="free some space, or choose a folder you may write"
        ) from error
