"""The container of a compiled model as AXera's toolchain writes it, small enough for a test."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper


def compiled(path: Path, *, outputs=("y.0",), kind=TensorProto.FLOAT, size=3) -> Path:
    """Write a container as Pulsar2 does: weights that hang on no node, one NPU program and a Softmax on the CPU."""
    graph = helper.make_graph(
        [
            helper.make_node("neu mode", ["x"], ["h"], neu_name="subgraph_npu_0", version=1),
            helper.make_node("Softmax", ["h"], list(outputs)),
        ],
        "g",
        [helper.make_tensor_value_info("x", kind, [2, size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in outputs],
        [helper.make_tensor("npu_params", TensorProto.UINT8, [4], b"\0\1\2\3", raw=True)],
    )
    text = "Pulsar2 Version:  3.1\nPulsar2 Commit: a8a80616"
    path.write_bytes(helper.make_model(graph, producer_name="Pulsar2", doc_string=text).SerializeToString())
    return path
