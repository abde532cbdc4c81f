"""Which ONNX tensor a tensor of a converted file is, by the names that TensorFlow's converter leaves in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from workbench.targets.tflite import flatbuffer
from workbench.targets.tflite.lowering import Lowered

_PLACE = re.compile(r"n(\d+)/")


def find(model: Any, lowered: Lowered) -> dict[int, str]:
    """{place of a tensor in the first graph: name of the ONNX tensor with the same values}.

    The converter calls a tensor after the nodes that went into it, e.g. ``n4/Relu;n3/BiasAdd;n3/Conv2D``, with a number
    behind where a name is taken. It holds what the last of these ONNX nodes makes, if the TensorFlow node with that
    result is among them; otherwise it is something inside that node, and has no entry. Nor has a tensor whose name
    another claims too: where an operator was taken apart, both parts carry its name.

    Args:
        model: the `ModelT` tree of a file whose activations are float, as the converter wrote it.
        lowered: the graph it was made from.
    """
    graph = model.subgraphs[0]
    claims = {}
    for index in activations(model):
        name = _origin(_text(graph.tensors[index]), lowered.origins)
        if name:
            claims[index] = name
    often = Counter(claims.values())
    found = {index: name for index, name in claims.items() if often[name] == 1}
    for ends, edges in ((graph.inputs, lowered.inputs), (graph.outputs, lowered.outputs)):
        found.update((int(index), edge.name) for index, edge in zip(ends, edges, strict=True))
    return dict(sorted(found.items()))


def rename(model: Any, found: Mapping[int, str]) -> None:
    """Call the tensors of `found` as in ONNX, and what has no such name by the first of the nodes it was made from."""
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = (found.get(index) or _text(tensor).partition(";")[0]).encode()


def owner(text: str, lowered: Lowered) -> str:
    """The ONNX tensor whose node the tensor called `text` lies inside; `text` itself when that is no longer told."""
    place = _PLACE.match(text)
    return lowered.made[int(place[1])] if place and int(place[1]) < len(lowered.made) else text


def activations(model: Any) -> list[int]:
    """The places of the tensors that depend on the input, in the first graph of the `ModelT` tree `model`."""
    graph = model.subgraphs[0]
    made = {int(index) for index in graph.inputs}
    for _, operator in flatbuffer.named_operators(model):
        # half-precision weights are widened by an operator each
        if not all(index < 0 or flatbuffer.constant(model, int(index)) for index in operator.inputs):
            made.update(int(index) for index in operator.outputs)
    return sorted(made)


def _origin(text: str, known: Mapping[str, str]) -> str:
    """The ONNX tensor of the tensor called `text`; empty when it is something inside a node."""
    last, name = -1, ""
    for part in text.split(";"):
        place = _PLACE.match(part)
        if place is None:
            continue
        number, result = int(place[1]), known.get(_free(part, known), "")
        if number > last or (number == last and result):
            last, name = number, result
    return name


def _free(part: str, known: Mapping[str, str]) -> str:
    """`part` without the number that keeps two names apart, if it has one."""
    bare = part
    while bare not in known and bare[-1:].isdigit():
        bare = bare[:-1]
    return bare if bare in known else part


def _text(tensor: Any) -> str:
    return str((tensor.name or b"").decode("utf-8", "replace"))
