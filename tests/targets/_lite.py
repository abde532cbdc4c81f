"""Small ONNX graphs, lowered to TensorFlow Lite and run beside onnxruntime."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from workbench.graph.io import write_bytes
from workbench.runtimes.litert import LiteRtRunner
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.runtimes.tensorflow import import_tensorflow
from workbench.targets.tflite import converter, lowering


def rand(*shape, low=-2.0, high=2.0, seed=3):
    """Reproducible float32 numbers."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def one(op, *operands, outputs=1, opset=17, **attributes):
    """A model of one node: tuples are shapes of run-time inputs, arrays are constants, None is left out."""
    return network([(op, list(operands), [f"y{index}" for index in range(outputs)], attributes)], opset=opset)


def network(nodes, *, opset=17, kind=TensorProto.FLOAT):
    """A model of several nodes ``(op, operands, outputs, attributes)``; a text operand is an earlier output.

    `kind` is the type of all inputs.
    """
    inputs, constants, made = [], [], []
    for place, (op, operands, outputs, attributes) in enumerate(nodes):
        names = []
        for index, operand in enumerate(operands):
            name = f"n{place}_{index}"
            if operand is None:
                name = ""
            elif isinstance(operand, str):
                name = operand
            elif isinstance(operand, tuple):
                name = f"x{len(inputs)}"
                inputs.append(helper.make_tensor_value_info(name, kind, operand))
            else:
                constants.append(numpy_helper.from_array(np.asarray(operand), name))
            names.append(name)
        made.append(helper.make_node(op, names, outputs, f"the_{op.lower()}_{place}", **attributes))
    used = {name for node in made for name in node.input}
    loose = [name for node in made for name in node.output if name not in used]
    graph = helper.make_graph(
        made, "g", inputs, [helper.make_empty_tensor_value_info(name) for name in loose], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def nhwc(array):
    """A tensor as the TFLite file holds it: rank 4 is NHWC."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def convert(model, folder: Path, variant="fp32"):
    """Lower and convert `model`."""
    path = folder / "model.onnx"
    write_bytes(model.SerializeToString(), path)
    tf = import_tensorflow()
    return converter.convert(lowering.lower(path, tf), variant, tf)


def both(model, folder: Path, *, low=-2.0, high=2.0):
    """Run `model` in onnxruntime and, converted, in LiteRT.

    Returns the outputs of both by name (onnxruntime's made NHWC) and the operator counts.
    """
    made = convert(model, folder)
    path = folder / "model.tflite"
    path.write_bytes(made.data)
    with OnnxRunner(folder / "model.onnx", threads=1) as theirs, LiteRtRunner(path, threads=1) as ours:
        feeds = {port.name: rand(*port.shape, low=low, high=high).astype(port.dtype) for port in theirs.inputs}
        wanted = {name: nhwc(array) for name, array in theirs.run(feeds).items()}
        got = ours.run({name: nhwc(array) for name, array in feeds.items()})
    return wanted, got, made.operators


def assert_equal(model, folder: Path, *, low=-2.0, high=2.0, tolerance=1e-5):
    """Both runtimes give the same outputs, by name, shape and type; returns the operator counts."""
    wanted, got, operators = both(model, folder, low=low, high=high)
    assert wanted.keys() == got.keys()
    for name, array in wanted.items():
        assert got[name].shape == array.shape, name
        assert got[name].dtype == array.dtype, name
        scale = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(got[name], array, rtol=0, atol=tolerance * scale, err_msg=name)
    return operators
