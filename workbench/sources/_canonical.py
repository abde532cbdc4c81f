"""Turn an exporter's ONNX into the canonical graph: the recipe's names and shapes, float32, nothing of its origin."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.graph import io, shapes, walk
from workbench.recipe.schema import InputSpec, OutputSpec

OPSETS = (17, 18)


def canonical(model: ir.Model, inputs: Sequence[InputSpec], outputs: Sequence[OutputSpec]) -> ir.Model:
    """A clean copy of `model`, whose graph inputs and outputs stand in the recipe's order.

    Raises:
        UnsupportedError: an input or output is not float32, an operator is not standard ONNX, the graph gives one
            tensor under two names, or its shapes contradict the recipe's.
    """
    graph = model.graph
    specs: list[tuple[ir.Value, InputSpec | OutputSpec]] = [*zip(graph.inputs, inputs, strict=True)]
    specs += zip(graph.outputs, outputs, strict=True)
    if len({id(value) for value, _ in specs}) < len(specs):
        raise UnsupportedError(
            "one tensor of the network is used under two of the recipe's names", fix="keep one of the two"
        )
    for value, spec in specs:
        if value.dtype not in (None, ir.DataType.FLOAT):
            raise UnsupportedError(
                f"tensor {spec.name!r} is {value.dtype.name.lower()} in the source; artifacts are made from float32",
                fix="export the network in float32, and cut it so that its inputs and outputs are float",
            )
    _free_names(graph, {spec.name for _, spec in specs}, {id(value) for value, _ in specs})
    for value, spec in specs:
        value.name = spec.name
        value.dtype = ir.DataType.FLOAT
        value.shape = ir.Shape(spec.nchw)
    graph.name = "network"
    check_standard(model)
    for domain in set(model.opset_imports) - {""}:  # imported and not used, it would only stop other tools
        del model.opset_imports[domain]
    clean = ir.serde.deserialize_model(io.to_proto(model))
    shapes.refresh(clean)
    return clean


def _free_names(graph: ir.Graph, wanted: set[str], keep: set[int]) -> None:
    """Rename what stands in the way of the recipe's names, and the graph's own ends for the moment."""
    values = [*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs)]
    taken = {value.name for value in values} | wanted
    for value in values:
        if value.name not in wanted:
            continue
        name = f"{value.name}_inner" if id(value) not in keep else f"{value.name}_end"
        while name in taken:
            name += "_"
        taken.add(name)
        value.name = name


def check_standard(model: ir.Model) -> None:
    """Make sure that every operator is one of ONNX's own, in an opset that the workbench takes.

    Raises:
        UnsupportedError: another opset or operator; the message names the node.
    """
    opset = model.opset_imports.get("", 0)
    if opset not in OPSETS:
        raise UnsupportedError(f"the export has opset {opset}", fix="the canonical graph is opset 17 or 18")
    check_operators(model, opset)


def check_operators(model: ir.Model, opset: int) -> None:
    """Make sure that ONNX has every operator in `opset`.

    Raises:
        UnsupportedError: another operator; the message names the node.
    """
    for node in model.graph.all_nodes():
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset, ""):
            raise UnsupportedError(
                f"operator {node.domain or 'ai.onnx'}::{node.op_type} is not standard ONNX",
                where=walk.label(node),
                fix="cut the network before it: name an earlier tensor as output",
            )
