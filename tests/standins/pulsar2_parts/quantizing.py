"""Quantize with onnxruntime's own quantizer, which has nothing in common with Workbench's, and describe the result.

Activations unsigned 8 (or 16) bit per tensor, weights signed 8 bit per channel, ranges from the first few samples:
the emulation is to be quick, and is no judge of the chip.
"""

from __future__ import annotations

import logging
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

SAMPLES = int(os.environ.get("STANDIN_SAMPLES", "6"))
LINEAR = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Grid:
    """How one tensor is stored: its type, scales and zero points (one each, or one a channel)."""

    dtype: str
    scale: np.ndarray
    zero: np.ndarray


@dataclass(frozen=True)
class Operator:
    """One operator of the quantized graph: the tensors it reads (name to grid, None: not quantized) and makes."""

    name: str
    kind: str
    reads: dict[str, Grid | None]
    makes: tuple[str, ...]


class _Reader:
    """The few samples, as onnxruntime's calibrator asks for them."""

    def __init__(self, feeds: list[dict[str, np.ndarray]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def quantize(
    model: onnx.ModelProto, feeds: list[dict[str, np.ndarray]], wide: set[str], method: str
) -> onnx.ModelProto:
    """A QDQ model of the float `model`; the tensors `wide` have 16 bits."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    logging.getLogger().setLevel(logging.ERROR)  # its advice is none of the documented log
    methods = {"Percentile": CalibrationMethod.Percentile, "KL": CalibrationMethod.Entropy}
    extra: dict[str, Any] = {"ActivationSymmetric": False, "WeightSymmetric": True}
    if wide:
        extra["TensorQuantOverrides"] = {name: [{"quant_type": QuantType.QUInt16}] for name in sorted(wide)}
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "qdq.onnx")
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _Reader(feeds[:SAMPLES]),
            quant_format=QuantFormat.QDQ,
            per_channel=opset >= 13,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=methods.get(method, CalibrationMethod.MinMax),
            calibration_providers=["CPUExecutionProvider"],
            extra_options=extra,
        )
        return onnx.load(target)


def operators(quantized: onnx.ModelProto) -> Iterator[Operator]:
    """The operators of a QDQ model, without the QuantizeLinear and DequantizeLinear between them."""
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    makers = {name: node for node in quantized.graph.node for name in node.output}
    for node in quantized.graph.node:
        if node.op_type in LINEAR:
            continue
        reads: dict[str, Grid | None] = {}
        for name in filter(None, node.input):
            maker = makers.get(name)
            if maker is not None and maker.op_type == "DequantizeLinear":
                source = makers.get(maker.input[0])
                origin = source.input[0] if source is not None else maker.input[0]
                reads[origin.removesuffix("_quantized")] = _grid(maker, constants)
            elif name not in constants:
                reads[name] = None
        # The quantizer renames a graph's output before its last QuantizeLinear.
        made = tuple(name.removesuffix("_QuantizeLinear_Input") for name in node.output if name)
        yield Operator(node.name, node.op_type, reads, made)


def grids(quantized: onnx.ModelProto) -> dict[str, Grid]:
    """By name of the float tensor, how every activation is stored."""
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    return {
        node.input[0].removesuffix("_QuantizeLinear_Input"): _grid(node, constants)
        for node in quantized.graph.node
        if node.op_type == "QuantizeLinear"
    }


def description(quantized: onnx.ModelProto, chip: str) -> dict[str, Any]:
    """``quant_axmodel.json``: by operator and tensor the width, policy, limits and state; scales by hash."""
    stored, outputs = grids(quantized), {}
    configs: dict[str, dict[str, Any]] = {}
    values: dict[str, Any] = {}
    makers: dict[str, str] = {}
    for one in operators(quantized):
        tensors: dict[str, Any] = {}
        for name, grid in one.reads.items():
            if grid is not None:
                state = "OVERLAPPED" if name in makers else "PASSIVE_BAKED" if grid.dtype == "int32" else "BAKED"
                if name in stored and name not in makers:
                    state = "ACTIVATED"
                tensors[name] = _config(f"{one.name}/{name}", grid, state, makers.get(name, ""), values)
        for name in one.makes:
            made = stored.get(name)
            if made is not None:
                tensors[name] = _config(f"{one.name}/{name}", made, "ACTIVATED", "", values)
                makers[name] = f"{one.name}/{name}"
        configs[one.name] = tensors
        outputs[one.name] = f"AX_NPU_{chip}_INT8"
    return {"quant_config": {}, "tensor_configs": configs, "dispatchings": outputs, "values": values}


def _config(path: str, grid: Grid, state: str, dominator: str, values: dict[str, Any]) -> dict[str, Any]:
    number = zlib.crc32(path.encode())
    limits = np.iinfo(grid.dtype)
    symmetric, many = limits.min < 0, grid.scale.size > 1
    values[str(number)] = {"scale": grid.scale.tolist(), "zero_point": grid.zero.astype(float).tolist()}
    return {
        "bit_width": limits.bits,
        "policy": {
            "PER_TENSOR": not many,
            "PER_CHANNEL": many,
            "LINEAR": True,
            "EXPONENTIAL": False,
            "SYMMETRICAL": symmetric,
            "ASYMMETRICAL": not symmetric,
            "POWER_OF_2": False,
        },
        "state": state,
        "quant_min": int(limits.min),
        "quant_max": int(limits.max),
        "hash": number,
        "dominator": zlib.crc32(dominator.encode()) if dominator else number,
    }


def _grid(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> Grid:
    scale = numpy_helper.to_array(constants[node.input[1]])
    if len(node.input) > 2 and node.input[2]:
        zero = numpy_helper.to_array(constants[node.input[2]])
    else:
        zero = np.zeros(scale.shape, np.uint8)
    return Grid(zero.dtype.name, np.atleast_1d(scale), np.atleast_1d(zero))
