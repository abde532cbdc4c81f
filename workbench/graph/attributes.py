"""Read a node's attributes by kind, with the default that stands for an absent one."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir


def integer(node: ir.Node, name: str, default: int) -> int:
    """Attribute `name` as an integer."""
    found = _present(node, name)
    return default if found is None else found.as_int()


def integers(node: ir.Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    """Attribute `name` as integers."""
    found = _present(node, name)
    return tuple(default) if found is None else tuple(found.as_ints())


def decimal(node: ir.Node, name: str, default: float) -> float:
    """Attribute `name` as a float."""
    found = _present(node, name)
    return default if found is None else found.as_float()


def text(node: ir.Node, name: str, default: str) -> str:
    """Attribute `name` as text."""
    found = _present(node, name)
    return default if found is None else found.as_string()


def put_integers(node: ir.Node, name: str, values: Sequence[int]) -> None:
    """Write attribute `name`; an empty list stays a list of integers."""
    node.attributes[name] = ir.AttrInt64s(name, list(values))


def put_integer(node: ir.Node, name: str, value: int) -> None:
    """Write attribute `name`."""
    node.attributes[name] = ir.AttrInt64(name, value)


def put_decimal(node: ir.Node, name: str, value: float) -> None:
    """Write attribute `name` as a float32."""
    node.attributes[name] = ir.AttrFloat32(name, value)


def _present(node: ir.Node, name: str) -> ir.Attr | None:
    found = node.attributes.get(name)
    # A reference attribute stands for a value that only the caller of a function knows; callers refuse functions.
    return None if found is None or found.is_ref() else found
