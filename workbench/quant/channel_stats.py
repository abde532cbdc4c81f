"""Low, high and mean square of every channel of every activation, measured by reductions inside the network."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.engine.progress import Progress
from workbench.errors import ToolError
from workbench.graph import constants, io, splice, walk
from workbench.quant.activations import activations
from workbench.quant.ranges import Range, Ranges
from workbench.quant.shards import in_shards
from workbench.runtimes.onnxruntime import OnnxRunner

Array = npt.NDArray[np.generic]
Doubles = npt.NDArray[np.float64]

_FORMAT = 1
_UNIT = 2.0**149  # every float32 is a whole number of 2^-149


@dataclass(frozen=True)
class Channels:
    """What the channels of one tensor held.

    Args:
        low: the smallest value of each channel, shape (channels,).
        high: the largest.
        squares: the sum of the squares of each channel, in units of 2^-149: whole numbers add up in any order to the
            same bits.
        values: how many values each channel had.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    squares: tuple[int, ...]
    values: int

    @property
    def mean_square(self) -> Doubles:
        """The mean square of each channel, shape (channels,); never below what its finite extremes allow."""
        return np.array([total / self.values / _UNIT for total in self.squares], np.float64)

    @property
    def peak(self) -> Doubles:
        """The largest magnitude of each channel, shape (channels,)."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def range(self) -> Range:
        """The range of the whole tensor."""
        return Range(min(self.low), max(self.high))

    def merge(self, other: Channels) -> Channels:
        """What one observation of both would have found."""
        return Channels(
            tuple(map(min, self.low, other.low)),
            tuple(map(max, self.high, other.high)),
            tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),
            self.values + other.values,
        )


@dataclass(frozen=True)
class ChannelStats(Mapping[str, Channels]):
    """Channels by tensor name, and the number of samples they were seen in."""

    by_name: Mapping[str, Channels]
    samples: int

    def __getitem__(self, name: str) -> Channels:
        return self.by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def __len__(self) -> int:
        return len(self.by_name)

    def merge(self, other: ChannelStats) -> ChannelStats:
        """What one observation of both sample sets would give; associative and commutative, to the bit.

        Raises:
            ToolError: the two are not of the same tensors.
        """
        sizes = [{name: len(one[name].low) for name in one} for one in (self, other)]
        if sizes[0] != sizes[1]:
            raise ToolError("the two observations are of different networks", fix="observe one model on all samples")
        return ChannelStats({name: self[name].merge(other[name]) for name in self}, self.samples + other.samples)

    def ranges(self) -> Ranges:
        """The range of every tensor."""
        return Ranges({name: self[name].range for name in self}, self.samples)

    def to_bytes(self) -> bytes:
        """Deterministic JSON."""
        tensors = {
            name: [found.values, list(found.low), list(found.high), [f"{total:x}" for total in found.squares]]
            for name, found in sorted(self.items())
        }
        return json.dumps({"format": _FORMAT, "samples": self.samples, "channels": tensors}).encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "") -> Self:
        """What `to_bytes` wrote.

        Raises:
            ToolError: it is something else; `where` says which file it came from.
        """
        try:
            found = json.loads(data)
            if found["format"] != _FORMAT:
                raise ValueError(f"format {found['format']!r}")
            return cls({name: _read(*row) for name, row in found["channels"].items()}, int(found["samples"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ToolError(f"not a file of channels: {error}", where=where, fix="observe the model again") from error


def observe_channels(
    model: ir.Model,
    feeds: Iterable[Mapping[str, Array]],
    *,
    progress: Progress,
    total: int | None = None,
    labels: Sequence[str] = (),
    partial: Path | None = None,
) -> ChannelStats:
    """The channels of every float activation with at least two axes, in one session; memory does not grow with samples.

    Axis 1 counts the channels. Tensors without elements are left out.

    Args:
        model: a float network with static shapes; left as it is.
        feeds: the samples, each {input: array} of exactly the model's shapes.
        progress: told after each sample, from the number that `partial` already holds.
        total: how many samples there are, where known.
        labels: what to call the samples in an error, e.g. the names of their files.
        partial: a folder that keeps what is done, so that the same call after an interruption continues there.

    Raises:
        ToolError: there are no samples, one does not fit the model, or an activation is NaN or infinite: the first
            such tensor in graph order and the first such sample are named.
        UnsupportedError: as `activations`.
    """
    observer = ChannelObserver(model)
    seen = in_shards(observer, ChannelStats, feeds, progress=progress, total=total, labels=labels, folder=partial)
    return ChannelStats({name: seen[name] for name in observer.names}, seen.samples)


class ChannelObserver:
    """Keeps the channels of every tensor; arguments and errors as `observe_channels`."""

    _squares: list[int]

    def __init__(self, model: ir.Model) -> None:
        network = io.from_bytes(io.to_bytes(model))
        shapes = {name: walk.static_shape(value) or () for name, value in activations(network).items()}
        values = walk.tensors(network.graph)
        self.names = [name for name, shape in shapes.items() if len(shape) > 1 and 0 not in shape]
        self._sizes = [shapes[name][1] for name in self.names]
        self._pixels = [math.prod(shapes[name]) // shapes[name][1] for name in self.names]
        _reduce(network, [values[name] for name in self.names])
        self._data: bytes | None = io.to_bytes(network)
        self._start()

    def see(self, feed: Mapping[str, Array], label: str) -> None:
        """Add one sample."""
        if not self.names:
            self._samples += 1
            return
        if self._data is not None:  # opened for the first sample; what only reads shards needs none
            self._runner, self._data = OnnxRunner(self._data, lean=True), None
        found = [np.asarray(value, np.float64).reshape(-1) for value in self._runner.run(feed).values()]
        low, high, squares = (np.concatenate(found[kind::3]) for kind in range(3))
        # Extremes can lose a NaN, a sum of squares never does; but it overflows from 1e19 on.
        fine = np.isfinite(low) & np.isfinite(high) & ~np.isnan(squares)
        if not fine.all():
            first = int(np.argmin(fine))
            raise ToolError(
                f"tensor {self.names[int(np.searchsorted(np.cumsum(self._sizes), first, 'right'))]!r} "
                f"is NaN or infinite for {label}",
                fix="check the weights and the preprocessing of that picture; no range can be measured on it",
            )
        most = np.repeat(self._pixels, self._sizes) * np.maximum(low * low, high * high)
        numbers = (np.where(np.isfinite(squares), squares, most) * _UNIT).tolist()
        self._squares = [total + int(number) for total, number in zip(self._squares, numbers, strict=True)]
        np.minimum(self._low, low, out=self._low)
        np.maximum(self._high, high, out=self._high)
        self._samples += 1

    def take(self) -> ChannelStats:
        """The channels of the samples since the last call."""
        found = {}
        start = 0
        for name, size, pixels in zip(self.names, self._sizes, self._pixels, strict=True):
            part = slice(start, start + size)
            # Adding 0.0 turns -0.0, on which minima of equal numbers disagree, into 0.0.
            low, high = (tuple((ends[part] + 0.0).tolist()) for ends in (self._low, self._high))
            found[name] = Channels(low, high, tuple(self._squares[part]), pixels * self._samples)
            start += size
        seen = ChannelStats(found, self._samples)
        self._start()
        return seen

    def _start(self) -> None:
        self._low = np.full(sum(self._sizes), np.inf)
        self._high = np.full(sum(self._sizes), -np.inf)
        self._squares = [0] * sum(self._sizes)
        self._samples = 0


def _reduce(model: ir.Model, values: Sequence[ir.Value]) -> None:
    """Make the three reductions of each tensor the only outputs of `model`, each right behind its tensor."""
    graph = model.graph
    opset = model.opset_imports.get("", 0)
    prefix = "channels"
    while any(name.startswith(prefix) for name in walk.tensors(graph)):
        prefix += "_"
    lists: dict[int, ir.Value] = {}

    def reduction(op: str, value: ir.Value, rank: int, since: int) -> ir.Node:
        axes = [axis for axis in range(rank) if axis != 1]
        if opset < since:
            return ir.node(op, [value], {"keepdims": 0, "axes": axes})
        if rank not in lists:
            lists[rank] = constants.add(graph, f"{prefix}axes{rank}", np.array(axes, np.int64))
        return ir.node(op, [value, lists[rank]], {"keepdims": 0})

    outputs = []
    for index, value in enumerate(values):
        shape = walk.static_shape(value) or ()
        # ReduceSumSquare would be one node, and takes 30 times as long as these two (onnxruntime 1.20 to 1.23).
        square = ir.node("Mul", [value, value])
        square.outputs[0].name = f"{prefix}{index}Mul"
        nodes = [
            reduction("ReduceMin", value, len(shape), 18),
            reduction("ReduceMax", value, len(shape), 18),
            reduction("ReduceSum", square.outputs[0], len(shape), 13),
        ]
        for node in nodes:
            made = node.outputs[0]
            made.name = f"{prefix}{index}{node.op_type}"
            made.type = ir.TensorType(ir.DataType.FLOAT)
            made.shape = ir.Shape([shape[1]])
            outputs.append(made)
        nodes.insert(2, square)
        splice.insert_behind(graph, value, nodes)
    graph.outputs.clear()
    graph.outputs.extend(outputs)


def _read(values: int, low: list[float], high: list[float], squares: list[str]) -> Channels:
    found = Channels(
        tuple(float(v) + 0.0 for v in low),
        tuple(float(v) + 0.0 for v in high),
        tuple(int(v, 16) for v in squares),
        int(values),
    )
    ends = np.array([found.low, found.high])
    if not (np.isfinite(ends).all() and len(found.squares) == ends.shape[1] and found.values > 0):
        raise ValueError("a channel is not finite")
    return found
