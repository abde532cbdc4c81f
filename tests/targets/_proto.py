"""BuildConfig as a protobuf, compiled from a table of its messages, to parse with as the tool does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, struct_pb2

Fields = Mapping[str, tuple[str, bool]]  # name -> type, whether it is repeated
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
}


def compiled(messages: Mapping[str, Fields], enums: Mapping[str, list[str]], package: str) -> Any:
    """The class of BuildConfig messages: proto3, fields and values numbered in order."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    for name, values in enums.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (field, (kind, repeated)) in enumerate(fields.items(), 1):
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if kind in _SCALARS:
                made.type = _SCALARS[kind]
            elif kind == "Struct":
                made.type, made.type_name = _Field.TYPE_MESSAGE, ".google.protobuf.Struct"
            else:
                made.type = _Field.TYPE_ENUM if kind in enums else _Field.TYPE_MESSAGE
                made.type_name = f".{package}.{kind}"
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.BuildConfig"))


def from_table(table: Any) -> Any:
    """The class compiled from the stand-in's table."""
    messages = {
        name: {field: (kind.strip("*!"), kind.startswith("*")) for field, kind in table.fields(name).items()}
        for name in table.MESSAGES
    }
    return compiled(messages, {name: values.split() for name, values in table.ENUMS.items()}, "table")


def from_reference(reference: Any) -> Any:
    """The class compiled from the vendor's table, as plain data."""
    messages = {
        name: {field: (said["type"], bool(said.get("repeated"))) for field, said in fields.items()}
        for name, fields in reference["messages"].items()
    }
    return compiled(messages, reference["enums"], "vendor")


def parse(kind: Any, text: str) -> Any:
    """`text` as the tool's parser reads it: an unknown field, a wrong type or enum value is an error."""
    return json_format.Parse(text, kind(), ignore_unknown_fields=False)
