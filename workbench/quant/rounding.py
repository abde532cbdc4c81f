"""Choose up or down for every weight so that its layer's output moves least: GPTQ on the inputs the layer really sees.

E. Frantar, S. Ashkboos, T. Hoefler, D. Alistarh: "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", 2022 (arXiv:2210.17323), after E. Frantar, D. Alistarh: "Optimal Brain Compression", 2022
(arXiv:2208.11580). Rounding one weight leaves an error that the weights not yet rounded can partly undo; the second
moments of the inputs say by how much each should move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import attributes, walk
from workbench.quant import scheme

Array = npt.NDArray[np.generic]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_LIMIT = 127
# One per cent of the mean diagonal, as the paper has it: directions the samples hardly show must not be bought with
# large changes of weights.
_DAMPING = 0.01
# Columns gathered for the second moments: enough that large matrices are of full rank eight times over, and never less
# than a depthwise layer needs to know its nine taps to a per cent.
_PER_INPUT, _AT_LEAST = 8, 8192
_BLOCK = 64  # columns whose errors reach the rest in one product; the result is the same for any number


def choose(
    node: ir.Node, weights: Floats, scales: Floats, axis: int, inputs: Sequence[Array], *, centred: bool
) -> tuple[Doubles, float, float]:
    """The steps of a layer's weights, each channel keeping its extreme, and the layer's error.

    Args:
        node: one that `declines` nothing.
        weights: as the node takes them.
        scales: one for each channel, counted by `axis` of the weights.
        axis: of the weights.
        inputs: what the layer gets, one array a sample.
        centred: a bias will take up the mean error.

    Returns:
        steps in the shape of `weights`; the root mean square error of the layer's output over that of its output, with
        nearest steps and with these.
    """
    rows = np.asarray(to_rows(node, weights), np.float64)
    spread = np.broadcast_to(scheme.along(scales, axis, weights.ndim), weights.shape)
    row_scales = np.asarray(to_rows(node, spread)[:, :, 0], np.float64)
    wanted = max(_AT_LEAST, _PER_INPUT * rows.shape[2])
    moments = Moments(node, weights.shape, wanted=wanted, samples=len(inputs))
    for data in inputs:
        moments.add(data)
    second = moments.second(centred=centred)
    near = nearest(rows, row_scales)
    kept = to_rows(node, extremes(np.asarray(from_rows(node, near, weights.shape), np.float64), axis))
    chosen = optimal(rows, row_scales, second, kept.astype(np.bool_))
    size = float(errors(rows, np.zeros_like(rows), row_scales, second).sum())
    before, after = (relative(float(errors(rows, by, row_scales, second).sum()), size) for by in (near, chosen))
    return np.asarray(from_rows(node, chosen, weights.shape), np.float64), before, after


def relative(error: float, size: float) -> float:
    """The root of a quotient of sums of squares; 0 where there is nothing to err about."""
    return float(np.sqrt(max(error, 0.0) / size)) if size > 0 else 0.0


def nearest(weights: Doubles, scales: Doubles) -> Doubles:
    """The nearest steps, halves to even; shapes as `optimal`."""
    return np.clip(np.rint(weights / scales[:, :, None]), -_LIMIT, _LIMIT)


def optimal(weights: Doubles, scales: Doubles, second: Doubles, kept: npt.NDArray[np.bool_]) -> Doubles:
    """The steps of `scales` that keep ``weights @ inputs``, never worse than the nearest ones on `second`.

    Args:
        weights: (groups, rows, columns): a depthwise convolution of C channels is (C, 1, taps), a plain one
            (1, outputs, inputs * taps).
        scales: (groups, rows), positive.
        second: (groups, columns, columns): mean of ``x x^T`` over the inputs of each group, about 0 or their mean.
        kept: like `weights`: these take the nearest step whatever comes, so that a row keeps its extreme.

    Returns:
        whole numbers within +-127, in the shape of `weights`.
    """
    rounded = nearest(weights, scales)
    mean = np.einsum("gkk->gk", second).mean(axis=1)
    diagonal = np.where(mean > 0, _DAMPING * mean, 1.0)[:, None, None]
    damped = second + diagonal * np.eye(second.shape[1])
    order = np.argsort(-np.einsum("gkk->gk", damped), axis=1, kind="stable")
    back = np.argsort(order, axis=1, kind="stable")
    sorted_ = np.take_along_axis(np.take_along_axis(damped, order[:, :, None], 1), order[:, None, :], 2)
    try:
        upper = np.linalg.cholesky(np.linalg.inv(sorted_)).swapaxes(1, 2)
    except np.linalg.LinAlgError:  # moments so uneven that their inverse is not positive in float64
        return rounded
    columns = order[:, None, :]
    chosen = _in_order(
        np.take_along_axis(weights, columns, 2), scales, upper, np.take_along_axis(kept, columns, 2)
    )  # fmt: skip
    chosen = np.take_along_axis(chosen, back[:, None, :], 2)
    worse = errors(weights, chosen, scales, second) > errors(weights, rounded, scales, second)
    return np.where(worse[:, :, None], rounded, chosen)


def errors(weights: Doubles, steps: Doubles, scales: Doubles, second: Doubles) -> Doubles:
    """The mean squared error of each output, shape (groups, rows), when `weights` become ``steps * scales``."""
    moved = weights - steps * scales[:, :, None]
    return np.asarray(np.einsum("grk,grk->gr", moved @ second, moved))


def extremes(steps: Doubles, axis: int) -> npt.NDArray[np.bool_]:
    """The first weight of each channel that is at +-127, marked in the shape of `steps`; `axis` counts channels."""
    far = np.moveaxis(np.abs(steps) == _LIMIT, axis, 0)
    rows = far.reshape(far.shape[0], -1)
    first = rows & (np.cumsum(rows, axis=1) == 1)
    return np.moveaxis(first.reshape(far.shape), 0, axis)


def _in_order(weights: Doubles, scales: Doubles, upper: Doubles, kept: npt.NDArray[np.bool_]) -> Doubles:
    """Round column after column; `upper` is the Cholesky factor of the inverse moments, which holds every update."""
    left = weights.copy()
    steps = np.empty_like(left)
    total = left.shape[2]
    own = nearest(weights, scales)
    for start in range(0, total, _BLOCK):
        stop = min(start + _BLOCK, total)
        spread = np.empty((*left.shape[:2], stop - start))
        for column in range(start, stop):
            free = np.clip(np.rint(left[:, :, column] / scales), -_LIMIT, _LIMIT)
            steps[:, :, column] = np.where(kept[:, :, column], own[:, :, column], free)
            error = (left[:, :, column] - steps[:, :, column] * scales) / upper[:, column, column, None]
            spread[:, :, column - start] = error
            left[:, :, column + 1 : stop] -= error[:, :, None] * upper[:, column, None, column + 1 : stop]
        left[:, :, stop:] -= spread @ upper[:, start:stop, stop:]
    return steps


class Moments:
    """Sums over the input columns that a layer multiplies with its weights, gathered sample by sample.

    Args:
        node: a Conv, ConvTranspose, Gemm or MatMul that `declines` nothing about.
        shape: of its weight.
        wanted: how many columns to gather from all samples together; positions are drawn with a fixed seed.
        samples: how many samples will come.
    """

    def __init__(self, node: ir.Node, shape: Sequence[int], *, wanted: int, samples: int) -> None:
        self._columns = _reader(node, shape)
        self._each = max(1, -(-wanted // samples))
        self._random = np.random.default_rng(0)
        self._count = 0
        self._sum: Doubles = np.zeros(())
        self._products: Doubles = np.zeros(())

    def add(self, data: Array) -> None:
        """Take columns of one sample, `data` being the layer's input."""
        found = self._columns(data.astype(np.float32, copy=False), self._each, self._random)
        # Products of inputs beyond 1e19 are too large for float32, and below 1e-19 too small.
        peak = max(float(found.max(initial=0)), -float(found.min(initial=0)))
        unit = 1.0 if 1e-12 < peak < 1e12 or not peak else 2.0 ** np.ceil(np.log2(peak))
        if unit != 1:
            found = found / np.float32(unit)
        products = (found @ found.swapaxes(1, 2)).astype(np.float64) * unit**2
        sums = found.sum(axis=2, dtype=np.float64) * unit
        self._products = self._products + products
        self._sum = self._sum + sums
        self._count += found.shape[2]

    def second(self, *, centred: bool) -> Doubles:
        """Their mean ``x x^T``, (groups, columns, columns); about their mean when a bias will take that up."""
        products = np.asarray(self._products / self._count)
        if not centred:
            return products
        mean = np.asarray(self._sum / self._count)
        return products - mean[:, :, None] * mean[:, None, :]


def declines(node: ir.Node, rank: int) -> str:
    """Why the weights of `node`, of `rank` axes, can only be rounded to the nearest; empty when they can be chosen."""
    if walk.is_op(node, "MatMul") and rank != 2:
        return "its weight is a stack of matrices"
    if walk.is_op(node, "Conv", "ConvTranspose") and attributes.text(node, "auto_pad", "NOTSET") not in ("NOTSET", ""):
        return "its padding is automatic"
    if walk.is_op(node, "ConvTranspose") and attributes.integers(node, "output_shape", ()):
        return "its padding follows from its output_shape"
    return ""


def to_rows(node: ir.Node, weights: Array) -> Array:
    """The weights as (groups, rows, columns), the columns in the order of `Moments`; a copy."""
    groups = attributes.integer(node, "group", 1)
    if walk.is_op(node, "Conv"):
        return weights.reshape(groups, weights.shape[0] // groups, -1).copy()
    if walk.is_op(node, "ConvTranspose"):
        inputs = weights.shape[0] // groups
        return (
            weights.reshape(groups, inputs, weights.shape[1], -1).swapaxes(1, 2).reshape(groups, weights.shape[1], -1)
        )
    turned = walk.is_op(node, "Gemm") and attributes.integer(node, "transB", 0)
    return (weights if turned else weights.T)[None].copy()


def from_rows(node: ir.Node, rows: Array, shape: Sequence[int]) -> Array:
    """What `to_rows` made into rows, in the weight's own `shape`."""
    if walk.is_op(node, "Conv"):
        return rows.reshape(shape)
    if walk.is_op(node, "ConvTranspose"):
        groups, outputs = rows.shape[:2]
        return rows.reshape(groups, outputs, shape[0] // groups, -1).swapaxes(1, 2).reshape(shape)
    turned = walk.is_op(node, "Gemm") and attributes.integer(node, "transB", 0)
    return np.asarray(rows[0] if turned else rows[0].T.copy())


_Reader = Callable[[Floats, int, np.random.Generator], Floats]


def _reader(node: ir.Node, shape: Sequence[int]) -> _Reader:
    """A function (input, positions, random) -> (groups, columns, at most positions * batch)."""
    if not walk.is_op(node, "Conv", "ConvTranspose"):
        turned = walk.is_op(node, "Gemm") and attributes.integer(node, "transA", 0) != 0

        def rows(data: Floats, most: int, random: np.random.Generator) -> Floats:
            flat = data if turned else data.reshape(-1, data.shape[-1]).T
            return flat[None][:, :, _draw(flat.shape[1], most, random)]

        return rows
    kernel = tuple(shape[2:])
    axes = len(kernel)
    groups = attributes.integer(node, "group", 1)
    pads = attributes.integers(node, "pads", (0,) * (2 * axes))
    strides = attributes.integers(node, "strides", (1,) * axes)
    dilations = attributes.integers(node, "dilations", (1,) * axes)
    if walk.is_op(node, "Conv"):
        taps = [tuple(d * t for d, t in zip(dilations, tap, strict=True)) for tap in np.ndindex(*kernel)]
        widths = list(zip(pads[:axes], pads[axes:], strict=True))
        stuffed = (1,) * axes
    else:
        # A transposed convolution is a plain one, of stride 1 and the kernel turned round, over its input with zeros
        # put between: what follows is that one's padding and taps, in the order of the kernel as it is stored.
        reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        more = attributes.integers(node, "output_padding", (0,) * axes)
        taps = [tuple(r - d * t for r, d, t in zip(reach, dilations, tap, strict=True)) for tap in np.ndindex(*kernel)]
        widths = [(reach[a] - pads[a], reach[a] - pads[axes + a] + more[a]) for a in range(axes)]
        stuffed, strides = strides, (1,) * axes

    def patches(data: Floats, most: int, random: np.random.Generator) -> Floats:
        batch, channels = data.shape[:2]
        padded = _padded(_stuffed(data, stuffed), widths)
        reach = [max(tap[a] for tap in taps) + 1 for a in range(axes)]
        sizes = [(size - r) // s + 1 for size, r, s in zip(padded.shape[2:], reach, strides, strict=True)]
        where = np.unravel_index(_draw(int(np.prod(sizes)), most, random), sizes)
        seen = [
            padded[(slice(None), slice(None), *(w * s + t for w, s, t in zip(where, strides, tap, strict=True)))]
            for tap in taps
        ]
        columns = np.stack(seen, axis=2).transpose(1, 2, 0, 3)  # channels, taps, batch, positions
        return columns.reshape(groups, channels // groups * len(taps), batch * len(where[0]))

    return patches


def _draw(count: int, most: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.sort(random.choice(count, most, replace=False))


def _stuffed(data: Floats, strides: Sequence[int]) -> Floats:
    if all(stride == 1 for stride in strides):
        return data
    sizes = [(size - 1) * stride + 1 for size, stride in zip(data.shape[2:], strides, strict=True)]
    made = np.zeros((*data.shape[:2], *sizes), data.dtype)
    made[(slice(None), slice(None), *(slice(None, None, stride) for stride in strides))] = data
    return made


def _padded(data: Floats, widths: Sequence[tuple[int, int]]) -> Floats:
    """`data` with zeros around its spatial axes, or less of it where a width is negative."""
    if any(width for pair in widths for width in pair):
        data = np.pad(data, [(0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in widths)])
        cuts = (slice(max(-a, 0), size - max(-b, 0)) for (a, b), size in zip(widths, data.shape[2:], strict=True))
        data = data[(slice(None), slice(None), *cuts)]
    return data
