"""Run a network over samples and keep the extremes of every activation, or all of its distribution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.catalog import did_you_mean
from workbench.engine.progress import Progress
from workbench.errors import ToolError, UnsupportedError
from workbench.graph import io, walk
from workbench.quant.activations import activations
from workbench.quant.distributions import Distributions
from workbench.quant.histogram import Histogram
from workbench.quant.ranges import Range, Ranges
from workbench.runtimes.onnxruntime import OnnxRunner

Array = npt.NDArray[np.generic]

# Measured on CPM (382 tensors, 192x192, 2 cores, 32 pictures): all tensors as outputs 0.81 s and 180 MB above the
# loaded model; these reductions at the end of the default order 0.76 s, 145 MB; next to their producers in a lean
# session 0.50 s, 15 MB. The plain network takes 0.20 s.
_LOW, _HIGH, _SUM = "ReduceMin", "ReduceMax", "ReduceSum"


def observe(
    model: Path | bytes,
    feeds: Iterable[Mapping[str, Array]],
    *,
    tensors: Sequence[str] | None = None,
    progress: Progress,
    total: int | None = None,
) -> Ranges:
    """The range of every float activation over all samples, in one session; memory does not grow with their number.

    Args:
        model: a float ONNX model with static shapes.
        feeds: the samples, each {input: array} of exactly the model's shapes.
        tensors: the activations to observe; None means all: graph inputs and every float node output.
        progress: told after each sample.
        total: how many samples there are, where known.

    Raises:
        ToolError: there are no samples, one does not fit the model, or an activation is NaN or infinite: the first
            such tensor in graph order and the sample's index are named.
        UnsupportedError: as `activations`, or `tensors` names none.
    """
    network = _read(model)
    values = activations(network)
    names = _chosen(values, tensors)
    _reduce(network, [values[name] for name in names])
    instrumented = io.to_bytes(network)
    del network, values
    low = np.full(len(names), np.inf, np.float32)
    high = np.full(len(names), -np.inf, np.float32)
    done = 0
    progress.step(0, total, "samples observed")
    with OnnxRunner(instrumented, lean=True) as runner:
        del instrumented
        for done, feed in enumerate(feeds, 1):
            found = np.array([float(value) for value in runner.run(feed).values()], np.float32).reshape(-1, 3)
            # Minima and maxima lose a NaN (they did for 5 of 6 positions tried); a sum never does, but may overflow.
            if not np.isfinite(found).all():
                _explain(model, names, feed, done - 1)
            np.minimum(low, found[:, 0], out=low)
            np.maximum(high, found[:, 1], out=high)
            progress.step(done, total, "samples observed")
    if not done:
        raise _nothing()
    ranges = {name: Range(float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}
    return Ranges(ranges, done)


def observe_histograms(
    model: Path | bytes,
    feeds: Iterable[Mapping[str, Array]],
    *,
    tensors: Sequence[str] | None = None,
    progress: Progress,
    total: int | None = None,
) -> Distributions:
    """Range and histogram of every float activation over all samples, in one session, for every calibration method.

    The activations of one sample are in memory together, those of two never, so that memory does not grow with their
    number. Arguments, order of the tensors and errors are those of `observe`, and so are the ranges.
    """
    network = _read(model)
    values = activations(network)
    names = _chosen(values, tensors)
    made = [name for name in names if values[name].producer() is not None]
    network.graph.outputs.clear()
    network.graph.outputs.extend(values[name] for name in made)
    if not made:
        # A session needs an output, even where only inputs are looked at.
        network.graph.outputs.extend(value for value in values.values() if value.producer() is not None)
    instrumented = io.to_bytes(network)
    del network, values
    low = np.full(len(names), np.inf, np.float32)
    high = np.full(len(names), -np.inf, np.float32)
    histograms = [Histogram.empty()] * len(names)
    done = 0
    progress.step(0, total, "samples observed")
    with OnnxRunner(instrumented) as runner:
        del instrumented
        for done, feed in enumerate(feeds, 1):
            arrays = {**feed, **runner.run(feed)}
            for index, name in enumerate(names):
                array = np.asarray(arrays.pop(name), np.float32)
                a, b = array.min(), array.max()
                if not (np.isfinite(a) and np.isfinite(b)):
                    raise _not_finite(name, done - 1)
                low[index], high[index] = min(low[index], a), max(high[index], b)
                histograms[index] = histograms[index].merge(Histogram.of(array))
            progress.step(done, total, "samples observed")
    if not done:
        raise _nothing()
    ranges = {name: Range(float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}
    return Distributions(Ranges(ranges, done), dict(zip(names, histograms, strict=True)))


def _chosen(found: Mapping[str, ir.Value], tensors: Sequence[str] | None) -> list[str]:
    if tensors is None:
        return list(found)
    for name in tensors:
        if name not in found:
            raise UnsupportedError(f"no float activation called {name!r}", fix=did_you_mean(name, found))
    return [name for name in found if name in set(tensors)]


def _read(model: Path | bytes) -> ir.Model:
    return io.read(model) if isinstance(model, Path) else io.from_bytes(model)


def _reduce(model: ir.Model, values: Sequence[ir.Value]) -> None:
    """Make the three reductions of each tensor the only outputs of `model`, each right behind its tensor."""
    graph = model.graph
    prefix = "range"
    while any(name.startswith(prefix) for name in walk.tensors(graph)):
        prefix += "_"
    outputs = []
    for index, value in enumerate(values):
        nodes = [ir.node(op, [value], attributes={"keepdims": 0}) for op in (_LOW, _HIGH, _SUM)]
        for node in nodes:
            made = node.outputs[0]
            made.name = f"{prefix}{index}{node.op_type}"
            made.type = ir.TensorType(ir.DataType.FLOAT)
            made.shape = ir.Shape([])
            outputs.append(made)
        behind = value.producer()
        if behind is not None:
            graph.insert_after(behind, nodes)
        elif len(graph):
            graph.insert_before(graph[0], nodes)
        else:
            graph.extend(nodes)
    graph.outputs.clear()
    graph.outputs.extend(outputs)


def _explain(model: Path | bytes, names: Sequence[str], feed: Mapping[str, Array], index: int) -> None:
    """Run one sample with every tensor as output, and name the first that is not finite.

    Returns when all are: then only the sum had overflowed.
    """
    network = _read(model)
    values = activations(network)
    kept = set(names)
    # A graph input may not be an output too, so inputs are looked at in the feed itself.
    for value in network.graph.inputs:
        if value.name in kept and not np.isfinite(np.asarray(feed[value.name], np.float32)).all():
            raise _not_finite(value.name, index)
    made = [value for name, value in values.items() if name in kept and value.producer() is not None]
    network.graph.outputs.clear()
    network.graph.outputs.extend(made)
    with OnnxRunner(io.to_bytes(network)) as runner:
        for name, array in runner.run(feed).items():
            if not np.isfinite(array.astype(np.float32)).all():
                raise _not_finite(name, index)


def _nothing() -> ToolError:
    return ToolError("no samples to observe", fix="give the calibration some pictures")


def _not_finite(name: str, index: int) -> ToolError:
    return ToolError(
        f"tensor {name!r} is NaN or infinite for sample {index}",
        fix="check the weights and the preprocessing of that picture; no range can be measured on it",
    )
