"""Let every AveragePool count its padding, as the chips do, and correct the average where it should not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import attributes, walk
from workbench.surgery import _pool
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow
from workbench.surgery._replace import Replacement

_MOST = 1 << 22  # numbers of a constant: 2048 x 2048 windows


@dataclass(frozen=True, kw_only=True)
class AveragePoolPadding(Pass):
    """Give AveragePool count_include_pad 1 and multiply by how much too small its averages become.

    With padding counted, a window of k cells of which r are real gives sum / k instead of sum / r. A constant k / r for
    every window corrects that: ``sum / k * (k / r) = sum / r``, up to float rounding.

    1. Where no window reads padding, the attribute is all that changes.
    2. ceil_mode becomes padding at the end that holds the last window: runtimes disagree about whether what lies beyond
       the padding counts; in padding that is written down it does. Windows that ceil_mode drops stay dropped.
    3. A pool that pads by rule (auto_pad) waits for explicit_padding.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """The average of what is there, as PyTorch's count_include_pad=False says it."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        mean (float[1,2,4,4] x) => (float[1,2,4,4] y) {
            y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every AveragePool that does not count its padding."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "AveragePool"):
            if attributes.integer(node, "count_include_pad", 0):
                continue
            label = walk.label(node)
            if not _may_read_padding(node):
                attributes.put_integer(node, "count_include_pad", 1)
                changed.append(f"{label}: counts its padding, of which it has none")
                continue
            axes = _pool.axes(node, known)
            reason = axes if isinstance(axes, str) else _refuses(node, axes, known)
            if isinstance(axes, str) or reason is not None:
                left.append(f"{label}: {reason}")
            else:
                changed.append(f"{label}: {_rewrite(model.graph, node, axes)}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _may_read_padding(node: ir.Node) -> bool:
    return (
        attributes.text(node, "auto_pad", "NOTSET") != "NOTSET"
        or bool(attributes.integer(node, "ceil_mode", 0))
        or any(attributes.integers(node, "pads", ()))
        or any(step != 1 for step in attributes.integers(node, "dilations", ()))
    )


def _refuses(node: ir.Node, axes: Sequence[_pool.Axis], known: Known) -> str | None:
    if any(axis.dilation != 1 for axis in axes):
        return "it is dilated"
    if prod(axis.out for axis in axes) > _MOST:
        return "its windows are too many for a constant"
    if any(axis.real(window) == 0 for axis in axes for window in range(axis.out)):
        return "it has windows of nothing but padding"
    return known.not_float(node.inputs[0])


def _rewrite(graph: ir.Graph, node: ir.Node, axes: Sequence[_pool.Axis]) -> str:
    """Put the pool that counts; returns what it is, as the end of a line."""
    pads = [axis.before for axis in axes] + [axis.reach for axis in axes]
    factors = _factors(axes)
    if (factors == 1).all():
        attributes.put_integer(node, "count_include_pad", 1)
        if attributes.integer(node, "ceil_mode", 0):
            attributes.put_integers(node, "pads", pads)
            attributes.put_integer(node, "ceil_mode", 0)
        return "counts its padding, which no window reads"
    new = Replacement(graph, node)
    options: dict[str, int | Sequence[int]] = {
        "kernel_shape": [axis.kernel for axis in axes],
        "strides": [axis.stride for axis in axes],
        "pads": pads,
        "count_include_pad": 1,
    }
    counted = new.add("AveragePool", node.inputs, options, suffix="counted", shape=node.outputs[0].shape)
    new.add("Mul", [counted, new.constant(factors, "share")], suffix="corrected")
    new.finish()
    rule = ", ceil_mode is padding" if axes[0].ceil else ""
    return (
        f"counts its padding{rule}; a Mul by 1 to {factors.max():.6g} corrects the {int((factors != 1).sum())} windows"
    )


def _factors(axes: Sequence[_pool.Axis]) -> npt.NDArray[np.float32]:
    """Cells of a window to real cells of it, for every window: shape (1, 1, windows of each axis)."""
    lines = [axis.kernel / np.array([axis.real(window) for window in range(axis.out)], np.float64) for axis in axes]
    table = reduce(np.multiply.outer, lines)
    return table.reshape(1, 1, *table.shape).astype(np.float32)


PASS = AveragePoolPadding
