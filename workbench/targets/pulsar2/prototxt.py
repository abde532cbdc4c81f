"""Read a BuildConfig written as protobuf text, with a message type made from our own schema of it.

Text names fields and enum values and never numbers, so a type with other numbers than the vendor's reads it as well.
"""

from __future__ import annotations

import re
import typing
from functools import cache
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
    struct_pb2,
    text_format,
)
from pydantic import BaseModel

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError
from workbench.targets.pulsar2 import schema

_PACKAGE = "workbench.pulsar2"
_Kinds = descriptor_pb2.FieldDescriptorProto
_SCALARS = {str: _Kinds.TYPE_STRING, bool: _Kinds.TYPE_BOOL, int: _Kinds.TYPE_INT32, float: _Kinds.TYPE_DOUBLE}


def parse(text: str, file: str) -> dict[str, Any]:
    """`text` as plain data.

    Raises:
        RecipeError: it is not text of a BuildConfig; with line and column.
    """
    message = _message_class()()
    try:
        text_format.Parse(text, message)
        data: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    except text_format.ParseError as error:
        raise _told(error, file) from error
    except (json_format.Error, ValueError, RecursionError) as error:  # a value without its kind; nested to break it
        raise RecipeError("no BuildConfig in protobuf text", where=file, fix="write JSON, YAML or TOML") from error
    return data


def _told(error: text_format.ParseError, file: str) -> RecipeError:
    line, column = error.GetLine(), error.GetColumn()
    where = f"{file}:{line}:{column}" if line is not None else file
    what = re.sub(r"^\d+:\d+ ?: ", "", str(error)).replace(f"{_PACKAGE}.", "")
    if field := re.search(r'Message type "([\w.]+)" has no field named "([^"]*)"', what):
        known = getattr(schema, field[1]).model_fields
        return RecipeError(f"unknown key {field[2]!r}", where=where, fix=did_you_mean(field[2], known))
    if value := re.search(r'Enum type "([\w.]+)" has no value named (\S+?)\.?$', what):
        allowed = _enum_values(value[1])
        return RecipeError(f"{value[2]!r} is not allowed", where=where, fix=did_you_mean(value[2], allowed))
    return RecipeError(f"not protobuf text: {what[:200]}", where=where, fix="check names, colons and braces there")


def _enum_values(name: str) -> list[str]:
    found = _message_class().DESCRIPTOR.file.message_types_by_name[name.split(".")[0]].enum_types_by_name["Value"]
    return [value.name for value in found.values]


@cache
def _message_class() -> Any:
    """The class of BuildConfig messages."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="build_config.proto", package=_PACKAGE, syntax="proto2")
    file.dependency.append("google/protobuf/struct.proto")
    enums: dict[tuple[str, ...], str] = {}
    for model in schema.Message.__subclasses__():
        message = file.message_type.add(name=model.__name__)
        hints = typing.get_type_hints(model)
        for number, name in enumerate(model.model_fields, 1):
            _field(message.field.add(name=name, number=number), hints[name], enums)
    for values, holder in enums.items():  # each in a message of its own, for two enums may share a value's name
        enum = file.message_type.add(name=holder).enum_type.add(name="Value")
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.BuildConfig"))


def _field(field: Any, annotation: Any, enums: dict[tuple[str, ...], str]) -> None:
    repeated = typing.get_origin(annotation) is tuple
    field.label = _Kinds.LABEL_REPEATED if repeated else _Kinds.LABEL_OPTIONAL
    kind = _inner(annotation)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field.type, field.type_name = _Kinds.TYPE_MESSAGE, f".{_PACKAGE}.{kind.__name__}"
    elif typing.get_origin(kind) is dict:
        field.type, field.type_name = _Kinds.TYPE_MESSAGE, ".google.protobuf.Struct"
    elif typing.get_origin(kind) is typing.Literal:
        holder = enums.setdefault(typing.get_args(kind), f"Enum{len(enums)}")
        field.type, field.type_name = _Kinds.TYPE_ENUM, f".{_PACKAGE}.{holder}.Value"
    else:
        field.type = _SCALARS[kind]


def _inner(annotation: Any) -> Any:
    """The type inside a tuple, an optional or Annotated."""
    inside = [part for part in typing.get_args(annotation) if part not in (type(None), Ellipsis)]
    if typing.get_origin(annotation) in (typing.Literal, dict) or not inside:
        return annotation
    return _inner(inside[0])
