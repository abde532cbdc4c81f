"""Frozen graphs run in TensorFlow, cut to what is asked for, and only when all they do is compute."""

import subprocess
import sys

import numpy as np
import pytest

from workbench.errors import SourceError, UnsupportedError
from workbench.runtimes import _graph_def, tensorflow


@pytest.fixture(scope="module")
def tf():
    """TensorFlow, imported when the first test needs it."""
    return tensorflow.import_tensorflow()


def graph_of(tf, build):
    """The GraphDef of what `build` makes."""
    graph = tf.Graph()
    with graph.as_default():
        build(tf.compat.v1)
    return graph.as_graph_def()


@pytest.fixture(scope="module")
def small(tf):
    """Two inputs, two sinks: sum = a + b, twice = 2 a; and a constant nobody reads."""

    def build(v1):
        a = v1.placeholder(tf.float32, (None, 4, 4, 3), name="net/a")
        b = v1.placeholder(tf.float32, (1, 4, 4, 3), name="net/b")
        tf.add(a, b, name="net/sum")
        tf.multiply(a, 2.0, name="net/twice")
        tf.constant(1.0, name="lonely")

    return graph_of(tf, build)


def write(folder, graph):
    """Write a graph and return its file."""
    path = folder / "net.pb"
    path.write_bytes(graph.SerializeToString())
    return path


A, B = (np.full((1, 4, 4, 3), value, np.float32) for value in (1, 10))


def test_placeholders_are_inputs_and_sinks_outputs(small, tmp_path):
    """Without being told, the runner finds the graph's own ends, their shapes and types."""
    with tensorflow.TensorFlowRunner(write(tmp_path, small)) as runner:
        assert [(port.name, port.shape, port.dtype) for port in (*runner.inputs, *runner.outputs)] == [
            ("net/a", (None, 4, 4, 3), "float32"),
            ("net/b", (1, 4, 4, 3), "float32"),
            ("net/sum", (None, 4, 4, 3), "float32"),
            ("net/twice", (None, 4, 4, 3), "float32"),
        ]
        assert (runner.layout, runner.runtime) == ("NHWC", "TensorFlow")
        results = runner.run({"net/b": B, "net/a": A})

    assert results["net/sum"].tolist() == (A + B).tolist()
    assert results["net/twice"].tolist() == (2 * A).tolist()


def test_only_what_the_outputs_need_is_an_input(small, tmp_path):
    """An output that does not need a placeholder does not ask for it."""
    with tensorflow.TensorFlowRunner(write(tmp_path, small), outputs=["net/twice:0"]) as runner:
        assert [port.name for port in runner.inputs] == ["net/a"]
        assert runner.run({"net/a": A})["net/twice:0"].tolist() == (2 * A).tolist()


def test_an_inner_tensor_can_be_fed(tf):
    """`prepare` makes an input of any tensor and cuts off what came before."""

    def build(v1):
        x = v1.placeholder(tf.string, (), name="file")
        y = tf.reshape(tf.io.decode_raw(x, tf.float32), (1, 2), name="decoded")
        tf.negative(y, name="out")

    part = tensorflow.prepare(graph_of(tf, build), {"decoded": (1, 2)}, ["out"])
    function = tensorflow.frozen_function(part, ["decoded"], ["out"])

    assert [node.op for node in part.node] == ["Placeholder", "Neg"]
    assert function([np.array([[1, 2]], np.float32)])[0].tolist() == [[-1, -2]]


def test_unknown_tensors_and_missing_inputs_are_errors(small, tmp_path):
    """The tensor and the file are named, with the graph's own outputs."""
    path = write(tmp_path, small)
    with pytest.raises(SourceError, match="no tensor called 'net/out'") as caught:
        tensorflow.TensorFlowRunner(path, outputs=["net/out"])
    assert "['net/sum', 'net/twice']" in caught.value.fix
    assert caught.value.where == str(path)

    with pytest.raises(SourceError, match="need the placeholder 'net/b'"):
        tensorflow.TensorFlowRunner(path, inputs=["net/a"], outputs=["net/sum"])


def test_a_wrong_feed_is_an_error(small, tmp_path):
    """TensorFlow's reason, not its traceback."""
    with (
        tensorflow.TensorFlowRunner(write(tmp_path, small)) as runner,
        pytest.raises(SourceError, match="cannot run") as caught,
    ):
        runner.run({"net/a": np.zeros((1, 5, 4, 3), np.float32), "net/b": B})

    assert "shapes" in caught.value.fix


def test_a_graph_without_ends_is_an_error(tf, tmp_path):
    """A graph of constants is no network."""
    with pytest.raises(SourceError, match="no input or no output"):
        tensorflow.TensorFlowRunner(write(tmp_path, graph_of(tf, lambda _: tf.constant(1.0))))


EFFECTS = {
    "file": lambda tf, _, x: x + tf.reshape(tf.io.decode_raw(tf.io.read_file("secret"), tf.float32), (1,)),
    "memory map": lambda tf, _, x: (
        x + tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=(1,), memory_region_name="secret")
    ),
    "random": lambda _, v1, x: x + v1.random_uniform((1,)),
    "python": lambda tf, v1, x: v1.py_func(np.negative, [x], tf.float32),
    "print": lambda _, v1, x: v1.Print(x, [x]),
    "table": lambda tf, _, x: x + tf.strings.to_number(tf.strings.as_string(x)),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_a_graph_that_does_more_than_compute_is_refused(tf, name):
    """Files, memory maps, random numbers, Python, printing and strings: the node is named, nothing runs."""

    def build(v1):
        x = v1.placeholder(tf.float32, (1,), name="x")
        tf.identity(EFFECTS[name](tf, v1, x), name="y")

    with pytest.raises(SourceError, match="does more than compute; it is refused") as caught:
        tensorflow.prepare(graph_of(tf, build), {"x": (1,)}, ["y"])

    assert caught.value.where.startswith("node ")


def test_effects_inside_functions_are_found(tf):
    """A function that the graph calls is looked into as well; one that it does not call is left behind."""

    @tf.function
    def noisy(x):
        return x + tf.random.uniform((1,))

    def build(v1):
        x = v1.placeholder(tf.float32, (1,), name="x")
        tf.identity(noisy(x), name="y")
        tf.negative(x, name="clean")

    graph = graph_of(tf, build)
    with pytest.raises(SourceError, match="does more than compute"):
        tensorflow.prepare(graph, {"x": (1,)}, ["y"])
    assert not tensorflow.prepare(graph, {"x": (1,)}, ["clean"]).library.function


def test_a_graph_that_is_not_frozen_says_so(tf):
    """A variable means that training was not taken out."""

    def build(v1):
        x = v1.placeholder(tf.float32, (1,), name="x")
        v1.disable_resource_variables()
        tf.identity(x + v1.get_variable("w", (1,), use_resource=False), name="y")

    with pytest.raises(SourceError, match="not frozen: it keeps a variable") as caught:
        tensorflow.prepare(graph_of(tf, build), {"x": (1,)}, ["y"])
    assert caught.value.fix == "freeze it to constants"


def test_an_operator_of_nobody_s_is_unsupported(tf, small):
    """Custom operators have no definition here."""
    graph = type(small)()
    graph.CopyFrom(small)
    next(node for node in graph.node if node.name == "net/twice").op = "MyOwnOp"

    with pytest.raises(UnsupportedError, match="'MyOwnOp' is not one of TensorFlow's own"):
        tensorflow.prepare(graph, {"net/a": None}, ["net/twice"])


@pytest.mark.parametrize(
    ("tensor", "parts"),
    [("a", ("a", 0)), ("a:0", ("a", 0)), ("a/b:2", ("a/b", 2)), ("a:b", ("a:b", 0)), ("a:1:0", ("a:1", 0))],
)
def test_tensor_names_are_split(tensor, parts):
    """A missing ':0' means the first output."""
    assert _graph_def.split_name(tensor) == parts


def test_the_door_is_silent():
    """Importing TensorFlow and running a graph prints nothing at all, not even oneDNN's greeting."""
    code = (
        "from workbench.runtimes import tensorflow as t; tf = t.import_tensorflow(); g = tf.Graph()\n"
        "with g.as_default(): tf.identity(tf.compat.v1.placeholder(tf.float32, (1,), name='x'), name='y')\n"
        "p = t.prepare(g.as_graph_def(), {'x': (1,)}, ['y']); t.frozen_function(p, ['x'], ['y'])([[1.0]])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (run.stdout, run.stderr) == ("", "")
