"""What a choice of 16-bit tensors costs: shares of tensors, activation bytes and multiplications, and longer sums."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.graph.macs import macs
from workbench.quant import scheme
from workbench.quant.plan import Plan, finite, is_weight

_SUM_BITS = 32  # of the accumulator that the scheme's bias has


@dataclass(frozen=True)
class Cost:
    """Counts of one network under one plan.

    Args:
        tensors: activations that stand on a grid: what passes between operators, inputs and outputs included.
        tensors_u16: those at 16 bits.
        values: numbers in all of them; as many bytes at 8 bits.
        values_u16: numbers in those at 16 bits; as many bytes more.
        macs: multiplications of all layers with weights, and of MatMuls.
        macs_u16: of the layers whose input or output is at 16 bits.
    """

    tensors: int
    tensors_u16: int
    values: int
    values_u16: int
    macs: int
    macs_u16: int

    @property
    def tensor_share(self) -> float:
        """Share of the activation tensors at 16 bits, 0..1."""
        return self.tensors_u16 / max(self.tensors, 1)

    @property
    def bytes(self) -> int:
        """Bytes of all activations, as they are stored."""
        return self.values + self.values_u16

    @property
    def byte_share(self) -> float:
        """Share of those bytes that belongs to tensors at 16 bits, 0..1."""
        return 2 * self.values_u16 / max(self.bytes, 1)

    @property
    def mac_share(self) -> float:
        """Share of the multiplications in layers that read or make 16 bits, 0..1."""
        return self.macs_u16 / max(self.macs, 1)

    def to_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.tensors_u16} of {self.tensors} tensors ({self.tensor_share:.1%}) at 16 bits,"
            f" {self.byte_share:.1%} of the activation bytes, {self.mac_share:.1%} of the MACs"
        )


def cost(model: ir.Model, decided: Plan) -> Cost:
    """What `decided` costs; `model` is the graph it was made for, whose shapes `plan` inferred."""
    sizes = {
        name: math.prod(walk.static_shape(value) or ())
        for name, value in walk.tensors(model.graph).items()
        if name in decided.grids and name not in decided.operands
    }
    layers = [(count, not decided.u16.isdisjoint(_ends(node, decided))) for node, count in _layers(model.graph)]
    return Cost(
        tensors=len(sizes),
        tensors_u16=len(decided.u16),
        values=sum(sizes.values()),
        values_u16=sum(size for name, size in sizes.items() if name in decided.u16),
        macs=sum(count for count, _ in layers),
        macs_u16=sum(count for count, wide in layers if wide),
    )


def long_sums(model: ir.Model, decided: Plan) -> tuple[str, ...]:
    """The layers that read 16 bits and whose sums could pass 32 bits, were every input at its worst; in graph order.

    A layer listed need not overflow: no picture makes all inputs extreme with the signs of the weights.
    """
    found = []
    for node, _ in _layers(model.graph):
        data, weight = node.inputs[0], node.inputs[1]
        held = constants.array(weight)
        if data is None or data.name not in decided.u16 or weight is None or held is None or not is_weight(node, 1):
            continue
        grid = decided.grids[str(data.name)]
        values = finite(held, weight).astype(np.float32)
        axis = scheme.weight_axis(node, values.ndim)
        offset = constants.array(node.inputs[2]) if len(node.inputs) > 2 else None
        bias = None if offset is None else np.broadcast_to(offset.reshape(-1).astype(np.float32), _outputs(node))
        scales = scheme.weight_scales(values, axis, input_scale=grid.scale, bias=bias)
        integers = scheme.quantize_weights(values, scales, axis)
        steps = np.tile(scales, 1 if bias is None else bias.size // scales.size) * np.float32(grid.scale)
        sums = scheme.sum_bits(integers, axis, grid, None if bias is None else scheme.quantize_bias(bias, steps))
        if sums > _SUM_BITS:
            found.append(walk.label(node))
    return tuple(found)


def _layers(graph: ir.Graph) -> Iterator[tuple[ir.Node, int]]:
    """Every layer that multiplies, and how often, where its shapes are known."""
    for node in walk.nodes(graph, *sorted(scheme.WEIGHTED)):
        count = macs(node)
        if count is not None:
            yield node, count


def _ends(node: ir.Node, decided: Plan) -> set[str]:
    """The tensors that the operator of `node` reads and makes, the Relu it took in included."""
    made = str(node.outputs[0].name)
    return {str(value.name) for value in node.inputs if value is not None} | {decided.ends.get(made, made)}


def _outputs(node: ir.Node) -> int:
    """Output channels of a layer with weights."""
    weight = walk.static_shape(node.inputs[1]) or (1,)
    if node.op_type == "ConvTranspose":
        return weight[1] * attributes.integer(node, "group", 1)
    return weight[scheme.weight_axis(node, len(weight))]
