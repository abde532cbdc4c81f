"""Put every weight on its 8-bit grid and correct every bias for what that and 8-bit activations do, in one sweep.

The float network and its quantized copy walk side by side over the same samples. At each layer the copy's weights are
rounded, knowing the inputs it really gets, and its bias takes up the mean error that has come that far; then the copy
goes on with both. Correcting layers that depend on each other in one step would correct the same error twice.

The mean of a layer's output over samples is its output for the mean input, since a layer is affine; so the means cost
one run of the layer on one sample, and never a look at its outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.engine.progress import Progress
from workbench.errors import ToolError
from workbench.graph import attributes, constants, io, walk
from workbench.quant import rounding as rounder
from workbench.quant import scheme
from workbench.quant.plan import finite, inside_operators, is_operand, is_weight, plan
from workbench.quant.ranges import Range
from workbench.quant.stepper import Array, Side, Step, cosine, evenly, peak_bytes, session_bytes, steps
from workbench.runtimes.onnxruntime import OnnxRunner

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

BUDGET = 1_500_000_000
"""Bytes that the tensors of both sides may take; with more samples, evenly spaced ones are used."""


@dataclass(frozen=True)
class LayerReport:
    """What was done to one layer with weights.

    Args:
        name: the node.
        nearest: the layer's error with nearest weights, relative: root of mean squares over that of its output, both
            about their mean; of the weights themselves where `chosen` is False.
        rounded: the same with the weights it has now.
        chosen: whether the weights were chosen by the layer's inputs.
        bias_shift: the largest change of a bias, in units of the output; 0 where none was corrected.
        cosine: between what the layer makes in float and in the copy, after its activation, over all samples.
    """

    name: str
    nearest: float
    rounded: float
    chosen: bool
    bias_shift: float
    cosine: float


@dataclass(frozen=True)
class Report:
    """What a sweep did: its layers in graph order, what it left alone and why, samples used of those given."""

    layers: tuple[LayerReport, ...]
    left: tuple[str, ...]
    used: int
    given: int


def bake(
    model: ir.Model,
    ranges: Mapping[str, Range],
    samples: Sequence[Mapping[str, Array]],
    *,
    correct_bias: bool,
    rounding: Literal["nearest", "optimal"],
    progress: Progress,
    u16: Collection[str] = frozenset(),
    budget: int = BUDGET,
) -> Report:
    """Put the weights of `model` on their grids and correct its biases, in place.

    Every weight becomes an integer within +-127 times its channel's scale, in float32, and a channel keeps its extreme
    at +-127: any quantizer that is symmetric per channel finds the same integers. The exception are channels whose
    scale `scheme.weight_scales` raises for a bias that would not fit 32 bits: only that scheme, with the same input
    scale, finds theirs. A weight that several layers share becomes one for each where they differ.

    Args:
        model: a float graph with static shapes; half changed after an error.
        ranges: the span of every activation, as `observe` measures it.
        samples: at least two, each {input: array} of exactly the model's shapes.
        correct_bias: add the mean error of each output channel to its bias, or to a new one.
        rounding: the nearest weights, or those that keep the layer's output on the samples.
        progress: told after each operator.
        u16: activations at 16 bits; see `plan.plan`.
        budget: bytes; see `BUDGET`.

    Raises:
        ToolError: fewer than two samples, one that does not fit, or a tensor is NaN or infinite; it is named.
        UnsupportedError: as `plan.plan`.
    """
    if len(samples) < 2:
        raise ToolError(
            f"{len(samples)} samples are too few to correct a network by", fix="give at least two calibration pictures"
        )
    sweep = _Sweep(model, ranges, u16, correct_bias=correct_bias, choose=rounding == "optimal")
    most = max(2, budget // max(1, 2 * sweep.peak))
    chosen = [samples[index] for index in evenly(len(samples), most)]
    if len(chosen) < len(samples):
        progress.note(f"{len(chosen)} of {len(samples)} samples fit into {budget / 1e9:g} GB; evenly spaced ones serve")
    layers = sweep.run(chosen, progress)
    return Report(layers, tuple(sweep.left), len(chosen), len(samples))


class _Sweep:
    """One walk through both networks."""

    def __init__(
        self, model: ir.Model, ranges: Mapping[str, Range], u16: Collection[str], *, correct_bias: bool, choose: bool
    ) -> None:
        self._model = model
        self._correct = correct_bias
        self._choose = choose
        self.left: list[str] = []
        for node in walk.nodes(model.graph, *scheme.WEIGHTED):
            for value in node.inputs[1:]:
                if value is not None and (held := constants.array(value)) is not None:
                    finite(held, value)
        self._float = io.from_bytes(io.to_bytes(model))
        self._grids = dict(plan(model, ranges, u16).grids)
        inside = inside_operators(model.graph)
        self._steps = steps(model, inside)
        self._float_steps = steps(self._float, inside)
        self.peak = peak_bytes(model, self._steps)
        self._baked: dict[ir.Value, list[ir.Value]] = {}  # by a weight that was shared, what it became
        self._sums: dict[ir.Node, ir.Node] = {}  # by the Add that holds the bias of a MatMul, that MatMul
        self._found: list[LayerReport] = []

    def run(self, samples: Sequence[Mapping[str, Array]], progress: Progress) -> tuple[LayerReport, ...]:
        """Bake all layers."""
        true, copy = Side(self._float, samples), Side(self._model, samples)
        for value in self._model.graph.inputs:
            if str(value.name) in self._grids:
                copy.stand_on(str(value.name), self._grids[str(value.name)])
        for done, (ours, theirs) in enumerate(zip(self._steps, self._float_steps, strict=True), 1):
            true.run(theirs, session_bytes(self._float, theirs.nodes, theirs.makes))
            layer = self._layer(ours.nodes[0], theirs.nodes[0], true, copy)
            copy.run(ours, session_bytes(self._model, ours.nodes, ours.makes, grids=self._around(ours)))
            if layer is not None:
                self._found.append(replace(layer, cosine=cosine(true[ours.makes[0]], copy[ours.makes[0]])))
            true.free(theirs)
            copy.free(ours)
            progress.step(done, len(self._steps), "operators baked")
        return tuple(self._found)

    def _layer(self, node: ir.Node, original: ir.Node, true: Side, copy: Side) -> LayerReport | None:
        """Bake the layer that `node` is, if any; the cosine of the report is not known yet."""
        if node in self._sums:
            self._correct_sum(node, self._sums[node], true, copy)
        if not is_weight(node, 1):
            if walk.is_op(node, "Conv", "ConvTranspose", "Gemm"):
                self.left.append(f"{walk.label(node)}: its weight is computed")
            return None
        data, value = node.inputs[0], node.inputs[1]
        grid = None if data is None else self._grids.get(str(data.name))
        if value is None or data is None or grid is None or constants.array(data) is not None:
            self.left.append(f"{walk.label(node)}: its input is a constant")
            return None
        weights = np.asarray(constants.array(value), np.float32)
        axis = scheme.weight_axis(node, weights.ndim)
        bias = _bias(node, weights.shape[axis])
        scales = scheme.weight_scales(weights, axis, input_scale=grid.scale, bias=bias)
        reason = self._correctable(node, bias) if self._correct else "not asked for"
        report, integers = self._round(node, weights, scales, axis, copy[str(data.name)], centred=not reason)
        self._put_weight(node, value, (integers * scheme.along(scales, axis, weights.ndim)).astype(np.float32))
        if self._correct and reason:
            self.left.append(f"{walk.label(node)}: no bias corrected: {reason}")
        if reason or walk.is_op(node, "MatMul"):
            return report
        shift = self._mean_error(node, original, true, copy)
        old = np.zeros(shift.shape, np.float32) if bias is None else bias
        # A bias may decide the scale of weights that are next to nothing beside it; it stays, and so do they.
        moved = scheme.weight_scales(weights, axis, input_scale=grid.scale, bias=(old + shift).astype(np.float32))
        shift[np.tile(moved != scales, shift.size // scales.size)] = 0
        constants.put(self._model.graph, node, 2, (old + shift).astype(np.float32), f"{value.name}/bias")
        return replace(report, bias_shift=float(np.abs(shift).max(initial=0)))

    def _round(
        self, node: ir.Node, weights: Floats, scales: Floats, axis: int, inputs: Sequence[Array], *, centred: bool
    ) -> tuple[LayerReport, Doubles]:
        """The integers of a layer, in the shape of its weights."""
        reason = rounder.declines(node, weights.ndim) if self._choose else ""
        if reason:
            self.left.append(f"{walk.label(node)}: weights rounded to the nearest: {reason}")
        if reason or not self._choose:
            near = scheme.quantize_weights(weights, scales, axis).astype(np.float64)
            moved = near * scheme.along(scales, axis, weights.ndim) - weights
            error = rounder.relative(float(np.square(moved).sum()), float(np.square(weights, dtype=np.float64).sum()))
            return LayerReport(walk.label(node), error, error, False, 0.0, 0.0), near
        chosen, before, after = rounder.choose(node, weights, scales, axis, inputs, centred=centred)
        return LayerReport(walk.label(node), before, after, True, 0.0, 0.0), chosen

    def _put_weight(self, node: ir.Node, value: ir.Value, baked: Floats) -> None:
        """Give `node` its weight; layers that shared one share it still where it became the same."""
        for known in self._baked.get(value, ()):
            if np.array_equal(np.asarray(constants.array(known)), baked):
                node.replace_input_with(1, known)
                constants.drop_unused(value)
                return
        constants.put(self._model.graph, node, 1, baked, f"{value.name}/baked")
        made = node.inputs[1]
        if made is not None and made is not value:
            self._baked.setdefault(value, []).append(made)

    def _correctable(self, node: ir.Node, bias: Floats | None) -> str:
        """Why `node` gets no correction, or nothing; a MatMul is corrected by the Add behind it."""
        if walk.is_op(node, "MatMul"):
            behind = walk.only_consumer(node.outputs[0])
            place = None if behind is None else _constant_term(behind, node.outputs[0])
            if behind is None or place is None:
                return "no constant is added behind it"
            self._sums[behind] = node
            return ""
        if bias is None and len(node.inputs) > 2 and node.inputs[2] is not None:
            return "its bias is computed or not one value a channel"
        if walk.is_op(node, "Gemm") and any(attributes.decimal(node, name, 1.0) != 1 for name in ("alpha", "beta")):
            return "alpha and beta are not 1"
        return ""

    def _mean_error(self, node: ir.Node, original: ir.Node, true: Side, copy: Side) -> Doubles:
        """How far the mean output of each channel has to rise, shape (channels,)."""
        means = []
        for model, layer, side in ((self._float, original, true), (self._model, node, copy)):
            made, data = str(layer.outputs[0].name), layer.inputs[0]
            with OnnxRunner(session_bytes(model, [layer], [made])) as runner:
                (found,) = runner.run({str(data.name): side.mean(str(data.name))} if data else {}).values()
            others = tuple(other for other in range(found.ndim) if other != 1)
            means.append(found.mean(axis=others, dtype=np.float64))
        return _finite(means[0] - means[1], node)

    def _correct_sum(self, node: ir.Node, layer: ir.Node, true: Side, copy: Side) -> None:
        """Correct the constant that the Add `node` adds to what the MatMul `layer` makes."""
        made = layer.outputs[0]
        place = _constant_term(node, made)
        term = None if place is None else node.inputs[place]
        if place is None or term is None:
            return
        means = [np.asarray(side.mean(str(made.name)), np.float64) for side in (true, copy)]
        shift = _finite((means[0] - means[1]).reshape(-1, means[0].shape[-1]).mean(axis=0), node)
        new = (np.asarray(constants.array(term), np.float64) + shift).astype(np.float32)
        bits = self._grids[str(term.name)].bits
        constants.put(self._model.graph, node, place, new, f"{term.name}/corrected")
        now = node.inputs[place] or term
        self._grids[str(now.name)] = scheme.activation_grid(Range(float(new.min()), float(new.max())), bits=bits)
        for index, report in enumerate(self._found):
            if report.name == walk.label(layer):
                self._found[index] = replace(report, bias_shift=float(np.abs(shift).max(initial=0)))

    def _around(self, step: Step) -> dict[str, scheme.Grid]:
        """The grids of what `step` makes and of the constants that it takes like activations."""
        read = {
            str(value.name)
            for node in step.nodes
            for index, value in enumerate(node.inputs)
            if value is not None and is_operand(node, index)
        }
        return {name: self._grids[name] for name in (*step.makes, *sorted(read)) if name in self._grids}


def _bias(node: ir.Node, channels: int) -> Floats | None:
    """The constant bias of a layer, shape (k * channels,) for k groups; None when there is none of that form."""
    found = constants.array(node.inputs[2]) if len(node.inputs) > 2 else None
    if found is None or (walk.is_op(node, "Gemm") and found.shape[-1:] not in ((), (1,), (channels,))):
        return None
    bias = found.astype(np.float32).reshape(-1)
    if bias.size == 1:
        bias = np.repeat(bias, channels)
    return None if bias.size % channels else bias


def _constant_term(node: ir.Node, term: ir.Value) -> int | None:
    """Which input of the Add `node` is a constant beside `term`, one value for its last axis."""
    if not walk.is_op(node, "Add") or term.shape is None:
        return None
    place = 1 if node.inputs[0] is term else 0
    found = constants.array(node.inputs[place])
    if found is None or found.dtype != np.float32 or not found.size or found.ndim > len(term.shape):
        return None
    return place if all(size == 1 for size in found.shape[:-1]) else None


def _finite(shift: Doubles, node: ir.Node) -> Doubles:
    """`shift`, unless a sum over samples was too large."""
    if not np.isfinite(shift).all():
        raise ToolError(
            f"the mean of tensor {node.outputs[0].name!r} is too large for float32",
            where=walk.label(node),
            fix="check the weights of that layer",
        )
    return shift
