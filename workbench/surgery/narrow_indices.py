"""Count in int32 instead of int64, and in float32 instead of float64, where ONNX allows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, naming, splice, walk
from workbench.surgery import _typing
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow
from workbench.surgery._typing import Groups, Key, Port

_PAIRS = ((ir.DataType.INT64, ir.DataType.INT32), (ir.DataType.DOUBLE, ir.DataType.FLOAT))


@dataclass(frozen=True, kw_only=True)
class NarrowIndices(Pass):
    """Turn int64 tensors into int32 and float64 tensors into float32, wherever every reader takes them.

    ONNX's schemas say which inputs and outputs of an operator have one type together, and whether that may be the
    narrower one. Tensors that depend on each other change together or not at all.

    1. Constants are stored in the narrower type: indices of Gather, bounds of Slice, operands of index arithmetic. A
       bound of Slice beyond int32 lies beyond every end and becomes one that does in int32. A Cast to int64 becomes
       one to int32, the fill of a ConstantOfShape is narrowed. Behind what ONNX makes as int64 only, such as ArgMax,
       TopK and Shape, stands a Cast to int32.
    2. An index is equal as long as it is below 2 ** 31, which no size of a tensor exceeds; arithmetic that leaves that
       range on purpose, and a Cast of larger numbers, would differ. A float64 is rounded to float32.
    3. Left alone: what ONNX has as int64 only, as the shape of a Reshape, the pads of a Pad or the indices of
       ScatterND; inputs and outputs of the graph, whose type is promised; what goes into subgraphs or operators without
       a schema; and a group in which one constant is beyond int32.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Two columns that are gathered, and the row of the best cell."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        cell (float[1,3,20] x) => (float[1,3,2] y, float[1,3,1] row)
        <int64[2] columns = {0, 5}, int64 width = {5}> {
            y = Gather<axis = 2>(x, columns)
            best = ArgMax<axis = 2>(x)
            above = Div(best, width)
            row = Cast<to = 1>(above)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Narrow whole numbers, then floats."""
        changed: list[str] = []
        left = list(control_flow(model))
        for wide, narrow in _PAIRS:
            plan = _Plan(model, wide, narrow)
            plan.read()
            changed += plan.carry_out()
            left += dict.fromkeys(plan.left)
        return Edits(changed=tuple(changed), left=tuple(left))


@dataclass
class _Plan:
    """What has the wide type, in groups; then the changes.

    Attributes:
        reads: inputs that are to read another tensor when their group changes: constants, and what stays wide itself.
        makes: outputs whose type changes with their group.
        left: what stays, with the reason.
    """

    model: ir.Model
    wide: ir.DataType
    narrow: ir.DataType
    groups: Groups = field(default_factory=Groups)
    reads: list[Port] = field(default_factory=list)
    makes: list[Port] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def read(self) -> None:
        """Find every group, and why some stay."""
        known = Known(self.model)
        places = {node: place for place, node in enumerate(self.model.graph)}
        opset = walk.opset(self.model)

        def port(node: ir.Node, index: int) -> Port:
            return _typing.port(node, places[node], index, opset, self.wide, self.narrow)

        for node in self.model.graph:
            for index, value in enumerate(node.inputs):
                # What a Cast reads is its own affair, and a Cast that stood here would read it just the same.
                if value is None or known.kind(value) != self.wide or walk.is_op(node, "Cast", "Constant"):
                    continue
                reader = port(node, index)
                maker = value.producer()
                source = None
                if maker is not None and not _typing.is_constant(value):
                    source = port(maker, -1 - maker.outputs.index(value))
                self._join(value, reader, source)
            if walk.is_op(node, "Constant"):
                continue
            for index, value in enumerate(node.outputs):
                if known.kind(value) == self.wide:
                    self._make(value, port(node, -1 - index), opset)

    def _join(self, value: ir.Value, reader: Port, source: Port | None) -> None:
        """Note that `reader` reads `value`, which `source` makes unless it is a constant or an input."""
        if reader.key is None:
            if source is not None and source.key is not None:
                self.groups.block(source.key, reader.fixed)
            elif _typing.is_constant(value):
                self.left.append(f"constant '{value.name}': {reader.fixed}")
            return
        self.groups.find(reader.key)
        if source is not None and source.key is not None:
            self.groups.join(reader.key, source.key)
        elif source is not None:
            self.reads.append(reader)
        elif not _typing.is_constant(value):
            self.groups.block(reader.key, f"input '{value.name}' is {self.wide.name.lower()}, and its type is promised")
        elif _narrowed(reader, self.narrow) is None:
            self.groups.block(reader.key, f"'{value.name}' holds numbers beyond {self.narrow.name.lower()}")
        else:
            self.reads.append(reader)

    def _make(self, value: ir.Value, maker: Port, opset: int) -> None:
        """Note that `maker` makes `value`."""
        if maker.key is None:
            return
        self.groups.find(maker.key)
        self.makes.append(maker)
        if value.is_graph_output():
            self.groups.block(maker.key, f"'{value.name}' is an output, and its type is promised")
        if any(use.node.graph is not self.model.graph for use in value.uses()):
            self.groups.block(maker.key, f"a subgraph reads '{value.name}'")
        named = walk.is_op(maker.node, "Cast", "ConstantOfShape")
        if not named and not _typing.follows_input(maker.node, maker.key, opset):
            self.groups.block(maker.key, f"an attribute of {walk.label(maker.node)} decides its type")

    def carry_out(self) -> list[str]:
        """Change every group that may change, and say what was done."""
        nodes = tuple(self.model.graph)
        stays = self.groups.reasons()
        for root in self.groups.roots():
            if root in stays:
                self.left.append(f"{walk.label(nodes[root[0]])}: {stays[root]}")
        done: dict[str, list[str]] = {}
        copies: dict[ir.Value, ir.Value] = {}
        to = self.narrow.name.lower()
        for port in self.reads:
            if self._stays(port.key, stays):
                continue
            value = port.node.inputs[port.index]
            if value is None:
                raise AssertionError("only inputs that are given are read")
            constant = _typing.is_constant(value)
            what = f"constant '{value.name}': {to} for" if constant else f"{walk.origin(value)}: a Cast to {to} for"
            done.setdefault(what, []).append(walk.label(port.node))
            if value not in copies:
                copies[value] = self._constant(port, value) if constant else self._cast(value)
            port.node.replace_input_with(port.index, copies[value])
            if constant:
                constants.drop_unused(value)
        lines = [f"{what} {', '.join(dict.fromkeys(readers))}" for what, readers in done.items()]
        for port in self.makes:
            if self._stays(port.key, stays):
                continue
            port.node.outputs[-1 - port.index].type = ir.TensorType(self.narrow)
            if walk.is_op(port.node, "Cast"):
                attributes.put_integer(port.node, "to", int(self.narrow))
                lines.append(f"{walk.label(port.node)}: to {to}")
            elif walk.is_op(port.node, "ConstantOfShape"):
                fill = port.node.attributes["value"].as_tensor().numpy()
                port.node.attributes["value"] = ir.AttrTensor("value", ir.tensor(fill.astype(self.narrow.numpy())))
                lines.append(f"{walk.label(port.node)}: filled with {to}")
        return lines

    def _stays(self, key: Key | None, stays: dict[Key, str]) -> bool:
        return key is None or self.groups.find(key) in stays

    def _constant(self, port: Port, value: ir.Value) -> ir.Value:
        """The constant `value` in the narrower type, under its own name when nothing else reads it."""
        data = _narrowed(port, self.narrow)
        if data is None:
            raise AssertionError("a group with such a constant stays")
        return constants.add(self.model.graph, f"{value.name}_{self.narrow.name.lower()}", data)

    def _cast(self, value: ir.Value) -> ir.Value:
        """A Cast behind `value`."""
        graph = self.model.graph
        name = walk.fresh_name(graph, f"{value.name}_{self.narrow.name.lower()}")
        taken = {node.name for node in graph if node.name}
        node = ir.node("Cast", [value], {"to": int(self.narrow)}, name=naming.unique(name, taken))
        made = node.outputs[0]
        made.name, made.shape, made.type = name, value.shape, ir.TensorType(self.narrow)
        splice.insert_behind(graph, value, [node])
        return made


def _narrowed(port: Port, narrow: ir.DataType) -> constants.Array | None:
    """The constant that `port` reads in the narrower type; None when that cannot hold it."""
    data = np.asarray(constants.array(port.node.inputs[port.index]))
    if narrow == ir.DataType.FLOAT:
        with np.errstate(over="ignore"):
            rounded = data.astype(np.float32)
        return rounded if (np.isfinite(rounded) == np.isfinite(data.astype(np.float64))).all() else None
    most = np.iinfo(np.int32)
    if walk.is_op(port.node, "Slice") and port.name in ("starts", "ends"):
        # The largest number of either type is "to the end" for onnxruntime, whatever the step; no other may become it.
        inside = np.clip(data.astype(np.int64), most.min, most.max - 1)
        return np.where(data == np.iinfo(np.int64).max, most.max, inside).astype(np.int32)
    whole = data.astype(np.int64)
    return whole.astype(np.int32) if ((whole >= most.min) & (whole <= most.max)).all() else None


PASS = NarrowIndices
