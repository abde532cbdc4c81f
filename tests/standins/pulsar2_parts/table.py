"""The precision analysis: each operator's output against the float model's, in the vendor's table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from pulsar2_parts.quantizing import LINEAR, Grid, grids, operators

COLUMNS = ("Operator", "Type", "Output Tensor", "Shape", "DType", "QDType", "Cosin", "MSE")
_CENTRED = (1, 3, 5)
_PLAIN = ("Concat", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Slice", "Split")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    operator: str
    kind: str
    tensor: str
    shape: tuple[int, ...]
    stored: str
    cosine: float
    mse: float


def kind(operator: str) -> str:
    """The vendor's name of an operator."""
    short = {"GlobalAveragePool": "GlobAvgPool", "Gemm": "FullyConnected"}.get(operator, operator)
    return f"Ax{short}" if operator in _PLAIN else f"AxQuantized{short}"


def analyse(model: onnx.ModelProto, quantized: onnx.ModelProto, feed: dict[str, np.ndarray], end: bool) -> list[Row]:
    """A row for every operator: one sample, each operator fed with float tensors, or (`end`) the whole model."""
    floats = (
        _run(_with_outputs(model, [name for node in model.graph.node for name in node.output if name]), feed) | feed
    )
    stored = grids(quantized)
    found = _run(quantized_outputs(quantized), feed) if end else _one_by_one(quantized, floats)
    outputs = {value.name for value in model.graph.output}
    rows = []
    for one in operators(quantized):
        for name in one.makes:
            if name not in floats or name not in found or floats[name].dtype != np.float32:
                continue
            got = found[name] if end or name not in stored else _rounded(found[name], stored[name])
            width = {"uint8": "U8", "uint16": "U16"}.get(stored[name].dtype, "S8") if name in stored else "FP32"
            row = Row(one.name, kind(one.kind), name, floats[name].shape, width, *_compare(floats[name], got))
            rows.append(row)
            if name in outputs:
                rows.append(
                    Row(f"{name}_DequantizeLinear", "AxDequantizeLinear", name, row.shape, "FP32", row.cosine, row.mse)
                )
    return rows


def render(rows: list[Row], title: str) -> str:
    """The table as the vendor draws it."""
    cells = [
        (one.operator, one.kind, one.tensor, str(one.shape), "FP32", one.stored, f"{one.cosine:.5f}", f"{one.mse:.5f}")
        for one in rows
    ]
    widths = [max(len(line[index]) for line in [COLUMNS, *cells]) for index in range(len(COLUMNS))]

    def rule(left: str, fill: str, cross: str, right: str) -> str:
        return left + cross.join(fill * (width + 2) for width in widths) + right

    def line(texts: tuple[str, ...], bar: str, head: bool = False) -> str:
        centred = (1, 2, 3) if head else _CENTRED
        parts = [
            f" {text:^{width}} " if index in centred else f" {text:<{width}} "
            for index, (text, width) in enumerate(zip(texts, widths, strict=True))
        ]
        return bar + bar.join(parts) + bar

    head = [
        f"{title:^{sum(widths) + 3 * len(widths) + 1}}".rstrip(),
        rule("┏", "━", "┳", "┓"),
        line(COLUMNS, "┃", head=True),
        rule("┡", "━", "╇", "┩"),
    ]
    body = f"\n{rule('├', '─', '┼', '┤')}\n".join(line(one, "│") for one in cells)
    return "\n".join([*head, body, rule("└", "─", "┴", "┘")]) + "\n"


def quantized_outputs(quantized: onnx.ModelProto) -> onnx.ModelProto:
    """The QDQ model with the dequantized value of every operator's output as an output of that operator's name."""
    readers = {node.input[0]: node for node in quantized.graph.node if node.op_type in LINEAR}
    copy = onnx.ModelProto()
    copy.CopyFrom(quantized)
    present = {value.name for value in copy.graph.output}
    for one in operators(quantized):
        for name in one.makes:
            first = readers.get(name)
            second = readers.get(first.output[0]) if first is not None else None
            if second is not None and name not in present:
                # The float tensor already has the name: both come out, and the dequantized one replaces it.
                copy.graph.output.append(onnx.ValueInfoProto(name=second.output[0]))
                copy.metadata_props.add(key=second.output[0], value=name)
    return copy


def _one_by_one(quantized: onnx.ModelProto, floats: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What every operator makes of float tensors that were only rounded to their grids."""
    copy = onnx.ModelProto()
    copy.CopyFrom(quantized)
    made = {name for one in operators(quantized) for name in one.makes}
    feed, outputs = {}, []
    for node in copy.graph.node:
        if node.op_type in LINEAR:
            name = node.input[0].removesuffix("_QuantizeLinear_Input")
            if name in floats and node.op_type == "QuantizeLinear":
                node.input[0] = feed_name = f"float/{name}"
                feed[feed_name] = floats[name]
            continue
        for index, name in enumerate(node.input):
            if name in made and name in floats:
                node.input[index] = f"float/{name}"
                feed[f"float/{name}"] = floats[name]
        for index, name in enumerate(node.output):
            node.output[index] = f"made/{name.removesuffix('_QuantizeLinear_Input')}"
            outputs.append(node.output[index])
    given = {value.name for value in quantized.graph.input}
    read = {name for node in copy.graph.node for name in node.input}
    del copy.graph.input[:], copy.graph.output[:], copy.graph.value_info[:]
    for name in sorted(read & given):
        feed[name] = floats[name]
    for name, array in sorted(feed.items()):
        kind_of = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        copy.graph.input.append(onnx.helper.make_tensor_value_info(name, kind_of, array.shape))
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return {name.removeprefix("made/"): array for name, array in _run(copy, feed).items()}


def _with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    return copy


def _run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    renamed = {item.key: item.value for item in model.metadata_props}
    return {renamed.get(name, name): array for name, array in zip(names, session.run(names, feed), strict=True)}


def _rounded(array: np.ndarray, grid: Grid) -> np.ndarray:
    limits = np.iinfo(grid.dtype)
    steps = np.clip(np.rint(array / grid.scale[0]) + grid.zero[0].astype(np.float32), limits.min, limits.max)
    return ((steps - grid.zero[0].astype(np.float32)) * grid.scale[0]).astype(np.float32)


def _compare(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return (float(a @ b) / length if length else float(np.array_equal(a, b))), float(np.mean((a - b) ** 2))
