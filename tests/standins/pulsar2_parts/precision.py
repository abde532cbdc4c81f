"""Which tensors carry 16 bits: `layer_configs` by the documented priorities and rules."""

from __future__ import annotations

from typing import Any

import onnx

_FOLLOWING = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def told(model: onnx.ModelProto, entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By node name, the entry that counts: a named layer beats an operator type beats a part of the graph."""
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for entry in entries:
        named = {entry.get("layer_name"), *entry.get("layer_names", ())} - {None}
        types = {entry.get("op_type"), *entry.get("op_types", ())} - {None}
        between = _between(model, entry) if entry.get("start_tensor_names") else set()
        for node in model.graph.node:
            rank = 3 if node.name in named else 2 if node.op_type in types else 1 if node.name in between else 0
            if rank > found.get(node.name, (0, {}))[0]:
                found[node.name] = (rank, entry)
    return {name: entry for name, (_, entry) in found.items()}


def wide(model: onnx.ModelProto, entries: list[dict[str, Any]]) -> set[str]:
    """The tensors at 16 bits: those that a layer at U16 reads, and the output of one that nobody reads.

    A layer that only moves data takes the type of what reads its output; a Conv may have a type for its output alone.
    """
    by_node = told(model, entries)
    outputs = {value.name for value in model.graph.output}
    readers: dict[str, list[bool]] = {}
    found = set()
    for node in reversed(model.graph.node):
        entry = by_node.get(node.name, {})
        own = entry.get("data_type") in ("U16", "S16")
        for name in node.output:
            read = readers.get(name, [])
            makes = node.op_type == "Conv" and entry.get("output_data_type") in ("U16", "S16")
            if any(read) or makes or (name in outputs and not read and own):
                found.add(name)
        if node.op_type in _FOLLOWING:
            own = node.output[0] in found
        for name in node.input:
            readers.setdefault(name, []).append(own)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input if any(readers.get(value.name, []))}
    return (found | inputs) - constants


def _between(model: onnx.ModelProto, entry: dict[str, Any]) -> set[str]:
    starts, ends = entry["start_tensor_names"], entry.get("end_tensor_names", [])
    if "DEFAULT" in starts:
        return {node.name for node in model.graph.node}
    after, before = set(starts), set(ends)
    forward, backward = set(), set()
    for node in model.graph.node:
        if after & set(node.input):
            forward.add(node.name)
            after |= set(node.output)
    for node in reversed(model.graph.node):
        if before & set(node.output):
            backward.add(node.name)
            before |= set(node.input)
    return forward & backward
