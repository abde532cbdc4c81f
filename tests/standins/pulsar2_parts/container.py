"""The `.axmodel` container as documented, with the emulated model where the NPU's program would be."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from pulsar2_parts.talk import COMMIT, LABEL, VERSION

GRAPH = "subgraph_npu_0"
_KEY = f"{GRAPH}_b1_neu"


def pack(emulated: onnx.ModelProto, batches: list[int]) -> bytes:
    """The container of a model; the same bytes for the same model. Only the program of batch 1 can be run."""
    inputs, outputs = list(emulated.graph.input), list(emulated.graph.output)
    extra = {"name": "params", "const_data_key": "npu_params", "type": "DotNeuInputConst", "dyn_param_expr_key": ""}
    described = {
        "name": GRAPH,
        "dotneus": [{"neu_key": f"{GRAPH}_b{batch}_neu", "batch": batch, "extra_inputs": [extra]} for batch in batches],
        "type": "NPUDotNeu",
    }
    shapes = {
        one.name: ["FP32", [size.dim_value for size in one.type.tensor_type.shape.dim]] for one in emulated.graph.output
    }
    node = helper.make_node(
        "neu mode",
        [one.name for one in inputs],
        [one.name for one in outputs],
        GRAPH,
        neu_name=GRAPH,
        npu_graph_info=json.dumps(described),
        outputs_info=json.dumps(shapes),
        version=1,
    )
    program = emulated.SerializeToString(deterministic=True)
    blobs = {"npu_params": LABEL.encode(), "npu_dyn_params": b""}
    blobs |= {f"{GRAPH}_b{batch}_neu": program if batch == 1 else LABEL.encode() for batch in batches}
    model = helper.make_model(
        helper.make_graph(
            [node],
            "ax-model",
            inputs,
            outputs,
            [helper.make_tensor(name, TensorProto.UINT8, [len(data)], data, raw=True) for name, data in blobs.items()],
            doc_string=LABEL,
        ),
        producer_name="Pulsar2 stand-in",
        doc_string=f"Pulsar2 Version:  {VERSION}\nPulsar2 Commit: {COMMIT}",
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    extra_data = base64.b64encode(_extra([one.name for one in inputs], [one.name for one in outputs])).decode()
    helper.set_model_props(model, {"extra_data": extra_data})
    return model.SerializeToString(deterministic=True)


def unpack(path: Path) -> onnx.ModelProto:
    """The model that onnxruntime can run: the emulated one inside a container, else the file's own.

    Raises:
        RuntimeError: a container of another toolchain.
    """
    model = onnx.load(path)
    programs = [node for node in model.graph.node if node.op_type == "neu mode"]
    if programs:
        blobs = {tensor.name: tensor.raw_data for tensor in model.graph.initializer}
        info = next(item.s for item in programs[0].attribute if item.name == "npu_graph_info")
        key = json.loads(info)["dotneus"][0]["neu_key"]
        if not model.producer_name.endswith("stand-in"):
            raise RuntimeError("the stand-in runs only what it wrote")
        return onnx.load_from_string(blobs[key])
    if any(node.op_type.startswith("Ax") for node in model.graph.node):
        return onnx.load(path.with_suffix(".data"))
    return model


def _extra(inputs: list[str], outputs: list[str]) -> bytes:
    """The `extra_data` of real files: names of the tensors, a version, and the keys of each subgraph."""

    def field(number: int, data: bytes | str) -> bytes:
        raw = data.encode() if isinstance(data, str) else data
        return bytes([number << 3 | 2]) + _varint(len(raw)) + raw

    def flag(number: int) -> bytes:
        return bytes([number << 3, 1])

    tensors = b"".join(field(1, field(1, field(1, name))) for name in (*inputs, *outputs))
    params = field(3, field(1, "params") + field(3, "npu_params"))
    return tensors + field(2, "1") + field(3, field(1, GRAPH) + field(10, field(1, _KEY) + flag(2) + params))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
