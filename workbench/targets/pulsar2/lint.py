"""Hold every node of a graph against a chip's operator table, attribute by attribute, before the compiler does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import onnx
import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.graph import shapes, walk
from workbench.graph.schemas import schema
from workbench.targets.pulsar2 import chips, limits, operators, traps
from workbench.targets.pulsar2.findings import Finding, Report, Verdict
from workbench.targets.pulsar2.limits import Unknown, View
from workbench.targets.pulsar2.operators import Limit, Table

_FOREIGN = "workbench.unknown"  # a domain for operators that ONNX does not define, so that it checks all the others
_QDQ = ("QuantizeLinear", "DequantizeLinear")
_INPUT_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32")
_INPUT_LIMIT = "src_dtype: U8, S8, U16, S16, U32, S32, FP16, FP32"
# Element types that Pulsar2's DataType names, but no operator's entry does.
_UNSAID_TYPES = ("int64", "uint64", "float16")
_SAID_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool")
# Attributes that ONNX gives no default but that, written like this, change nothing.
_NEUTRAL = {"dilations": 1, "strides": 1, "pads": 0, "output_padding": 0}
# Attributes that the pages leave out of their lists although the operator cannot do without them, or that are numbers
# of its formula: no sentence limits them, and to ask a person about each epsilon would hide what matters.
_ORDINARY = {
    "Cast": ("saturate", "round_mode"),  # they speak of 8-bit floats only, to which nothing can be cast
    "LayerNormalization": ("epsilon", "stash_type"),
    "RoiAlign": ("output_height", "output_width", "spatial_scale"),
}


@dataclass(frozen=True)
class _Graph:
    """A graph with what ONNX infers of it."""

    model: ir.Model
    opset: int
    types: Mapping[str, str]
    shapes: Mapping[str, limits.Dims]

    def view(self, node: ir.Node) -> View:
        return View(node, self.opset, self.shapes)


@dataclass
class _Told:
    """What was said already.

    Attributes:
        notes: how many nodes each note is about.
        types: tensors of an element type that was found fault with; what only passes it on is not told again.
    """

    types: set[str]
    notes: Counter[str] = field(default_factory=Counter)


def lint(model: ir.Model, chip: str) -> Report:
    """Check `model`, which is not changed, against the table of `chip`, which may be an alias such as AX630C.

    Raises:
        RecipeError: there is no such chip.
        UnsupportedError: it is no valid graph, or of an operator set that this ONNX does not know.
    """
    table = operators.table(chip)
    name = chips.find(chip).name
    graph = _inferred(model)
    findings = list(_whole(graph, table))
    fine: list[tuple[str, str]] = []
    told = _Told(types={one.tensor for one in findings if one.attribute == "type"})
    for node in model.graph:
        found = [*_node(graph, table, name, node, told), *traps.of_node(graph.view(node), table)]
        if found:
            findings += found
        else:
            fine.append((_name(node), node.op_type))
    mixed = traps.of_outputs(model.graph)
    findings += mixed
    joined = {(one.node, one.operator) for one in mixed}
    fine = [one for one in fine if one not in joined]
    notes = tuple(f"{text} ({count} node{'' if count == 1 else 's'})" for text, count in told.notes.items())
    return Report(name, table.about(name), graph.opset, tuple(findings), tuple(fine), notes)


def _inferred(model: ir.Model) -> _Graph:
    """The types and shapes of `model`; operators that ONNX does not define do not keep it from checking the others."""
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= opset <= newest:
        raise UnsupportedError(
            f"the graph says operator set {opset}, the installed ONNX knows 1 to {newest}",
            fix="export it at opset 17 or 18",
        )
    proto = shapes.outline(model)
    for node in proto.graph.node:
        if node.domain in ("", "ai.onnx") and schema(node.op_type, opset) is None:
            node.domain = _FOREIGN
    proto.opset_import.add(domain=_FOREIGN, version=1)
    known = shapes.typed(_inferable(proto, model))
    for value in proto.graph.output:  # ONNX wants a shape written for every output; one that it infers will do
        kind, (_, dims) = value.type.tensor_type, known.get(value.name, (0, None))
        if dims is not None and not kind.HasField("shape"):
            kind.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in dims)
    shapes.check(proto)
    return _Graph(
        model,
        opset,
        {name: limits.type_name(kind) for name, (kind, _) in known.items() if kind},
        {name: dims for name, (_, dims) in known.items() if dims is not None},
    )


def _inferable(proto: onnx.ModelProto, model: ir.Model) -> onnx.ModelProto:
    """A copy of an outline that says what ONNX cannot infer, so that it does not stop there."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for node, before in zip(copy.graph.node, model.graph, strict=True):
        if not walk.is_op(before) or node.domain == _FOREIGN:
            stated = [value for value in before.outputs if value.name and value.shape is not None]
            copy.graph.value_info.extend(ir.serde.serialize_value(value) for value in stated)
    return copy


def _whole(graph: _Graph, table: Table) -> Iterator[Finding]:
    """What is wrong with the graph as a whole and with its inputs."""
    if graph.opset < table.opset:
        yield Finding(
            node="",
            operator="graph",
            tensor="",
            attribute="opset",
            found=f"is {graph.opset}",
            limit=f"at least {table.opset}",
            verdict="blocked",
        )
    constant = graph.model.graph.initializers
    for value in graph.model.graph.inputs:
        name = str(value.name)
        if name in constant:  # only a default, which files of old versions list among the inputs
            continue
        if not _static(graph, value):
            yield _of_input(name, "shape", f"is {_shown(graph, value)}", "every size must be a number")
        kind = graph.types.get(name, "no tensor")
        if kind not in _INPUT_TYPES:
            yield _of_input(name, "type", f"is {kind}", _INPUT_LIMIT)


def _of_input(name: str, attribute: str, found: str, limit: str) -> Finding:
    return Finding(
        node=name, operator="input", tensor=name, attribute=attribute, found=found, limit=limit, verdict="blocked"
    )


def _node(graph: _Graph, table: Table, chip: str, node: ir.Node, told: _Told) -> Iterator[Finding]:
    """What is wrong with one node."""
    listed = _listed(graph, table, chip, node, told)
    if isinstance(listed, Finding):
        yield listed
        return
    view = graph.view(node)
    for limit in listed:
        if limit.rule.word == "information":
            if limits.counts(view, limit):
                told.notes[f"{node.op_type}: {limit.sentence.removeprefix('note:').strip()}"] += 1
            continue
        try:
            found = limits.broken(view, limit)
        except Unknown as unknown:
            yield _finding(node, limit.name or "operator", str(unknown), limit.sentence, "by hand")
            continue
        if found is not None:
            yield _finding(node, limit.name or "operator", found, limit.sentence, "blocked")
    yield from _unmentioned(view, listed)
    yield from _made(graph, node, told)


def _listed(graph: _Graph, table: Table, chip: str, node: ir.Node, told: _Told) -> tuple[Limit, ...] | Finding:
    """The limits of a node's operator, or why it has none."""
    if node.op_identifier() in graph.model.functions:
        return _finding(node, "operator", "calls a function of the file", "operators only", "blocked")
    if next(walk.inner_graphs(node), None) is not None:
        return _finding(node, "operator", "holds a subgraph", f"not in {table.chip}'s table", "blocked")
    known = table.operators.get(node.op_type)
    if walk.is_op(node, *_QDQ):
        if not chips.find(chip).quantonnx:
            able = " and ".join(one.name for one in chips.CHIPS if one.quantonnx)
            return _finding(node, "operator", "is quantized already", f"QuantONNX is for {able} only", "blocked")
        told.notes["QuantizeLinear, DequantizeLinear: a quantized graph is given with model_type QuantONNX"] += 1
        return ()
    if known is None:
        return _finding(node, "operator", "is not listed", traps.unlisted(node, table), "blocked")
    # An operator that ONNX does not define has no domain of its own: whichever an exporter took will do.
    if not walk.is_op(node) and schema(node.op_type, onnx.defs.onnx_opset_version()) is not None:
        return _finding(node, "operator", f"is of domain {node.domain}", f"ONNX's {node.op_type} is listed", "by hand")
    return known


def _unmentioned(view: View, listed: tuple[Limit, ...]) -> Iterator[Finding]:
    """Attributes and inputs that differ from the default and that a list of an operator's attributes leaves out."""
    node, known = view.node, view.schema
    named = {limit.name for limit in listed if limit.subject != "operator"}
    if known is None or not named:
        return
    limit = f"not in the table's list ({', '.join(sorted(named))})"
    for name in node.attributes:
        if name in named or name in _ORDINARY.get(node.op_type, ()) or name not in known.attributes:
            continue
        try:
            value = view.attribute(name)
        except Unknown as unknown:
            yield _finding(node, name, str(unknown), limit, "by hand")
            continue
        neutral = _NEUTRAL.get(name)
        if value == view.default(name) or (isinstance(value, tuple) and all(one == neutral for one in value)):
            continue
        yield _finding(node, name, f"is {limits.shown(value)}", limit, "by hand")
    inputs = {one.name: one for one in known.inputs}
    if not named & set(inputs):
        return
    for name, one in inputs.items():
        optional = one.option == onnx.defs.OpSchema.FormalParameterOption.Optional
        if name not in named and optional and view.input(name) is not None:
            yield _finding(node, name, "is given", limit, "by hand")


def _made(graph: _Graph, node: ir.Node, told: _Told) -> Iterator[Finding]:
    """Shapes that are not numbers and element types that the chip may not have, where they first appear."""
    if walk.is_op(node, "Constant"):
        return
    for index, value in enumerate(node.outputs):
        if not value.name:
            continue
        if not _static(graph, value) and all(_static(graph, one) for one in node.inputs if one is not None):
            known = value.name in graph.shapes
            text = f"'{value.name}' is {_shown(graph, value)}" if known else f"of '{value.name}' is not known"
            yield _finding(node, "shape", text, "every size must be a number", "blocked" if known else "by hand")
        kind = graph.types.get(value.name)
        if kind is None or kind in _SAID_TYPES or _always(graph, node, index, kind):
            continue
        told_before = not told.types.isdisjoint(str(one.name) for one in node.inputs if one is not None)
        told.types.add(value.name)
        if told_before or walk.is_op(node, "Cast"):  # Cast has a sentence about types of its own
            continue
        unsaid = kind in _UNSAID_TYPES
        limit = f"no entry speaks of {kind} but as what Cast cannot make" if unsaid else f"DataType has no {kind}"
        yield _finding(node, "type", f"'{value.name}' is {kind}", limit, "by hand" if unsaid else "blocked")


def _always(graph: _Graph, node: ir.Node, index: int, kind: str) -> bool:
    """Whether ONNX allows this output no other element type, as ArgMax's int64: it is listed with the operator."""
    known = schema(node.op_type, graph.opset)
    if known is None or index >= len(known.outputs):
        return False
    return set(known.outputs[index].types) == {f"tensor({kind})"}


def _static(graph: _Graph, value: ir.Value | None) -> bool:
    dims = graph.shapes.get(str(value.name)) if value is not None else None
    return dims is not None and all(isinstance(dim, int) for dim in dims)


def _shown(graph: _Graph, value: ir.Value) -> str:
    dims = graph.shapes.get(str(value.name))
    return "unknown" if dims is None else f"[{', '.join('?' if dim is None else str(dim) for dim in dims)}]"


def _finding(node: ir.Node, attribute: str, found: str, limit: str, verdict: Verdict) -> Finding:
    return traps.finding(node, attribute, found, limit, verdict)


def _name(node: ir.Node) -> str:
    return traps.name(node)
