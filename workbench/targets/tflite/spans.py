"""What the grid of every activation of a float file has to hold: as in ONNX, observed where that lacks the tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

from workbench.quant.ranges import Range
from workbench.targets.tflite import flatbuffer
from workbench.targets.tflite.origins import activations

_MOVING = frozenset(
    {
        "BATCH_TO_SPACE_ND",
        "DEPTH_TO_SPACE",
        "EXPAND_DIMS",
        "GATHER",
        "MAX_POOL_2D",
        "MIRROR_PAD",
        "PAD",
        "PADV2",
        "RESHAPE",
        "RESIZE_NEAREST_NEIGHBOR",
        "REVERSE_V2",
        "SLICE",
        "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SPLIT_V",
        "SQUEEZE",
        "STRIDED_SLICE",
        "TILE",
        "TRANSPOSE",
        "UNPACK",
    }
)
"""The output has values of the input, or zeros."""

_CHOOSING = frozenset(
    {"CONCATENATION", "MAXIMUM", "MINIMUM", "PACK", "REDUCE_MAX", "REDUCE_MIN", "SELECT", "SELECT_V2"}
)
"""The output has values of the inputs; one that the output's grid cuts off is cut off rightly."""

_MIXING = frozenset({"AVERAGE_POOL_2D", "RESIZE_BILINEAR"})
"""The output has means of the input's values."""

_ONE_GRID = _MOVING | _CHOOSING | _MIXING
"""TensorFlow Lite computes these with one scale for all inputs and outputs (its 8-bit quantization specification).

Its quantizer takes the scale of any of them, and cuts the others off: for a tensor of 0..23 whose readers were a
convolution and a Minimum with 0.5 it chose 0..0.5 for both. So they are given one span here.
"""


def spans(
    model: Any,
    known: Mapping[int, Range],
    observe: Callable[[list[int]], Mapping[int, tuple[float, float]]],
) -> dict[int, Range]:
    """{place of a tensor in the first graph: what its grid has to hold}, for every float activation.

    Args:
        model: the `ModelT` tree of a float file.
        known: the spans that were chosen, by place.
        observe: measures the smallest and largest value of tensors; called for those whose values matter and that
            `known` does not tell, and not at all when there are none.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    floats = [index for index in activations(model) if graph.tensors[index].type == schema.TensorType.FLOAT32]
    operators = [
        (kind, _among(operator.inputs, floats), _among(operator.outputs, floats))
        for kind, operator in flatbuffer.named_operators(model)
    ]
    found = {index: known[index] for index in floats if index in known}
    for kind, sources, made in operators:
        if kind in _MOVING and sources and sources[0] in found:
            for index in made:
                found.setdefault(index, found[sources[0]])
    # Whose values matter by themselves: everything else serves only to be moved, or chosen from.
    read = {index for _, sources, _ in operators for index in sources}
    valued = {index for kind, sources, _ in operators for index in sources if kind not in _MOVING | _CHOOSING}
    valued |= {index for index in floats if index not in read} | set(_among(graph.outputs, floats))
    if missing := sorted(valued - found.keys()):
        found.update((index, Range(*ends)) for index, ends in observe(missing).items())
    needed = _needed(operators, {index: found[index] for index in valued})
    return _together(floats, operators, needed)


_Operators = list[tuple[str, list[int], list[int]]]


def _needed(operators: _Operators, valued: Mapping[int, Range]) -> dict[int, Range]:
    """What is read of each tensor: its own span, or as much as is needed of what is moved or chosen from it."""
    needed = dict(valued)
    for kind, sources, made in reversed(operators):
        if kind in _MOVING | _CHOOSING and made:
            wanted = reduce(Range.merge, (needed[index] for index in made))
            for index in sources:
                needed[index] = needed[index].merge(wanted) if index in needed else wanted
    return needed


def _together(floats: list[int], operators: _Operators, needed: Mapping[int, Range]) -> dict[int, Range]:
    """One span for all tensors that operators of one scale connect."""
    parent = {index: index for index in floats}

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for kind, sources, made in operators:
        if kind in _ONE_GRID:
            for index in (*sources, *made):
                parent[root(index)] = root((*sources, *made)[0])
    merged: dict[int, Range] = {}
    for index in floats:
        top = root(index)
        merged[top] = merged[top].merge(needed[index]) if top in merged else needed[index]
    return {index: merged[root(index)] for index in floats}


def _among(places: Iterable[int], floats: list[int]) -> list[int]:
    return [int(place) for place in places if int(place) in floats]
