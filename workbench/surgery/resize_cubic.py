"""Write a Resize that blends cells in a way the chips do not have, cubic or filtered, as two constant MatMuls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import attributes, walk
from workbench.surgery import _resize
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow
from workbench.surgery._replace import Replacement

Weights = npt.NDArray[np.float64]
_MOST = 1 << 22  # numbers of a constant: from 2048 cells to 2048
_STEEPEST = 16.0  # cubic_coeff_a; beyond, the shares are so large that their sum is rounding
_ODD = ("half_pixel_symmetric", "tf_crop_and_resize")


@dataclass(frozen=True, kw_only=True)
class ResizeCubic(Pass):
    """Replace a cubic Resize, and a linear one with antialias or a rare coordinate mode, by MatMuls with its weights.

    Such a Resize is linear in the picture and separable: ``Y = R @ X @ C``, where row i of R holds the shares of the
    input rows in output row i, and column j of C those of the input columns in output column j. The shares are worked
    out as the ONNX specification defines them (and onnxruntime computes them), with cubic_coeff_a, exclude_outside and
    antialias; the sums differ by float rounding only.

    1. An axis whose scale is 1 has no MatMul; a Resize of which nothing is left becomes an Identity.
    2. The axis comes first that makes the two products cheaper.
    3. antialias filters only what shrinks. A linear Resize that shrinks nothing stays a Resize, without antialias; one
       whose half_pixel_symmetric or tf_crop_and_resize reads what half_pixel does, with that.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """What PyTorch exports for a bicubic nn.Upsample(scale_factor=2)."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        upsample (float[1,2,4,4] x) => (float[1,2,8,8] y) <float[4] scales = {1, 1, 2, 2}> {
            y = Resize<mode = "cubic", coordinate_transformation_mode = "half_pixel", cubic_coeff_a = -0.75>
                (x, , scales)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every Resize that blends."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "Resize"):
            kind = _Kind.of(node)
            if kind is None:
                continue
            label = walk.label(node)
            axes = _resize.axes(node, known)
            reason = axes if isinstance(axes, str) else _refuses(axes, kind) or known.not_float(node.inputs[0])
            if isinstance(axes, str) or reason is not None:
                left.append(f"{label}: {reason}")
            else:
                changed.append(f"{label}: {kind} {_rewrite(model.graph, node, axes, kind)}")
        return Edits(changed=tuple(changed), left=tuple(left))


@dataclass(frozen=True)
class _Kind:
    """How a Resize blends."""

    mode: str
    rule: str
    antialias: bool
    exclude_outside: bool
    coefficient: float

    @classmethod
    def of(cls, node: ir.Node) -> _Kind | None:
        """None for nearest, and for the linear Resize that the chips have."""
        mode = attributes.text(node, "mode", "nearest")
        rule = attributes.text(node, "coordinate_transformation_mode", "half_pixel")
        antialias = bool(attributes.integer(node, "antialias", 0))
        if mode not in ("linear", "cubic") or (mode == "linear" and not antialias and rule not in _ODD):
            return None
        outside = bool(attributes.integer(node, "exclude_outside", 0))
        # A float32, which is what the file holds and onnxruntime computes with.
        coefficient = float(np.float32(attributes.decimal(node, "cubic_coeff_a", -0.75)))
        return cls(mode, rule, antialias, outside, coefficient)

    def __str__(self) -> str:
        return f"{self.mode}, {self.rule}" + (", antialias" if self.antialias else "")

    def plain(self, axis: _resize.Axis) -> bool:
        """Whether the kernel keeps its width: only shrinking filters."""
        return not self.antialias or bool(axis.scale >= 1)


def _refuses(axes: Sequence[_resize.Axis], kind: _Kind) -> str | None:
    if not abs(kind.coefficient) <= _STEEPEST:
        return f"cubic_coeff_a {kind.coefficient:g} is beyond reason"
    if any(axis.scale != 1 for axis in axes[:-2]):
        return "it resizes other axes than the last two"
    if kind.antialias and any(axis.out == axis.size and axis.scale != 1 for axis in axes):
        return "its scale leaves the size of an axis; onnxruntime does not filter it then, and ONNX does"
    for axis in axes:
        if axis.scale != 1 and axis.out * axis.size > _MOST:
            return f"the shares of {axis.size} cells in {axis.out} are too many numbers for a constant"
        places = _resize.coordinates(axis, kind.rule)
        if kind.rule == "tf_crop_and_resize" and ((places < 0) | (places > axis.size - 1)).any():
            return "its region reaches beyond the picture, where it writes extrapolation_value"
        if axis.scale != 1 and not np.isfinite(weights(axis, kind)).all():
            return "its shares do not sum to anything"
    return None


def _rewrite(graph: ir.Graph, node: ir.Node, axes: Sequence[_resize.Axis], kind: _Kind) -> str:
    """Put what blends the same; returns what it is, as the end of a line."""
    rule = "half_pixel" if _is_half_pixel(axes, kind.rule) else kind.rule
    if kind.mode == "linear" and rule not in _ODD and all(kind.plain(axis) for axis in axes):
        node.attributes["coordinate_transformation_mode"] = ir.AttrString("coordinate_transformation_mode", rule)
        for name in ("antialias", "exclude_outside"):
            node.attributes.pop(name, None)
        return f"is linear, {rule}: nothing shrinks" if kind.antialias else f"is linear, {rule}"
    new = Replacement(graph, node)
    value = node.inputs[0]
    shape = [axis.size for axis in axes]
    last = len(axes) - 1
    for place in _order(axes):
        axis = axes[place]
        matrix = weights(axis, kind).astype(np.float32)
        shape[place] = axis.out
        if place == last:
            columns = new.constant(np.ascontiguousarray(matrix.T), "columns")
            value = new.add("MatMul", [value, columns], suffix="wide", shape=shape)
        else:
            value = new.add("MatMul", [new.constant(matrix, "rows"), value], suffix="high", shape=shape)
    if value is node.inputs[0]:
        new.add("Identity", [value], suffix="same", shape=shape)
    return f"becomes {new.finish()}"


def _is_half_pixel(axes: Sequence[_resize.Axis], rule: str) -> bool:
    """Whether `rule` reads where half_pixel does, but for rounding: a blend moves no more than its coordinate."""
    return all(
        np.allclose(
            _resize.coordinates(axis, rule), _resize.coordinates(axis, "half_pixel"), rtol=0, atol=1e-7 * axis.size
        )
        for axis in axes
    )


def _order(axes: Sequence[_resize.Axis]) -> list[int]:
    """The last two axes as far as they change, the one first after which less is to be multiplied."""
    last = len(axes) - 1
    places = [place for place in (last - 1, last) if place >= 0 and axes[place].scale != 1]
    if len(places) < 2:
        return places
    high, wide = axes[last - 1], axes[last]
    rows_first = high.out * high.size * wide.size + high.out * wide.size * wide.out
    columns_first = high.size * wide.size * wide.out + high.out * high.size * wide.out
    return places if rows_first < columns_first else places[::-1]


def weights(axis: _resize.Axis, kind: _Kind) -> Weights:
    """The share of every input cell in every output cell.

    Returns:
        shape (axis.out, axis.size); every row sums to 1.

    The kernel is centred on the coordinate and, with antialias, as many times wider as the axis shrinks; what it
    would read beyond the edge is the edge's cell, or with exclude_outside nothing. Without antialias a linear
    coordinate beyond the edge is the edge.
    """
    centres = _resize.coordinates(axis, kind.rule).astype(np.float64)
    if kind.mode == "linear" and not kind.antialias:
        centres = np.clip(centres, 0, axis.size - 1)
    shrink = 1.0 if kind.plain(axis) else 1.0 / float(axis.scale)
    kernel = _KERNELS[kind.mode]
    reach = int(np.ceil((2 if kind.mode == "cubic" else 1) * shrink)) + 1
    cells = np.floor(centres)[:, None] + np.arange(-reach, reach + 1)
    shares = kernel(np.abs(cells - centres[:, None]) / shrink, kind.coefficient)
    if kind.exclude_outside:
        shares = np.where((cells < 0) | (cells >= axis.size), 0, shares)
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is refused
        shares /= shares.sum(axis=1, keepdims=True)
    matrix = np.zeros((axis.out, axis.size))
    rows = np.broadcast_to(np.arange(axis.out)[:, None], cells.shape)
    np.add.at(matrix, (rows, np.clip(cells, 0, axis.size - 1).astype(np.int64)), shares)
    return matrix


def _triangle(x: Weights, _a: float) -> Weights:
    return np.maximum(1 - x, 0)


def _cubic(x: Weights, a: float) -> Weights:
    """Keys' kernel; a is -0.5 or -0.75 in practice."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


_KERNELS: dict[str, Callable[[Weights, float], Weights]] = {"linear": _triangle, "cubic": _cubic}

PASS = ResizeCubic
