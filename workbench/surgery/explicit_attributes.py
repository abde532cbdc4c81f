"""Write out the attributes a node leaves to its defaults, for compilers that only read what is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Self

import onnx
import onnx_ir as ir
from pydantic import Field

from workbench.graph import attributes, shapes, walk
from workbench.surgery._pass import Edits, Pass, control_flow, require_named

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_POOLS = ("MaxPool", "AveragePool", "LpPool")


@dataclass(frozen=True, kw_only=True)
class ExplicitAttributes(Pass):
    """Write every default out, so that Elu has its alpha, TopK its axis and Conv its strides.

    1. An absent attribute that has a default in ONNX's operator schema, at the graph's operator set, gets that value.
    2. What the reference computes when absent is computed: kernel_shape from the weights, ones for strides and
       dilations, zeros for pads and output_padding. Where auto_pad or output_shape decides, pads are left absent, since
       ONNX forbids both.
    3. Operators of other domains have no schema here and are left alone.
    """

    operators: Annotated[
        tuple[str, ...] | None, Field(min_length=1, description="only these operators; all when left out")
    ] = None

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """An Elu without its alpha."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        bare (float[1,2,3,3] x) => (float[1,2,3,3] y) {
            y = Elu(x)
        }"""
        return cls(operators=("Elu",)), ir.from_onnx_text(text)

    def requires(self, model: ir.Model) -> None:
        """Every operator exists.

        Raises:
            RecipeError: ONNX has no such operator.
        """
        del model
        require_named(_known_operators(), self.operators or (), "operators", "ONNX operator")

    def apply(self, model: ir.Model) -> Edits:
        """Visit every node."""
        changed = []
        left = list(control_flow(model))
        opset = walk.opset(model)
        weights = shapes.infer(model)
        for node in model.graph:
            if self.operators is not None and node.op_type not in self.operators:
                continue
            if not walk.is_op(node):
                left.append(f"{walk.label(node)}: domain {node.domain} has no schema here")
                continue
            before = set(node.attributes)
            schema = _schema(node.op_type, opset)
            for name, value in schema.items():
                if name not in node.attributes and value.type != onnx.AttributeProto.UNDEFINED:
                    node.attributes[name] = ir.serde.deserialize_attribute(value)
            reason = _compute(node, weights, set(schema)) if node.op_type in (*_CONVOLUTIONS, *_POOLS) else None
            if reason is not None:
                left.append(f"{walk.label(node)}: {reason}")
            written = sorted(set(node.attributes) - before)
            if written:
                changed.append(f"{walk.label(node)}: {', '.join(written)}")
        return Edits(changed=tuple(changed), left=tuple(left))


@cache
def _known_operators() -> dict[str, None]:
    return dict.fromkeys(sorted(schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain))


@cache
def _schema(op_type: str, opset: int) -> dict[str, onnx.AttributeProto]:
    """The attributes of an operator by name, sorted, each with its default; one without has type UNDEFINED."""
    schema = onnx.defs.get_schema(op_type, opset, "")
    return {name: definition.default_value for name, definition in sorted(schema.attributes.items())}


def _compute(node: ir.Node, known: dict[str, shapes.Dims], allowed: set[str]) -> str | None:
    """Rule 2; returns why something was left absent."""
    kernel = attributes.integers(node, "kernel_shape", ())
    if not kernel and node.op_type in _CONVOLUTIONS:
        weight = node.inputs[1]
        dims = known.get((weight.name if weight is not None else None) or "", ())[2:]
        kernel = tuple(size for size in dims if isinstance(size, int))
        if not kernel or len(kernel) != len(dims):
            return "the shape of its weights is not static"
        attributes.put_integers(node, "kernel_shape", kernel)
    axes = len(kernel)
    _fill(node, "strides", (1,) * axes)
    if "dilations" in allowed:  # AveragePool has them since opset 19 only
        _fill(node, "dilations", (1,) * axes)
    if node.op_type == "ConvTranspose":
        _fill(node, "output_padding", (0,) * axes)
        if "output_shape" in node.attributes:
            return "output_shape decides its pads"
    mode = attributes.text(node, "auto_pad", "NOTSET")
    if mode != "NOTSET":
        return f"auto_pad {mode} decides its pads; run explicit_padding first"
    _fill(node, "pads", (0,) * (2 * axes))
    return None


def _fill(node: ir.Node, name: str, values: tuple[int, ...]) -> None:
    if name not in node.attributes:
        attributes.put_integers(node, name, values)


PASS = ExplicitAttributes
