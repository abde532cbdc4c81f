"""Which inputs and outputs of the nodes have one element type together, by ONNX's operator schemas."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from workbench.graph import constants, walk
from workbench.graph.schemas import schema

Key = tuple[int, str]
"""A node, by its place in the graph, and a type variable of its operator, such as ``T``."""


@dataclass(frozen=True)
class Port:
    """One input or output of a node.

    Attributes:
        node: whose.
        index: which.
        key: the group it belongs to; None when its type is fixed.
        name: what the operator's schema calls it.
        fixed: why it cannot have the other type; empty when it can.
    """

    node: ir.Node
    index: int
    key: Key | None
    name: str
    fixed: str = ""


def port(node: ir.Node, place: int, index: int, opset: int, wide: ir.DataType, narrow: ir.DataType) -> Port:
    """Input `index` of `node`, or output ``-1 - index`` for a negative one, whose type shall change."""
    known = schema(node.op_type, opset) if walk.is_op(node) else None
    if known is None:
        return Port(node, index, None, "", f"nobody knows what {walk.label(node)} takes")
    formal = known.inputs if index >= 0 else known.outputs
    at = index if index >= 0 else -1 - index
    one = formal[min(at, len(formal) - 1)]
    if next(walk.inner_graphs(node), None) is not None or not one.is_homogeneous:
        return Port(node, index, None, one.name, f"{walk.label(node)} hands it to a subgraph or a sequence")
    allowed = next((c.allowed_type_strs for c in known.type_constraints if c.type_param_str == one.type_str), ())
    if f"tensor({narrow.name.lower()})" not in allowed:
        only = f"ONNX has the {one.name} of {walk.label(node)} as {wide.name.lower()} only"
        return Port(node, index, None, one.name, only)
    return Port(node, index, (place, one.type_str), one.name)


def follows_input(node: ir.Node, key: Key, opset: int) -> bool:
    """Whether an input of `node` has the type variable of `key`, so that an output of it has that input's type."""
    known = schema(node.op_type, opset)
    return known is not None and any(one.type_str == key[1] for one in known.inputs)


def is_constant(value: ir.Value) -> bool:
    """Whether `value` is an initializer or comes from a Constant node."""
    return constants.array(value) is not None


class Groups:
    """Keys that must change their type together, and why some must not."""

    def __init__(self) -> None:
        self._parent: dict[Key, Key] = {}
        self._blocked: dict[Key, str] = {}

    def find(self, key: Key) -> Key:
        """The key that stands for the group of `key`: the first in graph order."""
        self._parent.setdefault(key, key)
        while self._parent[key] != key:
            self._parent[key] = self._parent[self._parent[key]]
            key = self._parent[key]
        return key

    def join(self, one: Key, other: Key) -> None:
        """Let two keys change together."""
        first, second = sorted((self.find(one), self.find(other)))
        self._parent[second] = first

    def block(self, key: Key, reason: str) -> None:
        """Remember why the group of `key` stays as it is."""
        self.find(key)
        self._blocked.setdefault(key, reason)

    def reasons(self) -> dict[Key, str]:
        """The first reason of each group that stays, by the key that stands for it."""
        found: dict[Key, str] = {}
        for key, reason in sorted(self._blocked.items()):
            found.setdefault(self.find(key), reason)
        return found

    def roots(self) -> list[Key]:
        """The key of each group, in graph order."""
        return sorted({self.find(key) for key in tuple(self._parent)})
