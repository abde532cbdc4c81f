"""Cut the part of a network that depends on some tensors out of it: a model of its own in which these are rounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from workbench.quant.scheme import Grid

_SUFFIX = "/rounded"
_PARTS = ("scale", "low", "high", "steps", "whole", "held")


@dataclass(frozen=True)
class Behind:
    """What depends on some tensors.

    Attributes:
        tensors: those it was asked for.
        border: what has to be known to compute it: those of `tensors` that depend on no other one, then everything else
            that is read from before.
        outputs: the outputs of the network among it, in their order.
        nodes: by place in the network.
    """

    tensors: tuple[str, ...]
    border: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[int, ...]


class Whole:
    """A network that excerpts are cut from.

    Args:
        proto: without subgraphs, in topological order, with types and static shapes for every tensor that is read;
            not changed.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        graph = proto.graph
        self._model = proto
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._constant_nodes = {name: node for node in graph.node if _is_constant(node) for name in node.output}
        fixed = {*self._constants, *self._constant_nodes}
        self._nodes = [node for node in graph.node if not _is_constant(node)]
        self._reads = [[name for name in node.input if name and name not in fixed] for node in self._nodes]
        self._kinds = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
        self.inputs = tuple(value.name for value in graph.input if value.name not in fixed)
        self.outputs = tuple(value.name for value in graph.output)

    def shape(self, name: str) -> tuple[int, ...]:
        """The static shape of a tensor."""
        return tuple(dim.dim_value for dim in self._kinds[name].type.tensor_type.shape.dim)

    def behind(self, tensors: Sequence[str]) -> Behind:
        """What depends on `tensors`, none of them a constant."""
        changed = set(tensors)
        nodes: list[int] = []
        made: set[str] = set()
        read: dict[str, None] = {}
        for index, (node, reads) in enumerate(zip(self._nodes, self._reads, strict=True)):
            if not changed.isdisjoint(reads):
                nodes.append(index)
                made.update(node.output)
                changed.update(name for name in node.output if name)
                read.update(dict.fromkeys(reads))
        border = dict.fromkeys(name for name in (*tensors, *read) if name not in made)
        outputs = tuple(name for name in self.outputs if name in changed)
        return Behind(tuple(tensors), tuple(border), outputs, tuple(nodes))

    def until(self, wanted: Sequence[str]) -> bytes:
        """The model that makes `wanted`, none of them an input, from the inputs of the network."""
        needed, kept = set(wanted), []
        for node, reads in zip(reversed(self._nodes), reversed(self._reads), strict=True):
            if not needed.isdisjoint(node.output):
                kept.append(node)
                needed.update(reads)
        ends = [self._kinds[name] for name in wanted]
        return self._bytes(kept[::-1], [self._kinds[name] for name in self.inputs], ends)

    def rounded(self, part: Behind, grids: Mapping[str, Grid]) -> bytes:
        """The model that makes ``part.outputs``, in their order, from ``part.border``.

        Args:
            part: of this network.
            grids: by tensor of ``part.tensors``, the grid it stands on for everything that reads it.
        """
        nodes = [node for name in part.border if name in grids for node in _round(name)]
        for index in part.nodes:
            node = onnx.NodeProto()
            node.CopyFrom(self._nodes[index])
            for place, name in enumerate(node.input):
                if name in grids:
                    node.input[place] = name + _SUFFIX
            nodes += [node, *(behind for name in node.output if name in grids for behind in _round(name))]
        ends = []
        for name in part.outputs:
            end = onnx.ValueInfoProto()
            end.CopyFrom(self._kinds[name])
            end.name += _SUFFIX if name in grids else ""
            ends.append(end)
        parameters = [tensor for name, grid in grids.items() for tensor in _parameters(name, grid)]
        return self._bytes(nodes, [self._kinds[name] for name in part.border], ends, parameters)

    def _bytes(
        self,
        nodes: Sequence[onnx.NodeProto],
        inputs: Iterable[onnx.ValueInfoProto],
        outputs: Iterable[onnx.ValueInfoProto],
        parameters: Iterable[onnx.TensorProto] = (),
    ) -> bytes:
        read = dict.fromkeys(name for node in nodes for name in node.input)
        made = [self._constant_nodes[name] for name in read if name in self._constant_nodes]
        held = [self._constants[name] for name in read if name in self._constants]
        graph = helper.make_graph([*made, *nodes], "excerpt", list(inputs), list(outputs), [*held, *parameters])
        opsets = list(self._model.opset_import)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=self._model.ir_version)
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def _round(name: str) -> tuple[onnx.NodeProto, ...]:
    """The nodes that put tensor `name` on its grid.

    Not QuantizeLinear and DequantizeLinear: between two such pairs onnxruntime 1.31 rounds the float weights of a
    convolution to 8 bits by itself, which is another error than the one that is asked for (its WeightBiasQuantization;
    session.disable_quant_qdq stops it, and is taken already where two nodes share a weight).
    """
    scale, low, high, steps, whole, held = (f"{name}{_SUFFIX}/{part}" for part in _PARTS)
    return (
        helper.make_node("Div", [name, scale], [steps]),
        helper.make_node("Round", [steps], [whole]),
        helper.make_node("Clip", [whole, low, high], [held]),
        helper.make_node("Mul", [held, scale], [name + _SUFFIX]),
    )


def _parameters(name: str, grid: Grid) -> tuple[onnx.TensorProto, ...]:
    values = (grid.scale, grid.lowest - grid.zero_point, grid.highest - grid.zero_point)
    return tuple(
        numpy_helper.from_array(np.asarray(value, np.float32), f"{name}{_SUFFIX}/{part}")
        for part, value in zip(_PARTS, values, strict=False)
    )


def _is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx")
