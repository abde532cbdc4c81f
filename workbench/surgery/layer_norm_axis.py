"""Let a layer normalization over several axes normalize one, for compilers that take the last axis only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow


@dataclass(frozen=True, kw_only=True)
class LayerNormAxis(Pass):
    """Give every LayerNormalization the axis -1.

    LayerNormalization takes mean and variance over all axes from `axis` to the last (ONNX operator reference).

    1. An axis that is the last one, counted from the front, is written as -1.
    2. Of an earlier axis, the axes that are normalized together become one by a Reshape, and scale and bias with them;
       a Reshape behind restores the shape. The same numbers are summed, so only rounding can differ.
    3. Left alone: an input of unknown size or rank, a scale or bias that is computed at run time, and a node whose mean
       or deviation is read.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """A normalization over two axes."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        layers (float[1,3,2,2] x) => (float[1,3,2,2] y) <float[2,2] s = {1, 2, 3, 4}, float[2,2] b = {0, 1, 0, -1}> {
            y = LayerNormalization<axis = 2>(x, s, b)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every layer normalization."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "LayerNormalization"):
            axis = attributes.integer(node, "axis", -1)
            if axis == -1:
                continue
            dims = known.dims(node.inputs[0])
            if dims is not None and axis == len(dims) - 1:
                attributes.put_integer(node, "axis", -1)
                changed.append(f"{walk.label(node)}: axis {axis} of {len(dims)} is -1")
                continue
            shape = known.static(node.inputs[0])
            reason = _refuses(node, axis, shape)
            if reason is not None or shape is None:
                left.append(f"{walk.label(node)}: {reason}")
                continue
            label, formula = walk.label(node), Formula(model.graph, node)
            _flatten(formula, node, shape, axis % len(shape))
            changed.append(f"{label}: axis {axis} of {len(shape)} is -1 between reshapes ({formula.finish()})")
        return Edits(changed=tuple(changed), left=tuple(left))


def _refuses(node: ir.Node, axis: int, shape: tuple[int, ...] | None) -> str | None:
    """Why the axes of `node` cannot become one; None when they can."""
    if shape is None:
        return "the size of its input is not static"
    if not -len(shape) <= axis < len(shape):
        return f"axis {axis} is none of {len(shape)}"
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return "its mean or deviation is read"
    for value in node.inputs[1:]:
        data = constants.array(value)
        if value is not None and data is None:
            return f"'{value.name}' is computed at run time"
        if data is not None and not _broadcasts(data.shape, shape[axis:]):
            return f"'{value.name if value else ''}' of shape {list(data.shape)} is not one number an element"
    return None


def _broadcasts(shape: tuple[int, ...], onto: tuple[int, ...]) -> bool:
    """Whether a constant of `shape` has a number for each element of `onto`."""
    try:
        return np.broadcast_shapes(shape, onto) == onto
    except ValueError:
        return False


def _flatten(f: Formula, node: ir.Node, shape: tuple[int, ...], axis: int) -> ir.Value:
    parameters = []
    for value, suffix in zip(node.inputs[1:], ("scale", "shift"), strict=False):
        data = constants.array(value)
        if data is not None:  # an empty name for no bias is ONNX, but onnxruntime dies of it
            parameters.append(f.constant(np.broadcast_to(data, shape[axis:]).reshape(-1).copy(), suffix))
    others = {attribute.name: attribute.value for attribute in node.attributes.values() if attribute.name != "axis"}
    flat_shape = np.asarray([*shape[:axis], math.prod(shape[axis:])], np.int64)
    normal = f(
        "LayerNormalization",
        f("Reshape", node.inputs[0], f.constant(flat_shape, "flat")),
        *parameters,
        **{"axis": -1, **others},
    )
    return f("Reshape", normal, f.constant(np.asarray(shape, np.int64), "shape"))


PASS = LayerNormAxis
