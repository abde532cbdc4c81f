"""Carry what passes move out of the graph into the recipe's mean, std and colour order."""

from __future__ import annotations

import onnx_ir as ir

from workbench.errors import RecipeError, UnsupportedError
from workbench.graph import walk
from workbench.recipe.schema import InputSpec
from workbench.surgery._pass import Edits, PreprocessChange


def follow(inputs: tuple[InputSpec, ...], edits: Edits) -> tuple[InputSpec, ...]:
    """`inputs` as they are after one pass.

    Raises:
        RecipeError: the pass changed how an input is prepared that the recipe does not describe.
        UnsupportedError: the channels of a grey input would have to be reversed.
    """
    known = {spec.name for spec in inputs}
    for name in edits.preprocess:
        if name not in known:
            raise RecipeError(
                f"the preparation of input '{name}' changed, and the recipe does not describe that input",
                fix="list it under inputs, or restrict the pass with its option inputs",
            )
    return tuple(_follow(spec, edits) for spec in inputs)


def canonical(spec: InputSpec, model: ir.Model) -> InputSpec:
    """`spec` as the canonical graph has it: layout NCHW, and the graph's own shape where that is static."""
    value = next((value for value in model.graph.inputs if value.name == spec.name), None)
    shape = walk.static_shape(value)
    if shape is None or len(shape) != 4:
        shape = spec.nchw
    return _updated(spec, shape=shape, layout="NCHW")


def compose(spec: InputSpec, change: PreprocessChange) -> InputSpec:
    """`spec` for the network that wants what `change` makes of the present tensor.

    ``((pixel - mean) / std - m) / s`` is ``(pixel - (mean + m * std)) / (std * s)``, so one pair stays one pair; a
    declared range is mapped the same way. Computed in double precision.

    Raises:
        UnsupportedError: the channels of an input that is neither RGB nor BGR would have to be reversed.
    """
    channels = spec.nchw[1]
    mean, std = spec.per_channel
    m, s = _widen(change.mean, channels), _widen(change.std, channels)
    new_mean = tuple(a + b * c for a, b, c in zip(mean, m, std, strict=True))
    new_std = tuple(a * b for a, b in zip(std, s, strict=True))
    new_range = None
    if spec.range is not None:
        ends = [(end - b) / c for b, c in zip(m, s, strict=True) for end in spec.range]
        new_range = (min(ends), max(ends))
    color = spec.color
    if change.reverse_channels:
        if color == "GRAY":
            raise UnsupportedError(f"input '{spec.name}' is GRAY and has no channels to swap")
        new_mean, new_std = new_mean[::-1], new_std[::-1]
        color = "BGR" if color == "RGB" else "RGB"
    return _updated(spec, mean=_narrow(new_mean), std=_narrow(new_std), range=new_range, color=color)


def _follow(spec: InputSpec, edits: Edits) -> InputSpec:
    if spec.name in edits.preprocess:
        spec = compose(spec, edits.preprocess[spec.name])
    if spec.name in edits.renamed:
        # The source keeps its own name for the tensor, whatever the graph calls it now.
        spec = _updated(spec, name=edits.renamed[spec.name], tensor=spec.source_tensor)
    return spec


def _updated(spec: InputSpec, **update: object) -> InputSpec:
    """`spec` with other values, validated again: `model_copy` alone would let a contradiction through."""
    changed = spec.model_copy(update=update)
    return InputSpec.model_validate(changed.model_dump()) if changed != spec else spec


def _widen(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values


def _narrow(values: tuple[float, ...]) -> tuple[float, ...]:
    """One value when all channels agree, as people write it."""
    return values[:1] if len(set(values)) == 1 else values
