"""Cut a frozen TensorFlow graph down to what its outputs need, and refuse one that could do more than compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import SourceError, UnsupportedError

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.framework.node_def_pb2 import NodeDef

_FLOAT = 1  # tensorflow.DataType.DT_FLOAT
# DT_STRING, DT_RESOURCE, DT_VARIANT: files, tables and queues travel in these; pictures and weights do not.
_NOT_NUMBERS = frozenset({7, 20, 21})
# Reads a file named by an attribute, although TensorFlow calls it stateless.
_READS_FILES = frozenset({"ImmutableConst"})
_VARIABLES = frozenset({"VariableV2", "Variable", "VarHandleOp", "ReadVariableOp", "TemporaryVariable"})


def split_name(tensor: str) -> tuple[str, int]:
    """Node and output index of a tensor name: ``image`` and ``image:0`` are both ("image", 0)."""
    node, colon, index = tensor.rpartition(":")
    return (node, int(index)) if colon and index.isdecimal() else (tensor, 0)


def placeholders(graph: GraphDef) -> tuple[str, ...]:
    """Names of the graph's placeholders, in its order."""
    return tuple(node.name for node in graph.node if node.op == "Placeholder")


def sinks(graph: GraphDef) -> tuple[str, ...]:
    """Names of the nodes that no node reads and that lead back to a placeholder, in the graph's order."""
    read = {source for node in graph.node for source in _sources(node)}
    nodes = {node.name: node for node in graph.node}
    fed = frozenset(placeholders(graph))
    return tuple(
        node.name
        for node in graph.node
        if node.name not in read and node.name not in fed and fed & set(_reachable(nodes, [node.name], frozenset()))
    )


def placeholder_shape(node: NodeDef) -> tuple[int | None, ...] | None:
    """The shape a placeholder declares, None for a dimension or a rank that is open."""
    shape = node.attr["shape"].shape if "shape" in node.attr else None
    if shape is None or shape.unknown_rank or not shape.dim:
        return None
    return tuple(dim.size if dim.size >= 0 else None for dim in shape.dim)


def subgraph(graph: GraphDef, inputs: Mapping[str, Sequence[int | None] | None], outputs: Sequence[str]) -> GraphDef:
    """The part of `graph` between the nodes `inputs` (with their shapes, None for an open one) and the nodes `outputs`.

    Inputs become placeholders of that shape, whatever they were, so a graph can be entered behind its preprocessing.
    Control edges and device placements are dropped: nothing that is left has side effects.

    Raises:
        SourceError: a node reads one that is not there, or an output needs a placeholder that is not in `inputs`.
    """
    nodes = {node.name: node for node in graph.node}
    keep = set(_reachable(nodes, outputs, frozenset(inputs)))
    part = type(graph)()
    part.versions.CopyFrom(graph.versions)
    for node in graph.node:
        if node.name not in keep:
            continue
        copy = part.node.add()
        if node.name in inputs:
            copy.name, copy.op = node.name, "Placeholder"
            copy.attr["dtype"].type = node.attr["dtype"].type if node.op == "Placeholder" else _FLOAT
            shape = inputs[node.name]
            copy.attr["shape"].shape.unknown_rank = shape is None
            for size in shape or ():
                copy.attr["shape"].shape.dim.add().size = -1 if size is None else size
            continue
        if node.op == "Placeholder":
            raise SourceError(
                f"the outputs need the placeholder {node.name!r}, which is not among the inputs",
                fix="name it as an input too, or choose inputs behind it",
            )
        copy.CopyFrom(node)
        copy.device = ""
        del copy.input[:]
        copy.input.extend(name for name in node.input if not name.startswith("^"))
        if "_output_shapes" in copy.attr:  # recorded at freezing time, perhaps for another size
            del copy.attr["_output_shapes"]
    _copy_functions(graph, part)
    return part


def _copy_functions(graph: GraphDef, part: GraphDef) -> None:
    """Copy the functions that nodes of `part` call, and those that these call."""
    library = {function.signature.name: function for function in graph.library.function}
    todo = list(part.node)
    used: set[str] = set()
    while todo:
        node = todo.pop()
        called = {node.op, *(value.func.name for value in node.attr.values() if value.HasField("func"))}
        for name in sorted(called & set(library) - used):
            used.add(name)
            todo.extend(library[name].node_def)
    part.library.function.extend(library[name] for name in sorted(used))


def refuse_effects(graph: GraphDef, op_def: Callable[[str], Any | None]) -> None:
    """Make sure that running `graph` only computes: a .pb is a program and may come from anywhere.

    Args:
        graph: what will be run.
        op_def: TensorFlow's definition of an operator, or None when it has none.

    Raises:
        SourceError: an operator keeps state (variables, files, random numbers, Python) or handles strings or resources.
        UnsupportedError: an operator is not TensorFlow's own.
    """
    functions = {function.signature.name for function in graph.library.function}
    inside = (node for function in graph.library.function for node in function.node_def)
    for node in (*graph.node, *inside):
        if node.op in functions:
            continue
        definition = op_def(node.op)
        if definition is None:
            raise UnsupportedError(
                f"operator {node.op!r} is not one of TensorFlow's own",
                where=f"node {node.name}",
                fix="cut the graph before it: name an earlier tensor as output",
            )
        if node.op in _VARIABLES:
            raise SourceError(
                "the graph is not frozen: it keeps a variable", where=f"node {node.name}", fix="freeze it to constants"
            )
        if definition.is_stateful or node.op in _READS_FILES or _NOT_NUMBERS & set(_types(node, definition)):
            raise SourceError(
                f"operator {node.op!r} does more than compute; it is refused",
                where=f"node {node.name}",
                fix="export the graph for inference only, between the picture and the raw network outputs",
            )


def _types(node: NodeDef, definition: Any) -> Iterator[int]:
    for argument in (*definition.input_arg, *definition.output_arg):
        yield argument.type
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "type":
            yield value.type
        elif kind == "list":
            yield from value.list.type


def _sources(node: NodeDef) -> Iterator[str]:
    for name in node.input:
        if not name.startswith("^"):
            yield split_name(name)[0]


def _reachable(nodes: Mapping[str, NodeDef], start: Iterable[str], stop: frozenset[str]) -> Iterator[str]:
    seen: set[str] = set()
    todo = list(start)
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        if name in stop:
            continue
        if name not in nodes:
            raise SourceError(f"the graph has no node {name!r}, but reads it", fix="was the file written whole?")
        todo.extend(_sources(nodes[name]))
