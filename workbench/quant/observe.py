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
from workbench.graph import io, splice, walk
from workbench.quant.activations import activations
from workbench.quant.distributions import Distributions
from workbench.quant.histogram import Tally
from workbench.quant.ranges import Range, Ranges
from workbench.quant.shards import in_shards
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
    labels: Sequence[str] = (),
    partial: Path | None = None,
) -> Ranges:
    """The range of every float activation over all samples, in one session; memory does not grow with their number.

    Args:
        model: a float ONNX model with static shapes.
        feeds: the samples, each {input: array} of exactly the model's shapes.
        tensors: the activations to observe; None means all: graph inputs and every float node output.
        progress: told after each sample, from the number that `partial` already holds.
        total: how many samples there are, where known.
        labels: what to call the samples in an error, e.g. the names of their files.
        partial: a folder that keeps what is done, in shards, so that the same call after an interruption continues
            there, with the same result to the bit. It belongs to this model, these samples and these tensors alone.

    Raises:
        ToolError: there are no samples, one does not fit the model, or an activation is NaN or infinite: the first
            such tensor in graph order and the first such sample are named.
        UnsupportedError: as `activations`, or there are none, `tensors` names one that is not, or one has no elements.
    """
    observer = RangeObserver(model, tensors)
    seen = in_shards(observer, Ranges, feeds, progress=progress, total=total, labels=labels, folder=partial)
    return Ranges({name: seen[name] for name in observer.names}, seen.samples)


def observe_histograms(
    model: Path | bytes,
    feeds: Iterable[Mapping[str, Array]],
    *,
    tensors: Sequence[str] | None = None,
    progress: Progress,
    total: int | None = None,
    labels: Sequence[str] = (),
    partial: Path | None = None,
) -> Distributions:
    """Range and histogram of every float activation over all samples, in one session, for every calibration method.

    The activations of one sample are in memory together, those of two never, so that memory does not grow with their
    number. Arguments, order of the tensors and errors are those of `observe`, and so are the ranges.
    """
    observer = HistogramObserver(model, tensors)
    seen = in_shards(observer, Distributions, feeds, progress=progress, total=total, labels=labels, folder=partial)
    ranges = Ranges({name: seen.ranges[name] for name in observer.names}, seen.samples)
    return Distributions(ranges, {name: seen[name] for name in observer.names})


class RangeObserver:
    """Keeps the extremes of every tensor, by reductions inside the network; arguments and errors as `observe`."""

    def __init__(self, model: Path | bytes, tensors: Sequence[str] | None = None) -> None:
        network = _read(model)
        values = activations(network)
        self.names = _chosen(values, tensors)
        _reduce(network, [values[name] for name in self.names])
        self._model = model
        self._runner = _Runner(network, lean=True)
        self._start()

    def see(self, feed: Mapping[str, Array], label: str) -> None:
        """Widen the ranges by one sample."""
        found = np.array([float(value) for value in self._runner.run(feed).values()], np.float32).reshape(-1, 3)
        # Minima and maxima lose a NaN (they did for 5 of 6 positions tried); a sum never does, but may overflow.
        if not np.isfinite(found).all():
            _explain(self._model, self.names, feed, label)
        np.minimum(self._low, found[:, 0], out=self._low)
        np.maximum(self._high, found[:, 1], out=self._high)
        self._samples += 1

    def take(self) -> Ranges:
        """The ranges of the samples since the last call."""
        pairs = zip(self.names, self._low.tolist(), self._high.tolist(), strict=True)
        found = Ranges({name: Range(low, high) for name, low, high in pairs}, self._samples)
        self._start()
        return found

    def _start(self) -> None:
        self._low = np.full(len(self.names), np.inf, np.float32)
        self._high = np.full(len(self.names), -np.inf, np.float32)
        self._samples = 0


class HistogramObserver:
    """Keeps extremes and histogram of every tensor; arguments and errors as `observe_histograms`."""

    def __init__(self, model: Path | bytes, tensors: Sequence[str] | None = None) -> None:
        network = _read(model)
        values = activations(network)
        self.names = _chosen(values, tensors)
        made = [values[name] for name in self.names if values[name].producer() is not None]
        # A session needs an output, even where only inputs are looked at.
        outputs = made or [value for value in values.values() if value.producer() is not None]
        network.graph.outputs.clear()
        network.graph.outputs.extend(outputs)
        self._runner = _Runner(network, lean=False)
        self._start()

    def see(self, feed: Mapping[str, Array], label: str) -> None:
        """Count the values of one sample."""
        arrays = {**feed, **self._runner.run(feed)}
        for name, tally in self._tallies.items():
            try:
                tally.add(np.asarray(arrays.pop(name), np.float32))
            except ValueError as error:
                raise _not_finite(name, label) from error
        self._samples += 1

    def take(self) -> Distributions:
        """The distributions of the samples since the last call."""
        tallies = self._tallies
        ranges = {name: Range(tally.low, tally.high) for name, tally in tallies.items()}
        found = Distributions(
            Ranges(ranges, self._samples), {name: tally.histogram() for name, tally in tallies.items()}
        )
        self._start()
        return found

    def _start(self) -> None:
        self._tallies = {name: Tally() for name in self.names}
        self._samples = 0


class _Runner:
    """A session that is opened for the first sample: an observation that only reads its shards needs none."""

    def __init__(self, network: ir.Model, *, lean: bool) -> None:
        self._data: bytes | None = io.to_bytes(network)
        self._lean = lean
        self._idle = not network.graph.outputs

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        if self._idle:  # onnxruntime loads no graph without nodes and runs none without outputs
            return {}
        if self._data is not None:
            self._runner, self._data = OnnxRunner(self._data, lean=self._lean), None
        return self._runner.run(feed)


def _chosen(found: Mapping[str, ir.Value], tensors: Sequence[str] | None) -> list[str]:
    if not found:
        raise UnsupportedError("the model has no float activations", fix="give the float model of a network")
    for name in tensors or ():
        if name not in found:
            raise UnsupportedError(f"no float activation called {name!r}", fix=did_you_mean(name, found))
    chosen = [name for name in found if tensors is None or name in set(tensors)]
    for name in chosen:
        if 0 in (walk.static_shape(found[name]) or ()):
            raise UnsupportedError(
                f"tensor {name!r} has no elements: its shape is {found[name].shape}",
                where=walk.origin(found[name]),
                fix="remove the branch it belongs to; there is nothing to observe",
            )
    return chosen


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
        splice.insert_behind(graph, value, nodes)
    graph.outputs.clear()
    graph.outputs.extend(outputs)


def _explain(model: Path | bytes, names: Sequence[str], feed: Mapping[str, Array], label: str) -> None:
    """Run one sample with every tensor as output, and name the first that is not finite.

    Returns when all are: then only the sum had overflowed.
    """
    network = _read(model)
    values = activations(network)
    kept = set(names)
    # A graph input may not be an output too, so inputs are looked at in the feed itself.
    for value in network.graph.inputs:
        if value.name in kept and not np.isfinite(np.asarray(feed[value.name], np.float32)).all():
            raise _not_finite(value.name, label)
    made = [value for name, value in values.items() if name in kept and value.producer() is not None]
    network.graph.outputs.clear()
    network.graph.outputs.extend(made)
    with OnnxRunner(io.to_bytes(network)) as runner:
        for name, array in runner.run(feed).items():
            if not np.isfinite(array.astype(np.float32)).all():
                raise _not_finite(name, label)


def _not_finite(name: str, label: str) -> ToolError:
    return ToolError(
        f"tensor {name!r} is NaN or infinite for {label}",
        fix="check the weights and the preprocessing of that picture; no range can be measured on it",
    )
