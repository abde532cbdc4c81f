"""What inspection says of small files of every format, counted by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from workbench.errors import RecipeError, ToolError
from workbench.inspection.bounded import describe
from workbench.inspection.facts import Facts, Part, Tensor

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "reference" / "pulsar2" / "samples"


def save(path, nodes, inputs, outputs, constants=(), **model):
    """Write a graph to `path`; inputs and outputs are name -> shape."""
    declared = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports.items()]
        for ports in (inputs, outputs)
    ]
    graph = helper.make_graph(
        nodes, "g", *declared, [numpy_helper.from_array(value, name) for name, value in constants]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], **model), path)
    return path


def test_onnx_layers_are_counted(tmp_path):
    """Conv 2*4*4*(3*9), ConvTranspose 2*4*4*(5*4), Gemm 1*7*160: multiplications of weights with activations."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "t"], ["b"], strides=[2, 2]),
        helper.make_node("Slice", ["b", "starts", "ends", "axes"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "g"], ["y"], transB=1),
    ]
    constants = [
        ("w", np.ones((2, 3, 3, 3), np.float32)),
        ("t", np.ones((2, 5, 2, 2), np.float32)),
        ("g", np.ones((7, 160), np.float32)),
        *((name, np.array(values)) for name, values in (("starts", [0, 0]), ("ends", [4, 8]), ("axes", [2, 3]))),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": [1, 3, 4, 4]}, {"y": [1, 7]}, constants, producer_name="me")
    found = describe(path)

    assert found.kind == "ONNX"
    assert found.inputs == (Tensor(name="x", dtype="float32", shape=(1, 3, 4, 4)),)
    assert found.outputs == (Tensor(name="y", dtype="float32", shape=(1, 7)),)
    assert found.operators == {"Conv": 1, "ConvTranspose": 1, "Flatten": 1, "Gemm": 1, "Slice": 1}
    assert found.macs == 2 * 16 * 27 + 2 * 16 * 20 + 7 * 160
    assert found.parameters == {"float32": 54 + 40 + 1120, "int64": 6}
    assert found.parameter_bytes == 4 * (54 + 40 + 1120) + 8 * 6
    assert found.opset == 17
    assert found.size == path.stat().st_size
    assert found.origin["Producer"] == "me"
    assert found.notes == ()


def test_open_shapes_leave_the_multiplications_unknown(tmp_path):
    """A batch that is not static is shown by its symbol, and no number is invented."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, {"x": ["N", 3, 4, 4]}, {"y": None}, [("w", np.ones((2, 3, 1, 1), "f4"))])
    found = describe(path)

    assert found.inputs[0].shown == "float32 [N, 3, 4, 4]"
    assert found.outputs[0].shown == "float32 of any rank"
    assert found.macs is None
    assert found.notes == ("MACs unknown: the shapes of Conv -> 'y' are not static",)


def test_a_mark_against_shipping_is_repeated(tmp_path):
    """Random weights are the first thing to know of a file."""
    path = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]})
    proto = onnx.load(path)
    proto.metadata_props.add(key="workbench.not_deployable", value="seeded")
    onnx.save(proto, path)

    assert describe(path).notes == ("NOT DEPLOYABLE: seeded",)


def compiled(path, parts, constants):
    """Write a compiled model: parts are (op_type, npu_graph_info), a chain from x to y."""
    names = ["x", *(f"t{index}" for index in range(1, len(parts))), "y"]
    nodes = []
    for index, (kind, info) in enumerate(parts):
        told = {"neu_name": f"npu_{index}", "npu_graph_info": info} if info is not None else {}
        nodes.append(helper.make_node(kind, [names[index]], [names[index + 1]], **told))
    save(path, nodes, {"x": [1, 4]}, {"y": [1, 4]}, constants, doc_string="Pulsar2 Version:  7.0\nPulsar2 Commit: abc")
    return path


def test_a_compiled_model_shows_its_parts(tmp_path):
    """Two NPU programs with a CPU operator between them; programs by batch, weights counted once."""
    first = '{"dotneus": [{"neu_key": "p1", "batch": 1, "extra_inputs": [{"const_data_key": "w"}]},'
    first += ' {"neu_key": "p4", "batch": 4, "extra_inputs": [{"const_data_key": "w"}]}]}'
    second = '{"dotneus": [{"neu_key": "q", "batch": 1, "extra_inputs": [{"dyn_param_expr_key": "lost"}]}]}'
    sizes = {"p1": 10, "p4": 20, "w": 100, "q": 5, "spare": 1}
    path = compiled(
        tmp_path / "m.axmodel",
        [("neu mode", first), ("Floor", None), ("neu mode", second)],
        [(name, np.zeros(size, np.uint8)) for name, size in sizes.items()],
    )
    found = describe(path)

    assert found.kind == "Pulsar2 axmodel"
    assert (found.origin["Pulsar2"], found.origin["Commit"]) == ("7.0", "abc")
    assert found.parts == (
        Part(name="npu_0", runs_on="NPU", operators=("neu mode",), batches=(1, 4), program_bytes=30, weight_bytes=100),
        Part(name="before npu_2", runs_on="CPU", operators=("Floor",)),
        Part(name="npu_2", runs_on="NPU", operators=("neu mode",), batches=(1,), program_bytes=5, weight_bytes=0),
    )
    assert found.notes == (
        "part 'npu_2': initializer 'lost' missing from the file: it cannot run",
        "initializer 'spare' belongs to no part",
        "MACs unknown: NPU programs do not say",
    )


@pytest.mark.parametrize("info", ["", "[", "[]", '{"dotneus": 3}', '{"dotneus": [3, {"neu_key": 1}]}', "[" * 5000])
def test_a_compiled_model_that_does_not_name_its_program(tmp_path, info):
    """Whatever its description holds, the file is described and the gap is said."""
    found = describe(compiled(tmp_path / "m.axmodel", [("neu mode", info)], []))

    assert found.parts[0].batches == ()
    assert found.notes[0] == "part 'npu_0': npu_graph_info does not name its program"


def test_a_compiled_model_called_onnx_is_described_as_what_it_is(tmp_path):
    """The content decides, not the suffix; and the other way round there is an error."""
    path = compiled(tmp_path / "m.onnx", [("neu mode", "{}")], [])
    assert describe(path).kind == "Pulsar2 axmodel"

    plain = save(tmp_path / "m.axmodel", [helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]})
    with pytest.raises(ToolError, match="no NPU program inside"):
        describe(plain)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no real compiled models beside the repository")
@pytest.mark.parametrize(
    ("name", "version", "program", "weights"),
    [("matmul_s16", "3.1", 5584, 436 + 9), ("matmul_s8", "1.9-beta1-dirty", 11560, 468)],
)
def test_real_compiled_models(name, version, program, weights):
    """Files of two versions of the vendor's tool: one NPU part each, every initializer accounted for."""
    found = describe(SAMPLES / f"{name}.axmodel")

    assert found.origin["Pulsar2"] == version
    (part,) = found.parts
    assert (part.runs_on, part.batches, part.program_bytes, part.weight_bytes) == ("NPU", (1,), program, weights)
    assert found.parameter_bytes == program + weights
    assert found.notes == ("MACs unknown: NPU programs do not say",)


def test_facts_survive_json(tmp_path):
    """What the reading process prints is what the other reads back."""
    path = compiled(tmp_path / "m.axmodel", [("neu mode", "{}")], [("w", np.zeros(3, np.uint8))])
    found = describe(path)
    assert Facts.from_json(found.to_json()) == found


def test_a_frozen_graph(tmp_path):
    """Placeholders, results, constants and multiplications of a TensorFlow graph: 4*4*2*(3*9)."""
    from workbench.runtimes.tensorflow import import_tensorflow

    tf = import_tensorflow()
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [1, 4, 4, 3], name="image")
        y = tf.nn.conv2d(x, tf.constant(np.ones((3, 3, 3, 2), np.float32)), 1, "SAME")
        tf.identity(y, name="heat")
    path = tmp_path / "m.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    found = describe(path)

    assert found.kind == "frozen TensorFlow graph"
    assert found.inputs == (Tensor(name="image", dtype="float32", shape=(1, 4, 4, 3)),)
    assert found.outputs == (Tensor(name="heat", dtype="float32", shape=(1, 4, 4, 2)),)
    assert found.macs == 4 * 4 * 2 * 27
    assert found.parameters == {"float32": 54}


def lite(description=b"workbench"):
    """The bytes of a TensorFlow Lite file: one convolution, 3x3, of an int8 input; the signature renames it."""
    from ai_edge_litert import schema_py_generated as schema

    from workbench.targets.tflite.flatbuffer import pack

    def tensor(name, shape, kind, buffer=0, grid=None):
        one = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name, np.array(shape, np.int32), kind, buffer
        if grid is not None:
            one.quantization = schema.QuantizationParametersT()
            one.quantization.scale = np.array(grid[:1], np.float32)
            one.quantization.zeroPoint = np.array(grid[1:], np.int64)
        return one

    def buffer(data=None):
        one = schema.BufferT()
        one.data = None if data is None else np.frombuffer(data.tobytes(), np.uint8)
        return one

    int8 = schema.TensorType.INT8
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor(b"serving_x", [1, 4, 4, 3], int8, grid=(0.5, -3)),
        tensor(b"w", [2, 3, 3, 3], int8, buffer=1),
        tensor(b"b", [2], schema.TensorType.INT32, buffer=2),
        tensor(b"y", [1, 4, 4, 2], int8),
    ]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = np.array([0, 1, 2], np.int32), np.array([3], np.int32)
    graph.inputs, graph.outputs, graph.operators = np.array([0]), np.array([3]), [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    named = schema.TensorMapT()
    named.name, named.tensorIndex = b"image", 0
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.inputs, signature.outputs = b"serving_default", [named], []
    model = schema.ModelT()
    model.version, model.description, model.subgraphs, model.operatorCodes = 3, description, [graph], [code]
    model.buffers = [buffer(), buffer(np.ones((2, 3, 3, 3), np.int8)), buffer(np.ones(2, np.int32))]
    model.signatureDefs = [signature]
    return pack(model)


def test_tflite(tmp_path):
    """The names of the signature, types, constants and multiplications of a TensorFlow Lite file."""
    path = tmp_path / "m.tflite"
    path.write_bytes(lite())
    found = describe(path)

    assert found.kind == "TensorFlow Lite"
    assert found.operators == {"CONV_2D": 1}
    assert found.inputs == (Tensor(name="image", dtype="int8", shape=(1, 4, 4, 3), note="scale 0.5, zero point -3"),)
    assert found.outputs == (Tensor(name="y", dtype="int8", shape=(1, 4, 4, 2)),)
    assert found.macs == 4 * 4 * 2 * 27
    assert found.parameters == {"int8": 54, "int32": 2}
    assert found.parameter_bytes == 54 + 8
    assert found.notes == ()


def test_a_mark_in_tflite_is_repeated(tmp_path):
    """The description carries the mark."""
    path = tmp_path / "m.tflite"
    path.write_bytes(lite(b"workbench; NOT DEPLOYABLE: seeded"))
    assert describe(path).notes == ("NOT DEPLOYABLE: seeded",)


def test_what_is_no_model_file(tmp_path):
    """A folder, a device, a missing file and an unknown suffix are four different errors."""
    with pytest.raises(ToolError, match="a folder, not a model file"):
        describe(tmp_path)
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    with pytest.raises(ToolError, match="not a plain file"):
        describe(tmp_path / "zero.onnx")
    with pytest.raises(ToolError, match="no such file"):
        describe(tmp_path / "no.onnx")
    with pytest.raises(RecipeError, match=r"'\.bin' is no kind of model file"):
        describe(tmp_path / "no.bin")
