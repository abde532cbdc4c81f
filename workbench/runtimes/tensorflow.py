"""Frozen TensorFlow graphs (.pb), run on the CPU: the only door to TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from google.protobuf.message import DecodeError

from workbench.errors import SourceError
from workbench.runtimes import _graph_def
from workbench.runtimes._quiet import quiet
from workbench.runtimes._runner import Array, Port, Runner

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef


def import_tensorflow() -> ModuleType:
    """TensorFlow, silent and on the CPU.

    oneDNN is off unless the user set it: it reorders sums from run to run, and announces itself on stderr.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with quiet():
        import tensorflow

    tensorflow.get_logger().setLevel("ERROR")
    module: ModuleType = tensorflow
    return module


def read_graph_def(path: Path) -> GraphDef:
    """The frozen graph in `path`.

    Raises:
        SourceError: the file is missing or unreadable, or holds no graph.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"cannot read the graph: {error.strerror}", where=str(path), fix="check the path and its permissions"
        ) from error
    graph = import_tensorflow().compat.v1.GraphDef()
    try:
        graph.ParseFromString(data)
    except DecodeError as error:
        raise SourceError(
            "not a frozen TensorFlow graph", where=str(path), fix="give a GraphDef .pb; was it downloaded whole?"
        ) from error
    if not graph.node or not all(node.name and node.op for node in graph.node):
        raise SourceError(
            "no TensorFlow graph inside",
            where=str(path),
            fix="give a frozen GraphDef; a saved_model.pb must be frozen to one first",
        )
    return graph


def prepare(graph: GraphDef, inputs: Mapping[str, Sequence[int | None] | None], outputs: Sequence[str]) -> GraphDef:
    """The part of `graph` between `inputs` and `outputs`, sure to do nothing but compute.

    Args:
        graph: a frozen graph.
        inputs: tensor names with the shapes they are to have; each must be its node's first output.
        outputs: tensor names.

    Raises:
        SourceError: see `_graph_def.subgraph` and `_graph_def.refuse_effects`; UnsupportedError likewise.
    """
    import_tensorflow()
    from tensorflow.python.framework import op_def_registry

    entries = {_graph_def.split_name(name)[0]: shape for name, shape in inputs.items()}
    part = _graph_def.subgraph(graph, entries, [_graph_def.split_name(name)[0] for name in outputs])
    _graph_def.refuse_effects(part, op_def_registry.get)
    return part


@dataclass(frozen=True)
class FrozenFunction:
    """A graph between named tensors; call it with arrays for `inputs`, get those of `outputs`, in these orders."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    _pruned: Any = field(repr=False)

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once, in the graph's own layout.

        Raises:
            SourceError: TensorFlow cannot run the graph on these arrays.
        """
        tf = import_tensorflow()
        try:
            with quiet():
                results = self._pruned(*(tf.constant(array) for array in arrays))
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise SourceError(
                f"TensorFlow cannot run the graph: {_first_line(error)}", fix="check the inputs' shapes and layout"
            ) from error
        return [np.asarray(result) for result in results]


def frozen_function(graph: GraphDef, inputs: Sequence[str], outputs: Sequence[str]) -> FrozenFunction:
    """`graph` as a function of the tensors `inputs`.

    Raises:
        SourceError: TensorFlow refuses the graph: unknown tensors, or shapes that do not fit together.
    """
    tf = import_tensorflow()

    def load() -> None:
        tf.import_graph_def(graph, name="")

    try:
        with quiet():
            wrapped = tf.compat.v1.wrap_function(load, [])
            feeds, fetches = (
                [wrapped.graph.get_tensor_by_name(_full(n)) for n in names] for names in (inputs, outputs)
            )
            pruned = wrapped.prune(feeds, fetches)
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise SourceError(
            f"TensorFlow refuses the graph: {_first_line(error)}", fix="check the inputs' shapes"
        ) from error
    return FrozenFunction(
        tuple(_port(name, tensor) for name, tensor in zip(inputs, feeds, strict=True)),
        tuple(_port(name, tensor) for name, tensor in zip(outputs, fetches, strict=True)),
        pruned,
    )


def _full(name: str) -> str:
    node, index = _graph_def.split_name(name)
    return f"{node}:{index}"


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


class TensorFlowRunner(Runner):
    """A `Runner` over a frozen graph; pictures are NHWC, and names are those of the graph without ``:0``.

    Args:
        model: a .pb file.
        inputs: tensor names; by default the placeholders that the outputs need.
        outputs: tensor names; by default the nodes that nothing reads.

    Raises:
        SourceError: the file is no graph, does more than compute, or lacks a tensor.
    """

    runtime = "TensorFlow"
    layout: Literal["NCHW", "NHWC"] = "NHWC"

    def __init__(
        self, model: Path, *, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
    ) -> None:
        graph = read_graph_def(model)
        try:
            wanted = _graph_def.sinks(graph) if outputs is None else tuple(outputs)
            nodes = {node.name: node for node in graph.node}
            for name in (*wanted, *(inputs or ())):
                if _graph_def.split_name(name)[0] not in nodes:
                    raise SourceError(
                        f"no tensor called {name!r}", fix=f"its outputs are {list(_graph_def.sinks(graph))}"
                    )
            fed = _graph_def.placeholders(graph) if inputs is None else tuple(inputs)
            shapes = {name: _graph_def.placeholder_shape(nodes[_graph_def.split_name(name)[0]]) for name in fed}
            part = prepare(graph, shapes, wanted)
            fed = _graph_def.placeholders(part) if inputs is None else fed
            if not wanted or not fed:
                raise SourceError("the graph has no input or no output", fix="name them, or give a network's graph")
            self._function = frozen_function(part, fed, wanted)
        except SourceError as error:
            raise SourceError(error.what, where=error.where or str(model), fix=error.fix) from error
        self.inputs, self.outputs = self._function.inputs, self._function.outputs

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see `Runner.run`."""
        results = self._function([feeds[port.name] for port in self.inputs])
        return {port.name: result for port, result in zip(self.outputs, results, strict=True)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the graph."""
        del self._function


def _port(name: str, tensor: Any) -> Port:
    shape = tuple(tensor.shape.as_list()) if tensor.shape.rank is not None else ()
    return Port(name, shape, tensor.dtype.name)
