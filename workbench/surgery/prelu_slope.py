"""Give PRelu a slope per channel in the one shape that every chip reads alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import constants, shapes, walk
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow


@dataclass(frozen=True, kw_only=True)
class PreluSlope(Pass):
    """Write the slope of every PRelu of four axes with shape (1, channels, 1, 1), or the PRelu without one.

    1. A constant slope that differs between channels only, or not at all, becomes (1, channels, 1, 1): the same number
       meets the same element, so nothing changes. ONNX lets a slope of shape (n,) run along the width, the chips along
       the channels; so that shape is never left.
    2. Any other slope, one per pixel, along the width or computed at run time: ``Relu(x) + slope * Min(x, 0)``. One of
       the two addends is always 0, so the sum is exact; only the sign of a zero may differ.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """What PyTorch exports for nn.PReLU(2)."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        leak (float[1,2,3,3] x) => (float[1,2,3,3] y) <float[2,1,1] slope = {0.25, -0.5}> {
            y = PRelu(x, slope)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every PRelu."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "PRelu"):
            label = walk.label(node)
            dims = known.dims(node.inputs[0])
            slope = constants.array(node.inputs[1])
            if dims is None or len(dims) != 4:
                axes = "nobody knows how many" if dims is None else len(dims)
                left.append(f"{label}: its input has {axes} axes, and the chips tell channels among four only")
                continue
            if slope is not None and not _fits(slope, dims):
                left.append(f"{label}: its slope of shape {list(slope.shape)} does not fit its input")
                continue
            told = "computed at run time" if slope is None else f"of shape {list(slope.shape)}"
            if slope is None or not _per_channel(slope):
                reason = known.not_float(node.inputs[0])
                if reason is None:
                    changed.append(f"{label}: its slope, {told}, goes with {_decompose(model.graph, node)}")
                else:
                    left.append(f"{label}: {reason}")
                continue
            wide = _widened(slope, dims)
            if isinstance(wide, str):
                left.append(f"{label}: {wide}")
            elif wide.shape != slope.shape:
                constants.put(model.graph, node, 1, wide, _name(node))
                changed.append(f"{label}: its slope, {told}, is {list(wide.shape)}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _name(node: ir.Node) -> str:
    slope = node.inputs[1]
    return (slope.name if slope is not None else None) or "slope"


def _four(slope: constants.Array) -> constants.Array:
    return slope.reshape((1,) * (4 - slope.ndim) + slope.shape)


def _fits(slope: constants.Array, dims: shapes.Dims) -> bool:
    """Whether ONNX allows the slope: it may not make the result larger than the input."""
    if slope.ndim > 4 or not slope.size:
        return False
    return all(size in (1, own) or not isinstance(own, int) for size, own in zip(_four(slope).shape, dims, strict=True))


def _per_channel(slope: constants.Array) -> bool:
    """Whether all numbers that meet one channel are the same."""
    four = _four(slope)
    return bool((four == four[:1, :, :1, :1]).all())


def _widened(slope: constants.Array, dims: shapes.Dims) -> constants.Array | str:
    """The slope as (1, channels, 1, 1); or why that cannot be said."""
    numbers = _four(slope)[:1, :, :1, :1]
    channels = dims[1] if isinstance(dims[1], int) else numbers.shape[1]
    if not isinstance(dims[1], int) and channels == 1:
        return "the number of its channels is not static"
    return np.ascontiguousarray(np.broadcast_to(numbers, (1, channels, 1, 1)))


def _decompose(graph: ir.Graph, node: ir.Node) -> str:
    """Rule 2; returns the operators put."""
    data, slope = node.inputs
    put = Formula(graph, node)
    put("Add", put("Relu", data), put("Mul", slope, put("Min", data, 0.0)))
    return put.finish()


PASS = PreluSlope
