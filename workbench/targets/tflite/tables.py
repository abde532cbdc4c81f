"""Compute in 8 bits, by a table, what TensorFlow Lite has a table for and TensorFlow's quantizer leaves in float."""

from __future__ import annotations

from collections import Counter
from typing import Any

from workbench.targets.tflite import flatbuffer

_TABLED = frozenset({"ELU"})


def use_tables(model: Any) -> None:
    """Let each of these operators between a DEQUANTIZE and a QUANTIZE take and give the 8-bit integers themselves.

    The result is that of the three operators, each output the nearest integer; one that makes a float output stays.
    """
    graph = model.subgraphs[0]
    operators = flatbuffer.named_operators(model)
    made = {int(op.outputs[0]): (kind, op) for kind, op in operators}
    readers = Counter(int(index) for _, op in operators for index in op.inputs)
    ends = {int(index) for index in graph.outputs}
    idle = []
    for kind, last in operators:
        middle = int(last.inputs[0]) if kind == "QUANTIZE" else -1
        found, operator = made.get(middle, ("", None))
        if found not in _TABLED or operator is None or readers[middle] != 1 or middle in ends:
            continue
        before, first = made.get(int(operator.inputs[0]), ("", None))
        if before != "DEQUANTIZE" or first is None:
            continue
        operator.inputs, operator.outputs = [int(first.inputs[0])], [int(last.outputs[0])]
        graph.tensors[last.outputs[0]].name = graph.tensors[middle].name
        idle.append(last)
    graph.operators = [op for op in graph.operators if not any(op is other for other in idle)]
    flatbuffer.drop_unread(model)
