"""How far every tensor of the emulation is from the float network, layer by layer and from end to end.

Three networks run as one graph on the same sample: the float one; the emulation; and the emulation with each layer
reading the float network's tensors, rounded. What they make is compared inside the graph, so that a run returns a
few sums a tensor: memory does not grow with tensors or samples.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from workbench.errors import ToolError, UnsupportedError
from workbench.graph import io, shapes
from workbench.quant.opset21 import to_opset_21
from workbench.runtimes.onnxruntime import OnnxRunner

_EMULATED, _LAYER, _GRID = "emulated:", "layer:", "grid:"
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_SUMS = ("dot", "float", "made", "noise")  # a.b, a.a, b.b and (a-b).(a-b)


@dataclass(frozen=True)
class Reading:
    """One tensor, over all elements of all samples.

    Attributes:
        tensor: its name in the float network.
        operator: what makes it there.
        per_layer: cosine of what its layer makes of the float network's tensors, rounded; -1..1.
        end_to_end: cosine of what the whole emulation makes.
        mse: mean squared error from end to end, in the tensor's own unit squared.
    """

    tensor: str
    operator: str
    per_layer: float
    end_to_end: float
    mse: float


def readings(
    network: ir.Model, emulation: ir.Model, feeds: Iterable[Mapping[str, npt.NDArray[np.generic]]]
) -> tuple[Reading, ...]:
    """Every activation that stands on a grid, in graph order, inputs aside.

    Args:
        network: the float graph, with static shapes.
        emulation: what `qdq.write_qdq` made of it.
        feeds: samples, {input: float32 array}.

    Raises:
        UnsupportedError: the two have different operator sets and cannot be brought together, or subgraphs.
        ToolError: there is no sample, or onnxruntime refuses the graph.
    """
    merged = _Merged(network, emulation)
    totals = {name: np.zeros(len(_SUMS), np.float64) for pair in merged.pairs for name in pair.sums}
    samples = 0
    with OnnxRunner(merged.model.SerializeToString(), optimize=False, lean=True) as runner:
        for feed in feeds:
            samples += 1
            for name, sums in runner.run(feed).items():
                totals[name] += np.asarray(sums, np.float64)
    if not samples:
        raise ToolError("no samples to compare layers on", fix="give the calibration some pictures")
    return tuple(
        Reading(
            pair.tensor,
            pair.operator,
            _cosine(totals[pair.sums[0]]),
            _cosine(totals[pair.sums[1]]),
            float(totals[pair.sums[1]][3]) / (samples * max(pair.elements, 1)),
        )
        for pair in merged.pairs
    )


@dataclass(frozen=True)
class _Pair:
    """A tensor that is compared: names of its two vectors of sums, per layer and end to end."""

    tensor: str
    operator: str
    elements: int
    sums: tuple[str, str]


@dataclass(frozen=True)
class _Roles:
    """What the nodes of an emulation are for.

    Attributes:
        fixed: constants, and what dequantizes them.
        rounded: dequantized activation -> the float network's tensor that it is the rounded value of.
        sources: quantized activation -> the same.
    """

    fixed: frozenset[str]
    rounded: Mapping[str, str]
    sources: Mapping[str, str]

    @classmethod
    def of(cls, graph: onnx.GraphProto, floats: frozenset[str]) -> _Roles:
        """The roles in `graph`; `floats` are the names of the float network's activations, inputs included."""
        fixed = {tensor.name for tensor in graph.initializer}
        real: dict[str, str] = {}
        seen: dict[str, list[str]] = {}
        for node in graph.node:
            if all(name in fixed for name in node.input):
                fixed.update(node.output)
            elif node.op_type == _QUANTIZE:
                real[node.output[0]] = node.input[0]
            elif node.op_type == _DEQUANTIZE and node.input[0] in real:
                seen.setdefault(node.input[0], []).append(node.output[0])
        named = {
            integers: next((name for name in (real[integers], *made) if name in floats), "")
            for integers, made in seen.items()
        }
        return cls(
            frozenset(fixed),
            {name: named[integers] for integers, made in seen.items() if named[integers] for name in made},
            {integers: name for integers, name in named.items() if name},
        )


class _Merged:
    """The three networks and the comparison as one model."""

    def __init__(self, network: ir.Model, emulation: ir.Model) -> None:
        plain, emulated = _same_opset(network, emulation)
        self._inputs = frozenset(value.name for value in emulated.graph.input)
        makers = {name: node.op_type for node in plain.graph.node for name in node.output if name}
        self._roles = _Roles.of(emulated.graph, self._inputs | makers.keys())
        # Every node with its place along its network, 0..1; see `_side_by_side`.
        self._nodes = [(index / len(plain.graph.node), node) for index, node in enumerate(plain.graph.node)]
        for index, node in enumerate(emulated.graph.node):
            self._place = index / len(emulated.graph.node)
            self._copy(node)
        self._place = 0.0
        known = {value.name: value for value in (*plain.graph.value_info, *plain.graph.output)}
        compared = dict.fromkeys(name for name in self._roles.rounded.values() if name not in self._inputs)
        seen: dict[str, str] = {}
        for name, real in self._roles.rounded.items():
            seen.setdefault(real, name)
        self.pairs = tuple(
            _Pair(
                name,
                makers[name],
                math.prod(size.dim_value for size in known[name].type.tensor_type.shape.dim),
                (self._compare(name, _LAYER + seen[name]), self._compare(name, _EMULATED + seen[name])),
            )
            for name in compared
        )
        constants = [*plain.graph.initializer]
        for tensor in emulated.graph.initializer:
            constants.append(onnx.TensorProto())
            constants[-1].CopyFrom(tensor)
            constants[-1].name = _EMULATED + tensor.name
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.DOUBLE, [len(_SUMS)])
            for pair in self.pairs
            for name in pair.sums
        ]
        graph = helper.make_graph(_side_by_side(self._nodes), "layers", emulated.graph.input, outputs, constants)
        self.model = helper.make_model(graph, opset_imports=emulated.opset_import, ir_version=emulated.ir_version)

    def _copy(self, node: onnx.NodeProto) -> None:
        """Add `node` to the emulation, to the layers by themselves and to what rounds the float network's tensors."""
        self._add(node, _EMULATED, {})
        if node.output[0] in self._roles.fixed:
            return  # the emulation's serves all
        rounds = node.output[0] in self._roles.sources or node.output[0] in self._roles.rounded
        if rounds:
            source = self._roles.sources.get(node.output[0])
            self._add(node, _GRID, {node.input[0]: source} if source else {})
        reads = {} if rounds else {name: _GRID + name for name in node.input if name in self._roles.rounded}
        self._add(node, _LAYER, reads)

    def _add(self, node: onnx.NodeProto, prefix: str, reads: Mapping[str, str]) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{prefix}{node.name}" if node.name else ""
        for index, name in enumerate(node.input):
            own = name if name in self._inputs or not name else prefix + name
            copy.input[index] = reads.get(name, _EMULATED + name if name in self._roles.fixed else own)
        copy.output[:] = [prefix + name if name else "" for name in node.output]
        self._nodes.append((self._place, copy))

    def _compare(self, reference: str, made: str) -> str:
        """Add nodes for the sums of one pair, in float64; returns the name of the vector that holds them."""
        start = f"{made}:sums"

        def add(kind: str, *names: str, **attributes: int) -> str:
            name = f"{start}:{len(self._nodes)}"
            self._nodes.append((0.0, helper.make_node(kind, list(names), [name], **attributes)))
            return name

        a, b = (add("Cast", name, to=TensorProto.DOUBLE) for name in (reference, made))
        noise = add("Sub", a, b)
        sums = [
            add("ReduceSum", add("Mul", a, b), keepdims=0),
            *(add("ReduceSumSquare", values, keepdims=0) for values in (a, b, noise)),
        ]
        shape = f"{start}:shape"
        self._nodes.append((0.0, helper.make_node("Constant", [], [shape], value_ints=[1])))
        stacked = [add("Reshape", one, shape) for one in sums]
        self._nodes.append((0.0, helper.make_node("Concat", stacked, [start], axis=0)))
        return start


def _side_by_side(nodes: Sequence[tuple[float, onnx.NodeProto]]) -> list[onnx.NodeProto]:
    """The nodes in an order in which the networks advance together, and comparisons, at place 0, happen at once.

    One network after the other would keep every activation of the first alive until the last has run: a lean session
    takes nodes in the order they are listed.
    """
    made = {name: index for index, (_, node) in enumerate(nodes) for name in node.output if name}
    waits = [{made[name] for name in node.input if name in made} for _, node in nodes]
    readers: dict[int, list[int]] = {}
    for index, sources in enumerate(waits):
        for source in sources:
            readers.setdefault(source, []).append(index)
    ready = [(place, index) for index, (place, _) in enumerate(nodes) if not waits[index]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, index = heapq.heappop(ready)
        ordered.append(nodes[index][1])
        for reader in readers.get(index, ()):
            waits[reader].discard(index)
            if not waits[reader]:
                heapq.heappush(ready, (nodes[reader][0], reader))
    return ordered


def _same_opset(network: ir.Model, emulation: ir.Model) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Both as protobufs of one opset, the float one with the shapes of its tensors."""
    wanted = emulation.opset_imports.get("", 0)
    if network.opset_imports.get("", 0) != wanted:
        newer = to_opset_21(network)
        if newer is None or newer.opset_imports.get("", 0) != wanted:
            raise UnsupportedError(
                f"layers of opset {network.opset_imports.get('', 0)} and {wanted} cannot be compared in one graph",
                fix="export the network at opset 21",
            )
        network = newer
    shapes.refresh(network)
    return io.to_proto(network), io.to_proto(emulation)


def _cosine(sums: npt.NDArray[np.float64]) -> float:
    """``a.b / (|a| |b|)``; two zero tensors have 1, a zero and a non-zero one 0."""
    dot, reference, made, _ = map(float, sums)
    if reference == 0 or made == 0:
        return float(reference == made)
    return dot / math.sqrt(reference) / math.sqrt(made)
