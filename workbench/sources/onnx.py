"""ONNX files as the source: brought to one opset, a static shape and the recipe's names."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from workbench.engine.progress import Progress, track
from workbench.errors import RecipeError, SourceError, ToolError, UnsupportedError
from workbench.graph import constants, io, walk
from workbench.recipe.schema import InputSpec, OutputSpec, Strict
from workbench.runtimes._quiet import quiet
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.sources._canonical import OPSETS, canonical, check_operators
from workbench.sources._source import (
    Exported,
    Tensors,
    check_finite,
    check_shapes,
    from_layout,
    need_weights,
    no_such_tensor,
    only_nchw,
)

TOOLS = ("onnx", "onnx-ir", "onnxruntime")


class Options(Strict):
    """An ONNX file has no options: the weights file is the network."""


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
    """The canonical graph of an ONNX file and its golden outputs; see `Source.export`."""
    only_nchw("onnx", inputs, outputs)
    path = need_weights(weights, "onnx")
    try:
        with quiet():
            io.read(path)  # refuses what is no graph, is compiled, or keeps its weights elsewhere
        proto = io.read_proto(path)
        opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
        with quiet():
            model = _modern(proto, opset)
        if opset not in OPSETS:
            progress.note(f"opset {opset} became {OPSETS[-1]}")
    except ToolError as error:
        raise SourceError(error.what, where=_where(path, error), fix=error.fix) from error
    try:
        _check_ports(model.graph, inputs, outputs)
        golden = _golden(path, inputs, outputs, samples, progress)
        for results in golden:
            check_shapes(results, outputs)
        try:
            check_finite(golden)
        except SourceError as error:
            raise SourceError(error.what, fix=_culprit(model.graph) or error.fix) from error
        return Exported(canonical(model, inputs, outputs), golden)
    except ToolError as error:
        error.where = _where(path, error)
        raise


def _where(path: Path, error: ToolError) -> str:
    """The place of `error`, the file in front."""
    return error.where if str(path) in error.where else f"{path}: {error.where}".removesuffix(": ")


def _modern(proto: onnx.ModelProto, opset: int) -> ir.Model:
    """The model in an opset the workbench takes, without local functions and without weights among its inputs.

    Raises:
        UnsupportedError: ONNX's converter knows no way.
    """
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    if opset:  # before the converter and onnxruntime, which name no node
        check_operators(ir.serde.deserialize_model(proto), opset)
    if opset not in OPSETS:
        try:
            proto = onnx.version_converter.convert_version(proto, OPSETS[-1])
        except Exception as error:  # ConvertError and RuntimeError, and what its adapters throw from C++
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise UnsupportedError(
                f"opset {opset} cannot be brought to {OPSETS[-1]}: {lines[0] if lines else type(error).__name__}",
                fix=f"export the network again with opset {OPSETS[-1]}",
            ) from error
    model: ir.Model = ir.serde.deserialize_model(proto)
    model.ir_version = max(model.ir_version, 8)
    weights = model.graph.initializers
    model.graph.inputs[:] = [value for value in model.graph.inputs if value.name not in weights]
    return model


def _culprit(graph: ir.Graph) -> str:
    """What to do about the first weight that is NaN or infinite, in graph order; empty when there is none."""
    for node in graph.all_nodes():
        for value in node.inputs:
            held = None if value is None else constants.array(value)
            if value is not None and held is not None and held.dtype.kind == "f" and not np.isfinite(held).all():
                return f"weight {value.name!r} of {walk.label(node)} holds NaN or infinity: was the training sound?"
    return ""


def _check_ports(graph: ir.Graph, inputs: Sequence[InputSpec], outputs: Sequence[OutputSpec]) -> None:
    """Put the graph's inputs and outputs into the recipe's order, and compare their shapes.

    Raises:
        RecipeError: another number, name or shape.
        UnsupportedError: a tensor is not float32.
    """
    groups: list[tuple[str, Sequence[InputSpec | OutputSpec], MutableSequence[ir.Value]]]
    groups = [("inputs", inputs, graph.inputs), ("outputs", outputs, graph.outputs)]
    for group, specs, ports in groups:
        by_name = {str(value.name): value for value in ports}
        for index, spec in enumerate(specs):
            if spec.source_tensor not in by_name:
                raise no_such_tensor(group, index, spec, list(by_name), list(by_name))
            value = by_name[spec.source_tensor]
            if value.dtype != ir.DataType.FLOAT:
                raise UnsupportedError(
                    f"tensor {spec.source_tensor!r} is {value.dtype.name.lower() if value.dtype else 'of no type'}",
                    fix="export the network in float32, and cut it so that its inputs and outputs are float",
                )
            shape = value.shape
            given = [dim if isinstance(dim, int) else "?" for dim in shape] if shape is not None else None
            if given is not None and not _agree(given, spec.nchw):
                raise RecipeError(
                    f"{group[:-1]} {spec.name!r} is {list(spec.shape)} in the recipe, {given} in the file".replace(
                        "'", ""
                    ),
                    fix="write the file's shape",
                    at=(group, index, "shape"),
                )
        if len(by_name) != len(specs):
            others = sorted(set(by_name) - {spec.source_tensor for spec in specs})
            raise RecipeError(
                f"the file has {len(by_name)} {group}, the recipe names {len(specs)}; not named: {', '.join(others)}",
                fix="name them all; the pass cut_outputs drops some later" if group == "outputs" else "name them all",
                at=(group,),
            )
        ports[:] = [by_name[spec.source_tensor] for spec in specs]


def _agree(given: Sequence[int | str], wanted: Sequence[int]) -> bool:
    return len(given) == len(wanted) and all(one in ("?", other) for one, other in zip(given, wanted, strict=True))


def _golden(
    path: Path,
    inputs: Sequence[InputSpec],
    outputs: Sequence[OutputSpec],
    samples: Sequence[Mapping[str, npt.NDArray[np.float32]]],
    progress: Progress,
) -> list[Tensors]:
    """What onnxruntime makes of the file as it is: no optimization, no conversion."""
    golden: list[Tensors] = []
    try:
        with OnnxRunner(path, optimize=False) as runner:
            for sample in track(samples, progress, "golden outputs"):
                results = runner.run({spec.source_tensor: sample[spec.name] for spec in inputs})
                golden.append({spec.name: from_layout(results[spec.source_tensor], "NCHW") for spec in outputs})
    except ToolError as error:
        raise SourceError(error.what, where=error.where, fix=error.fix) from error
    return golden
