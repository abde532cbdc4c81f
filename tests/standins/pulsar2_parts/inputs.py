"""Embed the input processors: dequantize, convert the colour space, normalize and transpose inside the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_TYPES = {
    "U8": TensorProto.UINT8,
    "S8": TensorProto.INT8,
    "U16": TensorProto.UINT16,
    "S16": TensorProto.INT16,
    "U32": TensorProto.UINT32,
    "S32": TensorProto.INT32,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
}
_PLANAR, _PACKED = ("YUV420SP", "YVU420SP"), ("YUYV422", "UYVY422")
_FULL = [(1, 0, 1.402, -179.456), (1, -0.344136, -0.714136, 135.458816), (1, 1.772, 0, -226.816)]
_LIMITED = [
    (1.164383, 0, 1.596027, -222.921566),
    (1.164383, -0.391762, -0.812968, 135.575295),
    (1.164383, 2.017232, 0, -276.835851),
]


def embed(model: onnx.ModelProto, name: str, processor: dict[str, Any], dataset: dict[str, Any]) -> None:
    """Let input `name` take what the processor declares; the nodes that read it get what they got before.

    Raises:
        ValueError: the combination has no meaning, as a YUV picture without a conversion.
    """
    value = next(one for one in model.graph.input if one.name == name)
    shape = [size.dim_value for size in value.type.tensor_type.shape.dim]
    steps = _Steps(name)
    wanted, given = processor.get("tensor_layout", "NCHW"), processor.get("src_layout", "NCHW")
    kind = _TYPES[processor.get("src_dtype", "FP32")]
    source = processor.get("src_format", "AutoColorSpace")
    picture = len(shape) == 4
    outside = list(shape)
    if source in _PLANAR + _PACKED:
        if processor.get("csc_mode", "NoCSC") == "NoCSC":
            raise ValueError(f"invalid csc_mode NoCSC for src_format {source} of {name}")
        height, width = shape[2:] if wanted == "NCHW" else shape[1:3]
        kind, given = TensorProto.UINT8, "NHWC"
        outside = [1, height * 3 // 2, width, 1] if source in _PLANAR else [1, height, width, 2]
        steps.add("Cast", to=TensorProto.FLOAT)
        _convert(steps, source, processor, height, width)
    else:
        if picture and wanted != given:
            outside = [shape[index] for index in ((0, 2, 3, 1) if given == "NHWC" else (0, 3, 1, 2))]
        if kind != TensorProto.FLOAT:
            steps.add("Cast", to=TensorProto.FLOAT)
    if picture and wanted != given:
        steps.add("Transpose", perm=[0, 3, 1, 2] if wanted == "NCHW" else [0, 2, 3, 1])
    mean = processor.get("mean") or dataset.get("calibration_mean") or []
    std = processor.get("std") or dataset.get("calibration_std") or []
    across = (1, -1, 1, 1) if wanted == "NCHW" and picture else (-1,)
    if any(mean):
        steps.add("Sub", np.float32(mean).reshape(across))
    if any(one != 1 for one in std):
        steps.add("Div", np.float32(std).reshape(across))
    if steps.nodes:
        for node in model.graph.node:
            node.input[:] = [steps.last if one == name else one for one in node.input]
        old = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend([*steps.nodes, *old])
        model.graph.initializer.extend(steps.constants)
    value.CopyFrom(helper.make_tensor_value_info(name, kind, outside))


class _Steps:
    """Nodes in a row behind one input."""

    def __init__(self, name: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = self._name = name

    def add(self, kind: str, *constants: np.ndarray, reads: str = "", **attributes: Any) -> str:
        """Append a node that reads `reads`, or what the last one made."""
        made = f"{self._name}/pre_{len(self.nodes)}"
        names = []
        for index, array in enumerate(constants):
            names.append(f"{made}/{index}")
            self.constants.append(numpy_helper.from_array(array, names[-1]))
        self.nodes.append(helper.make_node(kind, [reads or self.last, *names], [made], made, **attributes))
        self.last = made
        return made


def _convert(steps: _Steps, source: str, processor: dict[str, Any], height: int, width: int) -> None:
    """YUV bytes to rounded, clipped NHWC pixels in the order of ``tensor_format``."""
    start = steps.last

    def cut(reads: str, first: int, last: int, axis: int, step: int = 1) -> str:
        numbers = ([first], [last], [axis], [step])
        return steps.add("Slice", *(np.array(one, np.int64) for one in numbers), reads=reads)

    if source in _PLANAR:
        light = cut(start, 0, height, 1)
        pairs = cut(start, height, height * 3 // 2, 1)
        pairs = steps.add("Reshape", np.array([1, height // 2, width // 2, 2], np.int64), reads=pairs)
        order = (0, 1) if source == "YUV420SP" else (1, 0)
        colours = [_grow(steps, cut(pairs, one, one + 1, 3), height, width, 2) for one in order]
    else:
        first = 0 if source == "YUYV422" else 1
        light = cut(start, first, first + 1, 3)
        chroma = cut(start, 1 - first, 2 - first, 3)
        chroma = steps.add("Reshape", np.array([1, height, width // 2, 2], np.int64), reads=chroma)
        colours = [_grow(steps, cut(chroma, one, one + 1, 3), height, width, 1) for one in (0, 1)]
    made = f"{start}/yuv"
    steps.nodes.append(helper.make_node("Concat", [light, *colours], [made], made, axis=3))
    steps.last = made
    mode = processor["csc_mode"]
    if mode == "Matrix":
        rows = np.float32(processor["csc_mat"]).reshape(3, 4)
    else:
        rows = np.float32(_FULL if mode == "FullRange" else _LIMITED)
        if processor.get("tensor_format", "AutoColorSpace") != "RGB":
            rows = rows[::-1]
    steps.add("MatMul", np.ascontiguousarray(rows[:, :3].T))
    steps.add("Add", np.ascontiguousarray(rows[:, 3]))
    steps.add("Round")
    steps.add("Clip", np.float32(0), np.float32(255))


def _grow(steps: _Steps, reads: str, height: int, width: int, tall: int) -> str:
    """Repeat every value of (1, H/tall, W/2, 1) so that it covers (1, H, W, 1)."""
    steps.add("Reshape", np.array([1, height // tall, 1, width // 2, 1], np.int64), reads=reads)
    steps.add("Expand", np.array([1, height // tall, tall, width // 2, 2], np.int64))
    return steps.add("Reshape", np.array([1, height, width, 1], np.int64))
