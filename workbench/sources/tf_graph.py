"""Frozen TensorFlow graphs (.pb): inputs and outputs by name, turned from NHWC to NCHW at the boundary.

The only door to tf2onnx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from workbench.engine.progress import Progress, track
from workbench.errors import RecipeError, SourceError, ToolError, UnsupportedError
from workbench.graph import walk
from workbench.recipe.schema import InputSpec, OutputSpec, Strict
from workbench.runtimes import tensorflow
from workbench.runtimes._graph_def import placeholder_shape, placeholders, sinks, split_name
from workbench.runtimes._quiet import quiet
from workbench.sources import _naming, _resizes, _transposes
from workbench.sources._canonical import canonical, check_standard
from workbench.sources._source import (
    Exported,
    Tensors,
    check_finite,
    check_shapes,
    from_layout,
    need_weights,
    no_such_tensor,
    to_layout,
)

if TYPE_CHECKING:
    from tensorflow.core.framework.graph_pb2 import GraphDef

    from workbench.runtimes.tensorflow import FrozenFunction

TOOLS = ("tensorflow", "tensorflow-cpu", "tf2onnx", "onnx-ir")
_OPSET = 18
_FLOAT = 1  # tensorflow.DataType.DT_FLOAT


class Options(Strict):
    """A frozen graph has no options: the weights file is the network, the recipe's tensors say where it is entered."""


def fingerprint(options: Options, *, base: Path) -> str:  # noqa: ARG001 -- the signature every source has
    """Nothing: the weights file is the whole network."""
    return ""


def export(
    options: Options,  # noqa: ARG001 -- the signature every source has
    weights: Path | None,
    inputs: tuple[InputSpec, ...],
    outputs: tuple[OutputSpec, ...],
    samples: Sequence[Mapping[str, npt.NDArray[np.float32]]],
    *,
    base: Path,  # noqa: ARG001
    progress: Progress,
) -> Exported:
    """The canonical graph of a frozen graph and its golden outputs; see `Source.export`."""
    path = need_weights(weights, "tf_graph")
    graph = tensorflow.read_graph_def(path)
    _check_names(graph, inputs, outputs)
    _check_inputs(graph, inputs)
    try:
        part, run = _prepared(graph, inputs, outputs)
        check_shapes(
            _results(run, {spec.name: np.zeros(spec.nchw, np.float32) for spec in inputs}, inputs, outputs), outputs
        )
        golden = [_results(run, sample, inputs, outputs) for sample in track(samples, progress, "golden outputs")]
        check_finite(golden)
        progress.note("converting the graph")
        model = _to_onnx(part, inputs, outputs)
    except ToolError as error:
        error.where = f"{path}: {error.where}" if error.where else str(path)
        raise
    return Exported(canonical(model, inputs, outputs), golden)


def _results(
    run: FrozenFunction,
    sample: Mapping[str, npt.NDArray[np.float32]],
    inputs: Sequence[InputSpec],
    outputs: Sequence[OutputSpec],
) -> Tensors:
    """What TensorFlow computes of one canonical sample, canonical again."""
    results = run([to_layout(sample[spec.name], spec.layout) for spec in inputs])
    return {spec.name: from_layout(result, spec.layout) for spec, result in zip(outputs, results, strict=True)}


def _check_names(graph: GraphDef, inputs: Sequence[InputSpec], outputs: Sequence[OutputSpec]) -> None:
    known = [node.name for node in graph.node]
    names = frozenset(known)
    for index, spec in enumerate(inputs):
        if split_name(spec.source_tensor)[0] not in names:
            raise no_such_tensor("inputs", index, spec, known, placeholders(graph))
        if split_name(spec.source_tensor)[1] != 0:
            raise RecipeError(
                f"{spec.source_tensor!r} is not the first output of its node, so it cannot be an input",
                fix=f"start at one of: {', '.join(placeholders(graph))}",
                at=("inputs", index, "tensor" if spec.tensor else "name"),
            )
    seen: dict[tuple[str, int], str] = {}
    for index, output in enumerate(outputs):
        if split_name(output.source_tensor)[0] not in names:
            raise no_such_tensor("outputs", index, output, known, sinks(graph))
        tensor = split_name(output.source_tensor)
        if tensor in seen:
            raise RecipeError(
                f"{output.name!r} is the same tensor as {seen[tensor]!r}", fix="keep one", at=("outputs", index)
            )
        seen[tensor] = output.name


def _check_inputs(graph: GraphDef, inputs: Sequence[InputSpec]) -> None:
    """Compare what the placeholders declare with the recipe."""
    nodes = {node.name: node for node in graph.node}
    for index, spec in enumerate(inputs):
        node = nodes[split_name(spec.source_tensor)[0]]
        if node.op != "Placeholder":
            continue
        if node.attr["dtype"].type != _FLOAT:
            raise UnsupportedError(
                f"the placeholder {node.name!r} does not take float32",
                where=node.name,
                fix="name the first float tensor behind it as the input's tensor",
            )
        declared = placeholder_shape(node)
        if declared is None:
            continue
        open_or_same = (size is None or size == wanted for size, wanted in zip(declared, spec.shape, strict=False))
        if len(declared) != len(spec.shape) or not all(open_or_same):
            shown = ["?" if size is None else size for size in declared]
            raise RecipeError(
                f"input {spec.name!r} is {list(spec.shape)} in the recipe, {shown} in the graph".replace("'?'", "?"),
                fix="write the graph's shape, in its layout",
                at=("inputs", index, "shape"),
            )


def _prepared(
    graph: GraphDef, inputs: Sequence[InputSpec], outputs: Sequence[OutputSpec]
) -> tuple[GraphDef, FrozenFunction]:
    """The part of the graph that the recipe names, and that part as a function."""
    starts = [spec.source_tensor for spec in inputs]
    ends = [spec.source_tensor for spec in outputs]
    part = tensorflow.prepare(graph, dict(zip(starts, (spec.shape for spec in inputs), strict=True)), ends)
    kept = {node.name for node in part.node}
    for index, start in enumerate(starts):
        if split_name(start)[0] not in kept:
            raise RecipeError(
                f"no output depends on the tensor {start!r}",
                fix="remove this input, or name outputs behind it",
                at=("inputs", index),
            )
    try:
        return part, tensorflow.frozen_function(part, starts, ends)
    except SourceError as error:
        if not _works_with_its_own_shapes(graph, starts, ends):
            raise
        shapes = ", ".join(str(list(spec.shape)) for spec in inputs)
        raise RecipeError(
            f"the graph does not take {shapes}: {error.what}",
            fix="write the shape it was made for",
            at=("inputs", 0, "shape") if len(inputs) == 1 else ("inputs",),
        ) from error


def _works_with_its_own_shapes(graph: GraphDef, starts: Sequence[str], ends: Sequence[str]) -> bool:
    nodes = {node.name: node for node in graph.node}
    try:
        declared = {start: placeholder_shape(nodes[split_name(start)[0]]) for start in starts}
        tensorflow.frozen_function(tensorflow.prepare(graph, declared, ends), starts, ends)
    except SourceError:
        return False
    return True


def _to_onnx(part: GraphDef, inputs: Sequence[InputSpec], outputs: Sequence[OutputSpec]) -> ir.Model:
    """ONNX with its inputs and outputs in the recipe's order, NCHW, without a Transpose."""
    tensorflow.import_tensorflow()
    starts = [_full(spec.source_tensor) for spec in inputs]
    ends = [_full(spec.source_tensor) for spec in outputs]
    with quiet() as heard:
        import tf2onnx.convert

        try:
            proto, _ = tf2onnx.convert.from_graph_def(
                part,
                input_names=starts,
                output_names=ends,
                opset=_OPSET,
                inputs_as_nchw=[_full(spec.source_tensor) for spec in inputs if spec.layout == "NHWC"],
                outputs_as_nchw=[_full(spec.source_tensor) for spec in outputs if spec.layout == "NHWC"],
            )
        except Exception as error:  # tf2onnx has no errors of its own: its handlers raise whatever they run into
            lines = [line for line in (str(error) or heard.getvalue()).splitlines() if line.strip()]
            raise UnsupportedError(
                f"tf2onnx cannot convert the graph: {lines[0] if lines else type(error).__name__}",
                fix="cut the network before what it names: choose earlier tensors as outputs",
            ) from error
    model = _read(proto)
    graph = model.graph
    for ports, names in ((graph.inputs, starts), (graph.outputs, ends)):
        by_name = {value.name: value for value in ports}
        if set(by_name) != set(names):
            raise UnsupportedError(
                f"tf2onnx gave the tensors {sorted(map(str, by_name))} for {sorted(names)}", fix="report this graph"
            )
        ports[:] = [by_name[name] for name in names]
    check_standard(model)
    branching = next((node for node in graph if any(True for _ in walk.inner_graphs(node))), None)
    if branching is not None:
        raise UnsupportedError(
            "a loop or a branch cannot become a static graph",
            where=walk.label(branching),
            fix="freeze the graph for inference, with its switches set",
        )
    _resizes.repair(model)
    _transposes.remove(model)
    _naming.settle(graph)
    return model


def _full(tensor: str) -> str:
    node, index = split_name(tensor)
    return f"{node}:{index}"


def _read(proto: onnx.ModelProto) -> ir.Model:
    model: ir.Model = ir.serde.deserialize_model(proto)
    return model
