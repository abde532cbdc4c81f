"""Fold batch normalization into the weights and bias of the layer before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, splice, walk
from workbench.surgery._affine import Doubles, affine, batch_norm
from workbench.surgery._pass import Edits, Pass, control_flow

_LAYERS = ("Conv", "ConvTranspose", "Gemm")


@dataclass(frozen=True, kw_only=True)
class FoldBatchnorm(Pass):
    """Fold BatchNormalization, and Add, Sub, Mul, Div by constants per channel, into the layer before.

    1. Conv, ConvTranspose and Gemm, grouped and depthwise too: weights are scaled per output channel, the bias scaled
       and shifted. A whole chain is gathered in double precision and stored as float32 once.
    2. The layer's result takes the name of the last tensor of the chain.
    3. Left alone: a layer whose result is read twice or is an output, whose weights another node reads, or whose
       weights are not constant float32; and a normalization that follows no such layer.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """A convolution without bias and its normalization."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        normalized (float[1,1,2,2] x) => (float[1,2,2,2] y)
        <float[2,1,1,1] w = {1, -2}, float[2] gamma = {1, 0.5}, float[2] beta = {0, 0.25},
         float[2] mean = {0.5, -1}, float[2] variance = {1, 4}> {
            conv = Conv(x, w)
            norm = BatchNormalization(conv, gamma, beta, mean, variance)
            y = Relu(norm)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every layer, then say which normalizations remain."""
        changed: list[str] = []
        left: dict[ir.Node, str] = {}
        for layer in walk.nodes(model.graph, *_LAYERS):
            chain, scale, shift = _chain(layer, left)
            if not chain:
                continue
            reason = _refuses(layer)
            if reason is not None:
                left[chain[0]] = f"{walk.label(layer)} {reason}"
                continue
            lines = [f"{walk.label(node)}: folded into {walk.label(layer)}" for node in chain]
            _fold(model.graph, layer, scale, shift)
            splice.inherit(layer.outputs[0], chain[-1].outputs[0])
            for node in reversed(chain):
                splice.remove(node)
            changed += lines
        for node in walk.nodes(model.graph, "BatchNormalization"):
            source = node.inputs[0]
            if node not in left and source is not None:
                left[node] = f"it follows {walk.origin(source)}, not a convolution or Gemm"
        lines = [f"{walk.label(node)}: {reason}" for node, reason in left.items()]
        return Edits(changed=tuple(changed), left=(*control_flow(model), *lines))


def _chain(layer: ir.Node, left: dict[ir.Node, str]) -> tuple[list[ir.Node], Doubles, Doubles]:
    """The nodes after `layer` that only scale and shift its channels, and their scale and shift together."""
    channels, rank = _width(layer)
    scale, shift = np.ones(channels), np.zeros(channels)
    chain: list[ir.Node] = []
    here = layer.outputs[0]
    while channels:
        node = walk.only_consumer(here)
        if node is None:
            for other in walk.consumers(here):
                if _step(other, here, channels, rank) is not None:
                    left[other] = f"'{here.name}' is also read by {_others(here, other)}"
            break
        step = _step(node, here, channels, rank)
        if step is None:
            break
        if isinstance(step, str):
            left[node] = step
            break
        if not np.isfinite(step[0]).all():
            left[node] = "it divides by zero"
            break
        scale, shift = scale * step[0], shift * step[0] + step[1]
        chain.append(node)
        here = node.outputs[0]
    return chain, scale, shift


def _step(node: ir.Node, data: ir.Value, channels: int, rank: int) -> tuple[Doubles, Doubles] | str | None:
    """`node` as scale and shift; a reason when it is a normalization that is not; None when it is something else."""
    if walk.is_op(node, "BatchNormalization") and node.inputs[0] is data:
        return batch_norm(node, channels)
    return affine(node, data, channels, rank=rank)


def _width(layer: ir.Node) -> tuple[int, int]:
    """Output channels and rank of the layer's result; 0 channels when its weights are not constant."""
    weight = constants.array(layer.inputs[1])
    if weight is None:
        return 0, 0
    if layer.op_type == "Conv":
        return weight.shape[0], weight.ndim
    if layer.op_type == "ConvTranspose":
        return weight.shape[1] * attributes.integer(layer, "group", 1), weight.ndim
    return weight.shape[0 if attributes.integer(layer, "transB", 0) else 1], 2


def _refuses(layer: ir.Node) -> str | None:
    """Why the weights of `layer` must stay as they are; None when they may change."""
    weight = layer.inputs[1]
    data = constants.array(weight)
    if weight is None or data is None or data.dtype != np.float32:
        return "has weights that are not float32"
    if constants.is_shared(weight):
        return f"shares its weights '{weight.name}' with {_others(weight, layer)}"
    bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    if bias is not None:
        fixed = constants.array(bias)
        if fixed is None or fixed.dtype != np.float32:
            return "has a bias that is computed at run time"
    return None


def _fold(graph: ir.Graph, layer: ir.Node, scale: Doubles, shift: Doubles) -> None:
    """Scale the weights of `layer` per output channel, and scale and shift its bias."""
    value = layer.inputs[1]
    weight = np.asarray(constants.array(value), np.float64)
    name = (value.name if value is not None else None) or "weight"
    constants.put(graph, layer, 1, _scaled(layer, weight, scale).astype(np.float32), name)
    given = constants.array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    bias = np.zeros(1) if given is None else given.astype(np.float64)
    if layer.op_type == "Gemm":
        bias = bias * attributes.decimal(layer, "beta", 1.0)
        if "beta" in layer.attributes:
            attributes.put_decimal(layer, "beta", 1.0)
    stem = name.removesuffix(".weight")
    constants.put(graph, layer, 2, (bias * scale + shift).astype(np.float32), f"{stem}.bias")


def _scaled(layer: ir.Node, weight: Doubles, scale: Doubles) -> Doubles:
    """`weight` with each output channel scaled: axis 0 of Conv, axis 1 within each group of ConvTranspose."""
    if layer.op_type == "Conv":
        return weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    if layer.op_type == "ConvTranspose":
        groups = attributes.integer(layer, "group", 1)
        inputs, outputs, *kernel = weight.shape
        grouped = weight.reshape(groups, inputs // groups, outputs, *kernel)
        by_group = scale.reshape(groups, 1, outputs, *(1,) * len(kernel))
        return np.asarray((grouped * by_group).reshape(weight.shape), np.float64)
    return weight * (scale[:, None] if attributes.integer(layer, "transB", 0) else scale[None, :])


def _others(value: ir.Value, node: ir.Node) -> str:
    """Who reads `value` beside `node`."""
    names = [walk.label(other) for other in walk.consumers(value) if other is not node]
    if value.is_graph_output():
        names.append("the graph's output")
    return ", ".join(names) or "the same node again"


PASS = FoldBatchnorm
