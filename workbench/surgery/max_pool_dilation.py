"""Write a dilated MaxPool, which no chip has, as plain ones over every n-th row and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, shapes, walk
from workbench.surgery import _pool
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow
from workbench.surgery._replace import Replacement

_MOST = 64  # pools that stand for one; beyond, it is better left


@dataclass(frozen=True, kw_only=True)
class MaxPoolDilation(Pass):
    """Replace a dilated MaxPool by Slices with steps and MaxPools without dilation, then put the results in order.

    Window i of a pool with stride s and dilation d begins at ``i * s - pad`` and reads only cells with the same rest
    when divided by d. So all windows with one rest are a plain pool of every d-th cell, with stride ``s / gcd(s, d)``.
    There are ``d / gcd(s, d)`` rests; their results are joined by Concat and sorted by one Gather. A maximum of maxima
    is the maximum, so the axes follow one another. Every number is a copy of the one it was: exact.

    1. Padding stays the padding of MaxPool itself, so that no number stands for minus infinity, which would ruin the
       range of an 8-bit tensor. A pool with a window of nothing but padding is left.
    2. What ceil_mode adds becomes padding at the end. A pool that pads by rule (auto_pad) waits for explicit_padding.
    3. Where the stride is a multiple of the dilation there is one rest: a Slice and a MaxPool.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """The same size with windows of five that leave out every other cell."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        wide (float[1,2,6,6] x) => (float[1,2,6,6] y) {
            y = MaxPool<kernel_shape = [3, 3], dilations = [2, 2], pads = [2, 2, 2, 2]>(x)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every dilated MaxPool."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "MaxPool"):
            dilations = attributes.integers(node, "dilations", ())
            if all(step == 1 for step in dilations):
                continue
            label = walk.label(node)
            axes = _pool.axes(node, known)
            reason = axes if isinstance(axes, str) else _refuses(node, axes)
            if isinstance(axes, str) or reason is not None:
                left.append(f"{label}: {reason}")
                continue
            was = f"dilations {list(dilations)}"
            changed.append(f"{label}: {was} {_rewrite(model.graph, node, axes, known.dims(node.inputs[0]) or ())}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _refuses(node: ir.Node, axes: Sequence[_pool.Axis]) -> str | None:
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return "the indices of its maxima are read"
    if any(axis.real(window) == 0 for axis in axes for window in range(axis.out)):
        return "it has windows of nothing but padding"
    pools = sum(min(axis.dilation // gcd(axis.stride, axis.dilation), axis.out) for axis in axes if _spreads(axis))
    return None if pools <= _MOST else f"it would take {pools} pools"


def _spreads(axis: _pool.Axis) -> bool:
    return axis.dilation > 1 and axis.kernel > 1


def _rewrite(graph: ir.Graph, node: ir.Node, axes: Sequence[_pool.Axis], dims: shapes.Dims) -> str:
    """Put the plain pools; returns what they are, as the end of a line."""
    spread = [place for place, axis in enumerate(axes) if _spreads(axis)]
    if not spread:
        attributes.put_integers(node, "dilations", [1] * len(axes))
        return "space out a single cell, so they are 1"
    new = _Pools(graph, node, axes, dims)
    value = node.inputs[0]
    plain = [place for place in range(len(axes)) if place not in spread]
    for place in spread:
        value = new.along(value, place, plain)
        plain = []
    return f"become {new.finish()}"


@dataclass(frozen=True)
class _Phase:
    """The windows that read cells ``rest, rest + dilation, ...``, of which `count` cells from `first` on are read."""

    first: int
    count: int
    before: int
    after: int
    stride: int
    out: int


def _phases(axis: _pool.Axis) -> list[_Phase]:
    """The plain pools of a dilated axis; pool t makes windows t, t + n, t + 2n ... where n is their number."""
    step, kernel = axis.dilation, axis.kernel
    common = gcd(axis.stride, step)
    number, stride = step // common, axis.stride // common
    found = []
    for turn in range(min(number, axis.out)):
        start, rest = divmod(turn * axis.stride - axis.before, step)
        out = -(-(axis.out - turn) // number)
        end = start + (out - 1) * stride + kernel
        there = -(-(axis.size - rest) // step)
        first, last = max(start, 0), min(end, there)
        found.append(
            _Phase(
                first=first * step + rest,
                count=last - first,
                before=max(-start, 0),
                after=max(end - there, 0),
                stride=stride,
                out=out,
            )
        )
    return found


class _Pools(Replacement):
    """Plain pools in the place of a dilated one, axis by axis."""

    def __init__(self, graph: ir.Graph, node: ir.Node, axes: Sequence[_pool.Axis], dims: shapes.Dims) -> None:
        super().__init__(graph, node)
        self._axes = axes
        self._dims = list(dims)

    def along(self, value: ir.Value | None, place: int, plain: Sequence[int]) -> ir.Value:
        """Pool the dilated axis `place`, and in the same windows the axes `plain`, which are not dilated."""
        axis, where = self._axes[place], place + 2
        phases = _phases(axis)
        which = self.constant(np.array([where], np.int64), f"axis_{where}")
        step = self.constant(np.array([axis.dilation], np.int64), f"step_{where}")
        pooled = []
        for turn, phase in enumerate(phases):
            end = phase.first + (phase.count - 1) * axis.dilation + 1
            tail = f"{where}_{turn}"
            self._dims[where] = phase.count
            bounds = [
                self.constant(np.array([bound], np.int64), f"{name}_{tail}")
                for name, bound in (("start", phase.first), ("end", end))
            ]
            cells = self.add("Slice", [value, *bounds, which, step], suffix=f"cells_{tail}", shape=self._shape())
            pooled.append(self._pool(cells, place, phase, plain, f"max_{tail}"))
        for other in plain:
            self._dims[other + 2] = self._axes[other].out
        self._dims[where] = axis.out
        if len(pooled) == 1:
            return pooled[0]
        joined = self.add("Concat", pooled, {"axis": where}, suffix=f"joined_{where}", shape=self._shape())
        made = np.concatenate([np.arange(turn, axis.out, len(phases)) for turn in range(len(phases))])
        order = self.constant(np.argsort(made).astype(np.int32), f"order_{where}")
        return self.add("Gather", [joined, order], {"axis": where}, suffix=f"sorted_{where}", shape=self._shape())

    def _pool(self, cells: ir.Value, place: int, phase: _Phase, plain: Sequence[int], suffix: str) -> ir.Value:
        count = len(self._axes)
        kernel, strides, before, after = [1] * count, [1] * count, [0] * count, [0] * count
        dims = list(self._dims)
        for other in plain:
            axis = self._axes[other]
            kernel[other], strides[other] = axis.kernel, axis.stride
            before[other], after[other] = axis.before, axis.reach
            dims[other + 2] = axis.out
        kernel[place], strides[place] = self._axes[place].kernel, phase.stride
        before[place], after[place] = phase.before, phase.after
        dims[place + 2] = phase.out
        options = {"kernel_shape": kernel, "strides": strides, "pads": [*before, *after]}
        return self.add("MaxPool", [cells], options, suffix=suffix, shape=ir.Shape(dims))

    def _shape(self) -> ir.Shape:
        return ir.Shape(self._dims)


PASS = MaxPoolDilation
