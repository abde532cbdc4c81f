"""Frozen TensorFlow graphs become NCHW ONNX without a Transpose, equal to TensorFlow."""

import collections
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from workbench.engine.progress import Silent
from workbench.errors import RecipeError, SourceError, UnsupportedError
from workbench.graph import io
from workbench.recipe.schema import InputSpec, OutputSpec
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.runtimes.tensorflow import import_tensorflow
from workbench.sources import tf_graph as source

SHARED = Path(__file__).resolve().parents[3] / "shared"
PICTURE = (1, 12, 16, 3)


@pytest.fixture(scope="module")
def tf():
    """TensorFlow, imported when the first test needs it."""
    return import_tensorflow()


class Layers:
    """TensorFlow operators with fixed random weights."""

    def __init__(self, tf):
        self.tf = tf
        self.v1 = tf.compat.v1
        self._random = np.random.default_rng(0)

    def weights(self, *shape):
        return (self._random.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[:-1])))).astype(np.float32)

    def conv(self, x, width, kernel=3, stride=1, padding="SAME", dilation=1):
        return self.tf.nn.conv2d(
            x, self.weights(kernel, kernel, x.shape[-1], width), stride, padding, dilations=dilation
        )

    def depthwise(self, x, stride=1, multiplier=1):
        strides = [1, stride, stride, 1]
        return self.tf.nn.depthwise_conv2d(x, self.weights(3, 3, x.shape[-1], multiplier), strides, "SAME")

    def norm(self, x):
        scale, shift, mean = (self.weights(x.shape[-1]) for _ in range(3))
        variance = np.abs(self.weights(x.shape[-1])) + 0.5
        return self.v1.nn.fused_batch_norm(x, scale, shift, mean, variance, is_training=False)[0]

    def bilinear(self, x, size, **options):
        return self.v1.image.resize_bilinear(x, size, **options)

    def nearest(self, x, size, **options):
        return self.v1.image.resize_nearest_neighbor(x, size, **options)

    def block(self, x, width):
        """An inverted residual."""
        up = self.tf.nn.relu6(self.norm(self.conv(x, 3 * x.shape[-1], 1)))
        down = self.norm(self.conv(self.tf.nn.relu6(self.norm(self.depthwise(up))), width, 1))
        return x + down if x.shape[-1] == width else down

    def hourglass(self, x, depth):
        """Down, a smaller hourglass, up again, and a skip around it; odd sizes included."""
        skip = self.block(x, 8)
        low = self.block(self.tf.nn.max_pool2d(x, 2, 2, "SAME"), 8)
        low = self.hourglass(low, depth - 1) if depth > 1 else self.block(low, 8)
        return skip + self.bilinear(self.block(low, 8), skip.shape[1:3])


def freeze(tf, build, folder, shape=PICTURE):
    """Write the graph of ``y = build(x)`` and return its file."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, shape, name="x")
        tf.identity(build(x), name="y")
    path = folder / "net.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def export(path, shape, inputs=None, samples=2):
    """Export ``x`` to ``y``; the output's shape is in TensorFlow's layout."""
    ins = inputs or (InputSpec(name="image", tensor="x", shape=PICTURE, layout="NHWC"),)
    outs = (OutputSpec(name="heat", tensor="y", shape=shape, layout="NHWC", meaning="heatmap"),)
    random = np.random.default_rng(1)
    fed = [{spec.name: random.uniform(-1, 1, spec.nchw).astype(np.float32) for spec in ins} for _ in range(samples)]
    return source.export(source.Options(), path, ins, outs, fed, base=path.parent, progress=Silent()), fed


def check(found, fed):
    """The exported graph has no Transpose and gives TensorFlow's numbers; its operators are returned."""
    operators = collections.Counter(node.op_type for node in found.model.graph)
    assert not operators["Transpose"]
    for optimize in (False, True):
        with OnnxRunner(io.to_bytes(found.model), optimize=optimize) as runner:
            for sample, golden in zip(fed, found.golden, strict=True):
                got = runner.run(sample)["heat"]
                assert got.shape == golden["heat"].shape
                np.testing.assert_allclose(got, golden["heat"], rtol=1e-6, atol=1e-5)
    return operators


OPERATORS = {
    "conv": lambda t, x: t.conv(x, 5),
    "conv_stride": lambda t, x: t.conv(x, 5, stride=2),
    "conv_valid": lambda t, x: t.conv(x, 5, padding="VALID"),
    "conv_dilated": lambda t, x: t.conv(x, 5, dilation=2),
    "conv_bias": lambda t, x: t.tf.nn.bias_add(t.conv(x, 5), t.weights(5)),
    "atrous": lambda t, x: t.tf.nn.atrous_conv2d(x, t.weights(3, 3, 3, 5), 2, "SAME"),
    "depthwise": lambda t, x: t.depthwise(x),
    "depthwise_stride": lambda t, x: t.depthwise(x, stride=2),
    "depthwise_multiplier": lambda t, x: t.depthwise(x, multiplier=2),
    "batch_norm": lambda t, x: t.norm(t.conv(x, 5)),
    "batch_norm_alone": lambda t, x: t.norm(x),
    "relu": lambda t, x: t.tf.nn.relu(x),
    "relu6": lambda t, x: t.tf.nn.relu6(t.conv(8 * x, 4)),
    "add": lambda t, x: t.conv(x, 3) + x,
    "add_vector": lambda t, x: t.conv(x, 5) * t.weights(5) + t.weights(5),
    "normalization": lambda t, x: (x - np.float32(0.5)) / t.weights(3),
    "max_pool_same": lambda t, x: t.tf.nn.max_pool2d(t.conv(x, 4), 3, 2, "SAME"),
    "max_pool_odd": lambda t, x: t.tf.nn.max_pool2d(t.conv(x, 4, padding="VALID"), 3, 2, "SAME"),
    "max_pool_valid": lambda t, x: t.tf.nn.max_pool2d(t.conv(x, 4), 2, 2, "VALID"),
    "average_pool": lambda t, x: t.tf.nn.avg_pool2d(t.conv(x, 4), 2, 2, "VALID"),
    "bilinear": lambda t, x: t.bilinear(t.conv(x, 4), (24, 32)),
    "bilinear_corners": lambda t, x: t.bilinear(t.conv(x, 4), (24, 32), align_corners=True),
    "bilinear_half_pixel": lambda t, x: t.bilinear(t.conv(x, 4), (24, 32), half_pixel_centers=True),
    "bilinear_odd": lambda t, x: t.bilinear(x, (7, 9)),
    "bilinear_odd_twice": lambda t, x: t.bilinear(t.conv(t.bilinear(x, (7, 9)), 4), (12, 16)),
    "bilinear_odd_half_pixel": lambda t, x: t.bilinear(x, (7, 9), half_pixel_centers=True),
    "bilinear_like": lambda t, x: t.bilinear(t.conv(x, 4, stride=2), t.tf.shape(x)[1:3]),
    "nearest": lambda t, x: t.nearest(t.conv(x, 4), (24, 32)),
    "nearest_half_pixel": lambda t, x: t.nearest(t.conv(x, 4), (24, 32), half_pixel_centers=True),
    "concat": lambda t, x: t.conv(t.tf.concat([t.conv(x, 4), x], 3), 5),
    "concat_last": lambda t, x: t.tf.concat([t.conv(x, 4), t.tf.nn.relu(x)], -1),
    "pad": lambda t, x: t.conv(t.tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 5, padding="VALID"),
    "sigmoid": lambda t, x: t.tf.sigmoid(t.conv(x, 4)),
    "softmax": lambda t, x: t.tf.nn.softmax(t.conv(x, 4)),
    "leaky": lambda t, x: t.tf.nn.leaky_relu(t.conv(x, 4)),
    "swish": lambda t, x: (lambda y: y * t.tf.sigmoid(y))(t.conv(x, 4)),
    "slice": lambda t, x: t.conv(x, 6)[:, 1:5, ::2, 1:4],
    "split": lambda t, x: t.conv(t.tf.concat(t.tf.split(t.conv(x, 6), 2, 3)[::-1], 3), 4),
    "squeeze_excite": lambda t, x: x * t.tf.sigmoid(t.conv(t.tf.reduce_mean(x, [1, 2], keepdims=True), 3, 1)),
    "reshaped_mean": lambda t, x: t.conv(x, 5) * t.tf.reshape(t.tf.reduce_mean(t.conv(x, 5), [1, 2]), [1, 1, 1, 5]),
    "reversed_channels": lambda t, x: t.conv(x[..., ::-1], 5),
    "transposed_conv": lambda t, x: t.tf.nn.conv2d_transpose(x, t.weights(3, 3, 5, 3), (1, 24, 32, 5), 2, "SAME"),
    "depth_to_space": lambda t, x: t.tf.nn.depth_to_space(t.conv(x, 8), 2),
    "nothing": lambda _, x: x,
    "hourglass": lambda t, x: t.conv(t.hourglass(t.conv(x, 8), 3), 5),
    "stages": lambda t, x: t.conv(t.tf.concat([t.block(t.conv(x, 8), 8), t.conv(x, 2)], 3), 5),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_is_converted_exactly(tf, tmp_path, name):
    """Each operator of a pose network, fed NHWC, is the same number for number in NCHW, with no Transpose left."""
    layers = Layers(tf)
    path = freeze(tf, lambda x: OPERATORS[name](layers, x), tmp_path)
    with tf.Graph().as_default():
        graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
        (result,) = tf.import_graph_def(graph, return_elements=["y:0"])

    found, fed = export(path, tuple(result.shape.as_list()))

    check(found, fed)


def test_the_graph_is_canonical(tf, tmp_path):
    """Static float NCHW, opset 18, the recipe's names; tensors keep TensorFlow's names without ':0'."""
    layers = Layers(tf)
    path = freeze(tf, lambda x: tf.nn.relu(layers.norm(layers.conv(x, 4, stride=2)), name="act"), tmp_path)
    found, fed = export(path, (1, 6, 8, 4))
    graph = found.model.graph

    assert check(found, fed) == {"Conv": 1, "Relu": 1}
    assert found.model.opset_imports == {"": 18}
    assert [(value.name, list(value.shape)) for value in (*graph.inputs, *graph.outputs)] == [
        ("image", [1, 3, 12, 16]),
        ("heat", [1, 4, 6, 8]),
    ]
    assert sorted(graph.initializers) == ["Conv2D/bias", "Conv2D/weight"]


def test_golden_outputs_are_tensorflow_s_own(tf, tmp_path):
    """NHWC results come back as NCHW; nothing else happens to them."""
    path = freeze(tf, lambda x: 2 * x, tmp_path)
    found, fed = export(path, PICTURE)

    for sample, golden in zip(fed, found.golden, strict=True):
        assert np.array_equal(golden["heat"], 2 * sample["image"])


def test_a_graph_can_be_entered_behind_its_preprocessing(tf, tmp_path):
    """An input may be any tensor: what comes before it, here bytes and a cast, is cut off."""
    graph = tf.Graph()
    with graph.as_default():
        encoded = tf.compat.v1.placeholder(tf.string, (), name="jpeg")
        decoded = tf.cast(tf.io.decode_jpeg(encoded, channels=3), tf.float32)
        resized = tf.reshape(decoded, PICTURE, name="x")
        tf.identity(3 * resized, name="y")
    path = tmp_path / "net.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    found, fed = export(path, PICTURE)

    assert check(found, fed)["Mul"] == 1


def test_leftovers_of_training_are_cut_off(tf, tmp_path):
    """Savers, assertions and other outputs beside the wanted ones do not matter."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, PICTURE, name="x")
        with tf.control_dependencies([tf.compat.v1.assert_greater(tf.reduce_sum(x), -1e9)]):
            tf.identity(x + 1, name="y")
        tf.compat.v1.placeholder(tf.float32, (), name="keep_prob")
        tf.io.write_file(tf.constant("stolen.txt"), tf.constant("x"))
    path = tmp_path / "net.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    found, fed = export(path, PICTURE)

    check(found, fed)


def test_a_second_export_gives_the_same_bytes(tf, tmp_path):
    """In this process, and with another hash seed in another, where tf2onnx numbers its tensors otherwise."""
    layers = Layers(tf)
    path = freeze(tf, lambda x: layers.conv(layers.hourglass(layers.conv(x, 8), 2), 5), tmp_path)
    first = io.to_bytes(export(path, (1, 12, 16, 5))[0].model)
    assert io.to_bytes(export(path, (1, 12, 16, 5))[0].model) == first
    for trace in (str(tmp_path), "site-packages", ".py", "tf2onnx", "ensorflow"):
        assert trace.encode() not in first, trace

    code = (
        "import sys; from pathlib import Path; import test_tf_graph as t; from workbench.graph import io;"
        "data = io.to_bytes(t.export(Path(sys.argv[1]), (1, 12, 16, 5))[0].model); Path(sys.argv[2]).write_bytes(data)"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "second.onnx")],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout, run.stderr) == ("", ""), "TensorFlow and tf2onnx are silent"
    assert (tmp_path / "second.onnx").read_bytes() == first


def test_a_shuffle_of_channels_is_unsupported(tf, tmp_path):
    """Where the network itself rearranges its data a Transpose must stay: the error names the node."""
    layers = Layers(tf)

    def shuffle(x):
        split = tf.reshape(layers.conv(x, 6), [1, 12, 16, 2, 3])
        return tf.reshape(tf.transpose(split, [0, 1, 2, 4, 3], name="shuffle"), [1, 12, 16, 6])

    with pytest.raises(UnsupportedError, match="a Transpose cannot be removed") as caught:
        export(freeze(tf, shuffle, tmp_path), (1, 12, 16, 6))

    assert "Transpose '" in caught.value.where
    assert str(tmp_path / "net.pb") in caught.value.where
    assert "cut the network before it" in caught.value.fix


def test_an_operator_tf2onnx_does_not_know_is_unsupported(tf, tmp_path):
    """The operator and its node are named."""
    with pytest.raises(UnsupportedError, match=r"Betainc|tf2onnx cannot convert") as caught:
        export(
            freeze(tf, lambda x: tf.math.betainc(x * x + 1, x * x + 1, tf.sigmoid(x), name="odd"), tmp_path), PICTURE
        )

    assert str(tmp_path / "net.pb") in caught.value.where


@pytest.mark.parametrize("content", [b"", b"not a graph at all", bytes(range(256)) * 20, b"\x0a\x02\x0a\x00"])
def test_what_is_no_graph_is_an_error(tmp_path, content):
    """Empty files, text and noise are named, with the way to a right one."""
    path = tmp_path / "net.pb"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"not a frozen TensorFlow graph|no TensorFlow graph inside") as caught:
        export(path, PICTURE)

    assert caught.value.where == str(path)
    assert "GraphDef" in caught.value.fix


def test_a_missing_file_and_missing_weights_are_errors(tmp_path):
    """A graph cannot be seeded: its file is the network."""
    with pytest.raises(SourceError, match="cannot read the graph: No such file"):
        export(tmp_path / "absent.pb", PICTURE)
    with pytest.raises(SourceError, match="kind tf_graph cannot be built from random weights") as caught:
        source.export(source.Options(), None, (), (), [], base=tmp_path, progress=Silent())
    assert "--weights" in caught.value.fix


def test_a_truncated_graph_is_an_error(tf, tmp_path):
    """Cut anywhere, the file is either unreadable or lacks its nodes; never a traceback."""
    layers = Layers(tf)
    path = freeze(tf, lambda x: layers.conv(x, 5), tmp_path)
    data = path.read_bytes()
    for size in range(0, len(data), max(1, len(data) // 12)):
        path.write_bytes(data[:size])
        with pytest.raises((SourceError, RecipeError)):
            export(path, (1, 12, 16, 5))


@pytest.mark.parametrize(
    ("ins", "outs", "what", "fix", "at"),
    [
        ({"tensor": "imag"}, {}, "no tensor called 'imag'", "did you mean 'net/image'?", ("inputs", 0, "tensor")),
        (
            {"tensor": None, "name": "zzzzz"},
            {},
            "no tensor called 'zzzzz'",
            "own inputs are net/image",
            ("inputs", 0, "name"),
        ),
        ({}, {"tensor": "out"}, "no tensor called 'out'", "did you mean 'net/out'?", ("outputs", 0, "tensor")),
        ({}, {"tensor": "zzzzz"}, "no tensor called 'zzzzz'", "own outputs are net/out", ("outputs", 0, "tensor")),
        ({"tensor": "net/image:1"}, {}, "not the first output", "net/image", ("inputs", 0, "tensor")),
        (
            {"shape": (1, 12, 20, 3)},
            {},
            r"\[1, 12, 20, 3\] in the recipe, \[\?, 12, 16, 3\] in the graph",
            "shape",
            ("inputs", 0, "shape"),
        ),
        (
            {},
            {"shape": (1, 12, 16, 9)},
            r"\[1, 12, 16, 5\] in the network, \[1, 12, 16, 9\] in the recipe",
            "write shape: [1, 12, 16, 5]",
            ("outputs", 0, "shape"),
        ),
        ({}, {"tensor": "lonely"}, "needs? the placeholder 'net/other'|no output depends", "", None),
    ],
)
def test_a_recipe_that_contradicts_the_graph_is_told_where(tf, tmp_path, ins, outs, what, fix, at):
    """The near miss, or the graph's own tensors and shapes, with the key of the recipe."""
    layers = Layers(tf)
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 12, 16, 3), name="net/image")
        other = tf.compat.v1.placeholder(tf.float32, PICTURE, name="net/other")
        tf.identity(layers.conv(x, 5), name="net/out")
        tf.add(x, other, name="lonely")
    path = tmp_path / "net.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    inputs = (
        InputSpec.model_validate({"name": "image", "tensor": "net/image", "shape": PICTURE, "layout": "NHWC", **ins}),
    )
    output = {
        "name": "heat",
        "tensor": "net/out",
        "shape": (1, 12, 16, 5),
        "layout": "NHWC",
        "meaning": "heatmap",
        **outs,
    }
    with pytest.raises((RecipeError, SourceError), match=what) as caught:
        source.export(
            source.Options(), path, inputs, (OutputSpec.model_validate(output),), [], base=tmp_path, progress=Silent()
        )

    assert fix in caught.value.fix
    assert caught.value.at == at


def test_a_shape_the_layers_refuse_is_a_mistake_of_the_recipe(tf, tmp_path):
    """An open placeholder takes any shape, but the layers behind it do not."""
    path = freeze(tf, lambda x: x + np.ones((1, 12, 16, 3), np.float32), tmp_path, shape=None)
    inputs = (InputSpec(name="image", tensor="x", shape=(1, 10, 16, 3), layout="NHWC"),)
    with pytest.raises(
        RecipeError, match=r"the graph does not take \[1, 10, 16, 3\]: .*Dimensions must be equal"
    ) as caught:
        export(path, PICTURE, inputs)

    assert caught.value.at == ("inputs", 0, "shape")


def test_a_graph_that_does_more_than_compute_is_refused(tf, tmp_path, monkeypatch):
    """Reading files is refused by name, before TensorFlow runs anything."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.zeros(12 * 16 * 3, np.float32).tobytes())
    path = freeze(
        tf, lambda x: x + tf.reshape(tf.io.decode_raw(tf.io.read_file(str(secret)), tf.float32), PICTURE), tmp_path
    )
    with pytest.raises(SourceError, match=r"operator '(DecodeRaw|ReadFile|Const)' does more than compute") as caught:
        export(path, PICTURE)

    assert "node " in caught.value.where
    assert str(path) in caught.value.where


@pytest.mark.slow
def test_the_published_network_equals_tensorflow():
    """CPM's own file: no Transpose, and within 1e-5 of TensorFlow on noise."""
    path = SHARED / "models" / "cpm" / "model.pb"
    if not path.is_file():
        pytest.skip("no model.pb in ../shared/models/cpm")
    tensor = "Convolutional_Pose_Machine/stage_5_out"
    inputs = (InputSpec(name="image", shape=(1, 192, 192, 3), layout="NHWC"),)
    outputs = (OutputSpec(name="heat", tensor=tensor, shape=(1, 96, 96, 14), layout="NHWC", meaning="heatmap"),)
    fed = [{"image": np.random.default_rng(0).uniform(0, 255, (1, 3, 192, 192)).astype(np.float32)}]
    found = source.export(source.Options(), path, inputs, outputs, fed, base=path.parent, progress=Silent())

    assert check(found, fed) == {
        "Conv": 145,
        "Clip": 93,
        "Relu": 104,
        "Add": 29,
        "MaxPool": 2,
        "Resize": 3,
        "Concat": 6,
    }
