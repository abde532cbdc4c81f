"""The TensorFlow Lite target: names, layout, what it refuses, and that the same graph gives the same bytes."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from _lite import assert_equal, convert, network, one, rand
from onnx import TensorProto
from pydantic import ValidationError

from workbench.engine.progress import Silent
from workbench.errors import ToolError, UnsupportedError
from workbench.runtimes.litert import LiteRtRunner
from workbench.targets._target import Artifact, TargetJob
from workbench.targets.tflite import Options, build
from workbench.targets.tflite import flatbuffer as fb

X = (1, 3, 16, 24)
SAME = {"pads": [1, 1, 1, 1]}


def pose_net():
    """Two resolutions, a residual, a squeeze-and-excite, upsampling and two heads: what pose networks are made of."""
    return network(
        [
            ("Conv", [X, rand(8, 3, 3, 3), rand(8)], ["c"], {"strides": [2, 2], **SAME}),
            ("BatchNormalization", ["c", rand(8), rand(8), rand(8), rand(8, low=0.5)], ["b"], {}),
            ("Clip", ["b", np.float32(0), np.float32(6)], ["r"], {}),
            ("Relu", ["r"], ["rr"], {}),
            ("Conv", ["rr", rand(8, 1, 3, 3), rand(8)], ["d"], {"group": 8, **SAME}),
            ("Relu", ["d"], ["e"], {}),
            ("MaxPool", ["e"], ["m"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
            ("Conv", ["m", rand(8, 8, 1, 1), rand(8)], ["f"], {}),
            ("GlobalAveragePool", ["f"], ["g"], {}),
            ("Sigmoid", ["g"], ["s"], {}),
            ("Mul", ["f", "s"], ["h"], {}),
            ("Resize", ["h", None, np.array([1, 1, 2, 2], np.float32)], ["u"], {"mode": "linear"}),
            ("Add", ["u", "e"], ["a"], {}),
            ("Concat", ["a", "e"], ["k"], {"axis": 1}),
            ("Conv", ["k", rand(17, 16, 1, 1), rand(17)], ["heat"], {}),
            ("Conv", ["k", rand(4, 16, 1, 1), rand(4)], ["pafs/out:0"], {}),
        ]
    )


def renamed(model, **names):
    """`model` with graph inputs and outputs called otherwise."""
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return model


def job(model: onnx.ModelProto, folder: Path, *variants) -> TargetJob:
    """What a recipe asks of the target."""
    (folder / "canonical.onnx").write_bytes(model.SerializeToString())
    return TargetJob(
        name="net",
        options=Options(variants=variants) if variants else Options(),
        model=folder / "canonical.onnx",
        quantized=None,
        inputs=(),
        pictures=folder,
        out=folder,
        progress=Silent(),
    )


def test_pose_network_needs_no_transpose(tmp_path):
    """A pose-like network stays NHWC throughout, and its activations and batch norms vanish in its convolutions."""
    operators = assert_equal(pose_net(), tmp_path)

    assert operators == {
        "ADD": 1,
        "CONCATENATION": 1,
        "CONV_2D": 4,
        "DEPTHWISE_CONV_2D": 1,
        "LOGISTIC": 1,
        "MAX_POOL_2D": 1,
        "MEAN": 1,
        "MUL": 1,
        "PAD": 1,
        "RESIZE_BILINEAR": 1,
    }


@pytest.mark.parametrize(
    ("nodes", "operators"),
    [
        ([("Relu", ["c"], ["y"], {})], {"CONV_2D": 1}),
        ([("Clip", ["c", np.float32(0), np.float32(6)], ["y"], {})], {"CONV_2D": 1}),
        ([("Clip", ["c", np.float32(0), np.float32(6)], ["d"], {}), ("Relu", ["d"], ["y"], {})], {"CONV_2D": 1}),
        ([("Add", ["c", rand(1, 4, 1, 1)], ["y"], {})], {"CONV_2D": 1}),
        ([("Mul", ["c", rand(4, 1, 1)], ["y"], {})], {"CONV_2D": 1}),
        ([("PRelu", ["c", rand(4, 1, 1)], ["y"], {})], {"CONV_2D": 1, "PRELU": 1}),
        ([("HardSwish", ["c"], ["y"], {})], {"CONV_2D": 1, "HARD_SWISH": 1}),
        ([("Elu", ["c"], ["y"], {})], {"CONV_2D": 1, "ELU": 1}),
        ([("Softmax", ["c"], ["y"], {"axis": 1})], {"CONV_2D": 1, "SOFTMAX": 1}),
    ],
)
def test_converter_recognises_what_is_written(nodes, operators, tmp_path):
    """Operators are written so that TensorFlow's converter finds its fused forms in them."""
    assert convert(network([("Conv", [X, rand(4, 3, 3, 3)], ["c"], SAME), *nodes]), tmp_path).operators == operators


@pytest.mark.parametrize("size", [(16, 24), (15, 23)])
def test_padding_becomes_same_where_it_is(size, tmp_path):
    """Stride 2 with pad 1 is TensorFlow's SAME on odd sizes, and a PAD with VALID on even ones."""
    model = one("Conv", (1, 3, *size), rand(4, 3, 3, 3), strides=[2, 2], **SAME)

    assert ("PAD" in convert(model, tmp_path).operators) == (size == (16, 24))


def test_names_are_kept_to_the_letter(tmp_path):
    """Inputs and outputs carry the ONNX names in the signature and on the tensors, slashes and colons included."""
    model = renamed(pose_net(), x0="image:0")
    (tmp_path / "net.tflite").write_bytes(convert(model, tmp_path).data)

    with LiteRtRunner(tmp_path / "net.tflite") as runner:
        assert [(port.name, port.shape) for port in runner.inputs] == [("image:0", (1, 16, 24, 3))]
        assert [(port.name, port.shape) for port in runner.outputs] == [
            ("heat", (1, 8, 12, 17)),
            ("pafs/out:0", (1, 8, 12, 4)),
        ]
    file = fb.unpack((tmp_path / "net.tflite").read_bytes())
    assert [signature.signatureKey for signature in file.signatureDefs] == [b"serving_default"]
    assert file.subgraphs[0].tensors[file.subgraphs[0].inputs[0]].name == b"image:0"


def test_outputs_that_are_inputs_or_constants_are_delivered(tmp_path):
    """An output that nothing computes is delivered all the same."""
    nodes = [("Identity", [(1, 2, 3, 4)], ["same"], {}), ("Constant", [], ["fixed"], {"value_floats": [1.0, 2.0]})]

    assert_equal(network(nodes), tmp_path)


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT64])
def test_inputs_of_other_types_keep_them(kind, tmp_path):
    """A network that takes bytes or integers takes them here, too."""
    nodes = [("Cast", [X], ["f"], {"to": TensorProto.FLOAT}), ("Conv", ["f", rand(4, 3, 1, 1)], ["y"], {})]

    assert_equal(network(nodes, kind=kind), tmp_path, low=0, high=255)


def test_five_dimensional_shuffle_is_right(tmp_path):
    """Channel shuffles leave the picture layout and come back."""
    nodes = [
        ("Relu", [(1, 6, 4, 5)], ["r"], {}),
        ("Reshape", ["r", np.array([1, 2, 3, 4, 5])], ["a"], {}),
        ("Transpose", ["a"], ["b"], {"perm": [0, 2, 1, 3, 4]}),
        ("Reshape", ["b", np.array([1, 6, 4, 5])], ["c"], {}),
        ("Conv", ["c", rand(3, 6, 1, 1)], ["y"], {}),
    ]

    assert_equal(network(nodes), tmp_path)


def test_transpose_to_nhwc_costs_nothing(tmp_path):
    """A graph that turns its pictures NHWC for its last steps needs no TRANSPOSE here until it turns them back."""
    nodes = [
        ("Conv", [X, rand(4, 3, 1, 1)], ["c"], {}),
        ("Transpose", ["c"], ["t"], {"perm": [0, 2, 3, 1]}),
        ("Mul", ["t", rand(4)], ["m"], {}),
        ("Transpose", ["m"], ["y"], {"perm": [0, 3, 1, 2]}),
    ]

    assert "TRANSPOSE" not in assert_equal(network(nodes), tmp_path)


def test_all_uncovered_nodes_are_named(tmp_path):
    """One error names every node that cannot be lowered, with its operator and attribute, and the fix."""
    nodes = [
        ("LRN", [X], ["a"], {"size": 3}),
        ("Conv", ["a", rand(4, 3, 3, 3)], ["b"], {}),
        ("Resize", ["b", None, np.array([1, 1, 2, 2], np.float32)], ["c"], {"mode": "cubic"}),
        ("ConvTranspose", ["c", rand(4, 1, 2, 2)], ["y"], {"group": 4}),
    ]

    with pytest.raises(UnsupportedError) as caught:
        convert(network(nodes), tmp_path)

    assert "3 nodes cannot be lowered" in caught.value.what
    assert "node 'the_lrn_0': LRN: this operator is not covered" in caught.value.what
    assert "node 'the_resize_2': Resize: mode cubic" in caught.value.what
    assert "node 'the_convtranspose_3': ConvTranspose: attribute group = 4 is not covered" in caught.value.what
    assert "drop the tflite target" in caught.value.fix


UNCOVERED = [
    (one("AveragePool", X, kernel_shape=[2, 2], dilations=[2, 2], opset=19), "dilations = [2, 2]"),
    (one("AveragePool", X, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, count_include_pad=1), "ceil_mode"),
    (one("MaxPool", X, kernel_shape=[2, 2], outputs=2), "indices"),
    (one("ArgMax", X, select_last_index=1), "select_last_index"),
    (one("Conv", X, (4, 3, 1, 1)), "weight tensor is computed at run time"),
    (one("Conv", (1, 3, 9), rand(4, 3, 3)), "is no NCHW picture"),
    (one("Pad", X, np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="edge"), "mode = 'edge'"),
    (one("Resize", X, None, np.array([1, 2, 1, 1], np.float32), mode="linear"), "more than rows and columns"),
    (
        one("Resize", X, None, None, np.array([1, 3, 32, 48]), mode="nearest", nearest_mode="ceil"),
        "reads other cells than TensorFlow",
    ),
    (one("Resize", X, None, np.array([1, 1, 2, 2], np.float32), mode="linear", antialias=1, opset=18), "antialias"),
    (one("Cast", X, to=11), "to = DOUBLE"),
]


@pytest.mark.parametrize(("model", "told"), UNCOVERED, ids=[told for _, told in UNCOVERED])
def test_uncovered_attribute_is_named(model, told, tmp_path):
    """An operator with attributes that are not covered is refused by the node's name; nothing is ignored silently."""
    with pytest.raises(UnsupportedError) as caught:
        convert(model, tmp_path)

    assert told in str(caught.value)
    assert caught.value.where == f"node 'the_{model.graph.node[0].op_type.lower()}_0'"


def test_unknown_attribute_is_refused(tmp_path):
    """An attribute no operator has looked at is an error, even one that the ONNX checker would not know."""
    model = one("Relu", X)
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("slope", 0.5))

    with pytest.raises(UnsupportedError, match=r"attribute slope = 0\.5 is not covered"):
        convert(model, tmp_path)


def test_dynamic_input_is_refused(tmp_path):
    """An input without a static shape is refused with the pass that helps."""
    model = one("Relu", X)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"

    with pytest.raises(UnsupportedError, match="input 'x0' has no static shape") as caught:
        convert(model, tmp_path)
    assert "static_batch" in caught.value.fix


def test_old_opset_is_refused(tmp_path):
    """Softmax and friends meant something else before opset 13."""
    model = one("Relu", X)
    model.opset_import[0].version = 11

    with pytest.raises(UnsupportedError, match="ONNX opset 11; 13 to 23 are covered"):
        convert(model, tmp_path)


def test_tensor_from_nowhere_is_refused(tmp_path):
    """A graph whose nodes are not in order is an error that names the tensor."""
    model = network([("Relu", [X], ["a"], {}), ("Neg", ["a"], ["y"], {})])
    model.graph.node[1].input[0] = "nowhere"

    with pytest.raises(ToolError, match="nowhere"):
        convert(model, tmp_path)


def test_wrong_declared_shape_is_refused(tmp_path):
    """What is lowered must have the shape that ONNX declares."""
    model = one("Relu", X)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5

    with pytest.raises(UnsupportedError, match=r"its output would have shape \[1, 3, 16, 24\], ONNX says \[1, 5,"):
        convert(model, tmp_path)


def test_operator_of_tensorflow_alone_is_refused():
    """A file with an operator that TensorFlow Lite does not have is refused by that operator's name."""
    error = fb.not_builtin("FlexErf")

    assert "TensorFlow Lite does not have these operators: FlexErf" in str(error)
    assert isinstance(error, UnsupportedError)


def test_build_writes_every_variant(tmp_path):
    """fp32 and fp16 files are written under the recipe's name; half the weights' bytes in the second."""
    model = one("Conv", X, rand(64, 3, 9, 9))

    artifacts = build(job(model, tmp_path, "fp32", "fp16"))

    assert artifacts == [Artifact("net.fp32.tflite", "float"), Artifact("net.fp16.tflite", "fp16")]
    full, half = ((tmp_path / artifact.path).stat().st_size for artifact in artifacts)
    assert half < 0.6 * full
    with LiteRtRunner(tmp_path / "net.fp16.tflite") as runner:
        assert (runner.inputs[0].name, runner.inputs[0].dtype) == ("x0", "float32")


def test_random_weights_are_marked_inside_the_file(tmp_path):
    """A network that must not be shipped says so in the file's description, wherever it is copied."""
    model = one("Relu", X)
    model.metadata_props.add(key="workbench.not_deployable", value="seeded")
    (artifact,) = build(job(model, tmp_path, "fp32"))

    assert fb.unpack((tmp_path / artifact.path).read_bytes()).description == b"workbench; NOT DEPLOYABLE: seeded"


def test_same_graph_gives_same_bytes_in_every_process(tmp_path):
    """Neither time, nor place, nor the process changes a byte of a file."""
    first = build(job(pose_net(), tmp_path, "fp32", "fp16"))
    script = (
        "import sys, hashlib; from pathlib import Path\n"
        "from workbench.runtimes.tensorflow import import_tensorflow\n"
        "from workbench.targets.tflite import converter, lowering\n"
        "tf = import_tensorflow(); lowered = lowering.lower(Path(sys.argv[1]), tf)\n"
        "for kind in ('fp32', 'fp16'):\n"
        "    print(hashlib.sha256(converter.convert(lowered, kind, tf).data).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "canonical.onnx")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
        env={"PYTHONHASHSEED": "7", "PATH": "", "TMPDIR": str(tmp_path)},
    )

    hashes = [hashlib.sha256((tmp_path / artifact.path).read_bytes()).hexdigest() for artifact in first]
    assert run.stdout.split() == hashes


def test_conversion_is_silent(tmp_path, capfd):
    """Nothing of TensorFlow's chatter reaches the terminal."""
    build(job(pose_net(), tmp_path))
    with LiteRtRunner(tmp_path / "net.fp32.tflite"):
        pass

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("variants", [(), ("fp32", "fp32"), ("int4",)])
def test_options_are_checked(variants):
    """Variants are one or more of the known ones, each once."""
    with pytest.raises(ValidationError):
        Options(variants=variants)
