"""What the rules of a BuildConfig know of the model: names, shapes, types and how the nodes hang together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from workbench.errors import ToolError
from workbench.graph.io import is_compiled, not_deployable, read_proto

Shapes = Mapping[str, tuple[int, ...]]
_ONNX = ("", "ai.onnx")


@dataclass(frozen=True)
class NodeFact:
    """One node: its name as it stands, its operator, the tensors it reads that are no weights, and those it makes."""

    name: str
    op_type: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """A model as far as a configuration speaks of it. A size that is not static is 0.

    Attributes:
        inputs: name to shape; weights that are listed as inputs are none.
        outputs: name to shape.
        not_deployable: why the model must not be shipped; empty when nothing speaks against it.
        nodes: in graph order; None when nobody looked.
        dtypes: numpy's name of the type of each input.
        constants: name to shape of every weight and constant.
        opset: of ONNX's own operators; 0 when it is not known.
    """

    inputs: Shapes
    outputs: Shapes
    not_deployable: str = ""
    nodes: tuple[NodeFact, ...] | None = None
    dtypes: Mapping[str, str] = field(default_factory=dict)
    constants: Shapes = field(default_factory=dict)
    opset: int = 0

    @property
    def quantized(self) -> bool:
        """Whether it is a QDQ model."""
        return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in self.nodes or ())

    @property
    def tensors(self) -> frozenset[str]:
        """Every tensor that is no weight."""
        made = {name for node in self.nodes or () for name in node.outputs if name}
        return frozenset({*self.inputs, *made})


def facts(model: Path) -> Facts:
    """Read the facts of an ONNX file.

    Raises:
        ToolError: the file cannot be read, or is compiled already.
    """
    proto = read_proto(model)
    if is_compiled(proto):
        raise ToolError("this model is compiled already", where=str(model), fix="give the ONNX it was compiled from")
    return of(proto)


def of(proto: onnx.ModelProto) -> Facts:
    """The facts of a model in memory."""
    graph = proto.graph
    constants = {tensor.name: tuple(int(size) for size in tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            held = next((one.t.dims for one in node.attribute if one.name == "value"), ())
            constants |= {name: tuple(int(size) for size in held) for name in node.output}
    inputs = [value for value in graph.input if value.name not in constants]
    return Facts(
        {value.name: _shape(value) for value in inputs},
        {value.name: _shape(value) for value in graph.output},
        not_deployable(proto),
        tuple(
            NodeFact(
                node.name,
                node.op_type,
                tuple(name for name in node.input if name and name not in constants),
                tuple(node.output),
            )
            for node in graph.node
            if node.op_type != "Constant"
        ),
        {value.name: _dtype(value) for value in inputs},
        constants,
        max((int(entry.version) for entry in proto.opset_import if entry.domain in _ONNX), default=0),
    )


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(int(size.dim_value) for size in value.type.tensor_type.shape.dim)


def _dtype(value: onnx.ValueInfoProto) -> str:
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    except (KeyError, ValueError, TypeError):  # no such type
        return ""
