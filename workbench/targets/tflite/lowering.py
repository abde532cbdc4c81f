"""Walk the canonical ONNX graph once and write the same network, NHWC, as a TensorFlow graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.graph import io
from workbench.runtimes._quiet import quiet
from workbench.targets.tflite.call import Call
from workbench.targets.tflite.layout import TO_NHWC, Value, as_picture, as_plain
from workbench.targets.tflite.operators import OPERATORS

_OPSETS = range(13, 24)
_SHOWN = 20


@dataclass(frozen=True)
class Edge:
    """An input or output: its name in ONNX, its node in TensorFlow and the shape it has there."""

    name: str
    node: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Lowered:
    """A TensorFlow graph, and its inputs and outputs in the order of the ONNX graph.

    Attributes:
        graph_def: the graph, without functions and variables.
        inputs: its placeholders.
        outputs: what the file delivers.
        not_deployable: why the network must not be shipped; empty when nothing speaks against it.
        origins: node in TensorFlow -> the ONNX tensor that it makes; what an operator is made of inside has none.
        made: the first ONNX tensor that each ONNX node makes, in order; its TensorFlow nodes are ``n<place>/...``.
    """

    graph_def: Any
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    not_deployable: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)
    made: tuple[str, ...] = ()


def lower(path: Path, tf: Any) -> Lowered:
    """The network in `path` as a TensorFlow graph; rank 4 inputs and outputs are NHWC, others as in ONNX.

    The graph is built in the open and not traced by tf.function, whose registered copies of the weights would make the
    conversion twice as large in memory.

    Args:
        path: the canonical ONNX: static shapes, NCHW.
        tf: the TensorFlow module.

    Raises:
        ToolError: `path` is not a readable ONNX graph.
        UnsupportedError: nodes or shapes that are not covered; all of them are named.
    """
    model = io.read(path)
    opset = model.opset_imports.get("", 0)
    if opset not in _OPSETS:
        raise UnsupportedError(
            f"ONNX opset {opset}; {_OPSETS[0]} to {_OPSETS[-1]} are covered",
            where=str(path),
            fix="export with opset 17 or 18",
        )
    graph = tf.Graph()
    origins: dict[str, str] = {}
    with graph.as_default(), quiet():
        sources = [value for value in model.graph.inputs if value.const_value is None]
        feeds = {value: _placeholder(tf, value, index) for index, value in enumerate(sources)}
        results = [
            tf.identity(_deliver(tf, value), name=f"output_{index}")
            for index, value in enumerate(_walk(tf, model.graph, dict(feeds), origins))
        ]
        return Lowered(
            graph.as_graph_def(),
            tuple(_edge(value, feed.data) for value, feed in feeds.items()),
            tuple(_edge(value, result) for value, result in zip(model.graph.outputs, results, strict=True)),
            io.not_deployable(model),
            origins,
            tuple(node.outputs[0].name or "" for node in model.graph),
        )


def _walk(tf: Any, graph: ir.Graph, values: dict[ir.Value, Value], origins: dict[str, str]) -> list[Value]:
    """Lower every node; returns the graph's outputs. Everything that is not covered is named in one error.

    Args:
        tf: the TensorFlow module.
        graph: the ONNX graph.
        values: what was made of its inputs; grows by what is made of its nodes.
        origins: grows by the TensorFlow node of every ONNX tensor.
    """
    refused: list[UnsupportedError] = []
    unknown: set[ir.Value | None] = set()
    for place, node in enumerate(graph):
        if unknown.intersection(node.inputs):
            unknown.update(node.outputs)  # its input stands for a refused node of unknown shape
            continue
        call = Call(tf, node, [None if value is None else _look_up(value, values) for value in node.inputs])
        try:
            with tf.name_scope(f"n{place}"):
                made = _lower_node(call)
        except UnsupportedError as error:
            refused.append(error)
            made = [_stand_in(tf, value) for value in node.outputs]
        for output, value in zip(node.outputs, made, strict=False):
            if value is None:
                unknown.add(output)
            else:
                values[output] = value
                if not value.constant:
                    origins[value.data.op.name] = output.name or ""
    if refused:
        raise _all(refused)
    return [_look_up(output, values) for output in graph.outputs]


def _look_up(value: ir.Value, values: Mapping[ir.Value, Value]) -> Value:
    """What was made of `value`; weights are decoded when they are needed and not kept."""
    if value not in values and value.const_value is not None:
        return Value(value.const_value.numpy())
    if value not in values:
        raise UnsupportedError(
            f"nothing makes tensor {value.name!r} before it is used", fix="check it with onnx.checker"
        )
    return values[value]


def _lower_node(call: Call) -> Sequence[Value | None]:
    node = call.node
    operator = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if operator is None:
        raise call.refuse("this operator is not covered")
    try:
        made = operator(call)
    except (ValueError, TypeError, call.tf.errors.OpError) as error:
        # TensorFlow checks shapes and types while it traces
        raise call.refuse(f"TensorFlow cannot take it: {str(error).splitlines()[0]}") from error
    call.finish()
    results = made if isinstance(made, list) else [made]
    for output, value in zip(node.outputs, results, strict=False):
        expected = _static(output)
        if expected is not None and expected != value.shape:
            raise call.refuse(f"its output would have shape {list(value.shape)}, ONNX says {list(expected)}")
    return results


def _deliver(tf: Any, value: Value) -> Any:
    """An output as the file delivers it: NHWC when it has rank 4."""
    return as_picture(tf, value) if len(value.shape) == 4 else as_plain(tf, value)


def _stand_in(tf: Any, output: ir.Value) -> Value | None:
    """Zeros of the declared shape, so that the walk goes on and finds what else is not covered."""
    shape = _static(output)
    if shape is None:
        return None
    dtype = "float32" if output.dtype is None else output.dtype.numpy()
    picture = len(shape) == 4
    return Value(tf.zeros([shape[axis] for axis in TO_NHWC] if picture else shape, dtype), picture)


def _placeholder(tf: Any, value: ir.Value, index: int) -> Value:
    shape = _static(value)
    if shape is None or value.dtype is None:
        raise UnsupportedError(
            f"input {value.name!r} has no static shape or no type",
            fix="give its shape in the recipe; the pass static_batch fixes a batch axis",
        )
    picture = len(shape) == 4
    stored = [shape[axis] for axis in TO_NHWC] if picture else list(shape)
    return Value(tf.compat.v1.placeholder(value.dtype.numpy(), stored, name=f"input_{index}"), picture)


def _static(value: ir.Value) -> tuple[int, ...] | None:
    shape = value.shape
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return tuple(int(size) for size in shape.numpy())


def _edge(value: ir.Value, tensor: Any) -> Edge:
    return Edge(value.name or "", tensor.op.name, tuple(int(size) for size in tensor.shape))


def _all(refused: Sequence[UnsupportedError]) -> UnsupportedError:
    if len(refused) == 1:
        return refused[0]
    lines = [f"{error.where}: {error.what}" for error in refused[:_SHOWN]]
    if len(refused) > _SHOWN:
        lines.append(f"and {len(refused) - _SHOWN} more")
    return UnsupportedError(
        f"{len(refused)} nodes cannot be lowered to TensorFlow Lite:\n  " + "\n  ".join(lines), fix=refused[0].fix
    )
