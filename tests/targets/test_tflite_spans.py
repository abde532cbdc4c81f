"""Which tensor of a file is which of ONNX, and what the grid of each has to hold."""

import numpy as np
import pytest
from _lite import SIZE, network, nhwc, rand
from test_tflite import pose_net

from workbench.graph.io import write_bytes
from workbench.quant.ranges import Range
from workbench.runtimes.litert import extremes
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.runtimes.tensorflow import import_tensorflow
from workbench.targets.tflite import converter, flatbuffer, lowering
from workbench.targets.tflite.origins import activations, owner
from workbench.targets.tflite.spans import spans

SAME = {"pads": [1, 1, 1, 1]}
CONV = ("Conv", [SIZE, rand(4, 3, 3, 3), rand(4)], ["c"], SAME)


def converted(model, folder):
    """The lowered graph and its float file."""
    write_bytes(model.SerializeToString(), folder / "model.onnx")
    tf = import_tensorflow()
    lowered = lowering.lower(folder / "model.onnx", tf)
    return lowered, converter.convert(lowered, "fp32", tf)


def behind(*nodes):
    """A convolution, `nodes`, and another convolution behind them."""
    return network([CONV, *nodes, ("Conv", [nodes[-1][2][0], rand(3, 4, 1, 1)], ["y"], {})], opset=18)


NETWORKS = {
    "pose": pose_net(),
    **{
        op: behind((op, ["c"], ["v"], {}))
        for op in ("Relu", "Elu", "HardSigmoid", "HardSwish", "Mish", "Softplus", "Sigmoid", "LeakyRelu", "Identity")
    },
    "PRelu": behind(("PRelu", ["c", rand(4, 1, 1)], ["v"], {})),
    "Clip": behind(("Clip", ["c", np.float32(-1), np.float32(2)], ["v"], {}), ("Relu", ["v"], ["w"], {})),
    "log1p": behind(("Abs", ["c"], ["a"], {}), ("Add", ["a", np.float32(1)], ["b"], {}), ("Log", ["b"], ["v"], {})),
    "MaxPool": behind(("MaxPool", ["c"], ["v"], {"kernel_shape": [3, 3], "strides": [2, 2], **SAME})),
    "ConvTranspose": behind(
        ("ConvTranspose", ["c", rand(4, 4, 4, 4), rand(4)], ["t"], {"strides": [2, 2], "pads": [0, 0, 1, 1]}),
        ("Relu", ["t"], ["v"], {}),
    ),
    "same weights": network(
        [CONV, ("Conv", ["c", rand(4, 4, 1, 1)], ["d"], {}), ("Conv", ["d", rand(4, 4, 1, 1)], ["y"], {})]
    ),
    "Softmax": behind(("Softmax", ["c"], ["v"], {"axis": 2})),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_tensor_has_the_values_of_the_onnx_tensor_it_is_taken_for(name, tmp_path):
    """Names are right: minimum and maximum of every tensor so named are those of onnxruntime, over two inputs."""
    model = NETWORKS[name]
    _, made = converted(model, tmp_path)
    named = [value for node in model.graph.node for value in node.output]
    del model.graph.output[:]
    model.graph.output.extend(type(model.graph.input[0])(name=value) for value in named)
    feeds = [{"x0": rand(*SIZE, seed=seed)} for seed in (1, 2)]
    with OnnxRunner(model.SerializeToString(), threads=1) as runner:
        runs = [{**feed, **runner.run(feed)} for feed in feeds]

    places = activations(flatbuffer.unpack(made.data))
    found = extremes(made.data, places, [{"x0": nhwc(feed["x0"])} for feed in feeds])

    assert {"x0", "y"} <= set(made.origins.values()) or name == "pose"
    for place, value in made.origins.items():
        ends = min(run[value].min() for run in runs), max(run[value].max() for run in runs)
        np.testing.assert_allclose(found[place], ends, rtol=1e-4, atol=1e-5, err_msg=value)


def test_every_tensor_of_plain_operators_is_known(tmp_path):
    """In a pose network only the padding before a convolution has no tensor in ONNX."""
    _, made = converted(pose_net(), tmp_path)

    file = flatbuffer.unpack(made.data)
    unknown = [file.subgraphs[0].tensors[place].name for place in activations(file) if place not in made.origins]
    assert unknown == [b"n0/Pad"]


def test_what_lies_inside_a_node_tells_the_node(tmp_path):
    """A tensor without a name of its own is placed by what its ONNX node makes."""
    lowered, _ = converted(behind(("Mish", ["c"], ["v"], {})), tmp_path)

    assert owner("n1/Exp", lowered) == "v"
    assert owner("n99/Exp", lowered) == "n99/Exp"
    assert owner("tfl.quantize", lowered) == "tfl.quantize"


def chosen(model, folder, known, observed=None):
    """{name: span} for spans by name; `observed` is what looking at the tensors tells, and which were looked at."""
    _, made = converted(model, folder)
    file = flatbuffer.unpack(made.data)
    names = {place: file.subgraphs[0].tensors[place].name.decode() for place in activations(file)}
    looked = []

    def look(places):
        looked.extend(names[place] for place in places)
        return {place: observed[names[place]] for place in places}

    given = {place: Range(*known[value]) for place, value in made.origins.items() if value in known}
    found = spans(file, given, look)
    return {names[place]: (span.low, span.high) for place, span in found.items()}, looked


def test_what_is_joined_has_one_span(tmp_path):
    """The parts of a Concat and a linear Resize before it, whatever their own spans."""
    nodes = [
        CONV,
        ("Conv", ["c", rand(4, 4, 1, 1)], ["d"], {"strides": [2, 2]}),
        ("Resize", ["d", None, np.array([1, 1, 2, 2], np.float32)], ["u"], {"mode": "linear"}),
        ("Concat", ["c", "u"], ["k"], {"axis": 1}),
        ("Conv", ["k", rand(2, 8, 1, 1)], ["y"], {}),
    ]
    known = {"x0": (-2, 2), "c": (-3, 1), "d": (-1, 9), "u": (-1, 8), "k": (-3, 8), "y": (-5, 5)}

    found, looked = chosen(network(nodes), tmp_path, known)

    assert found == {"x0": (-2, 2), **dict.fromkeys(("c", "d", "u", "k"), (-3, 9)), "y": (-5, 5)}
    assert not looked


def test_what_is_only_cut_off_needs_no_more_than_the_cut(tmp_path):
    """A Concat that only a Clip reads, and its parts, end where the Clip does; a mean needs what it is the mean of."""
    nodes = [
        CONV,
        ("Relu", ["c"], ["r"], {}),
        ("Concat", ["c", "r"], ["k"], {"axis": 1}),
        ("Clip", ["k", np.float32(-1), np.float32(2)], ["z"], {}),
        ("AveragePool", ["z"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", ["p", rand(2, 8, 1, 1)], ["y"], {}),
    ]
    known = {"x0": (-2, 2), "c": (-9, 9), "r": (0, 9), "k": (-9, 9), "z": (-1, 2), "p": (-0.5, 1), "y": (-5, 5)}

    found, looked = chosen(network(nodes), tmp_path, known)

    # Relu reads all of c, so that its group cannot be narrower
    assert found["c"] == found["r"] == found["k"] == found["z"] == found["p"] == (-9, 9)
    nodes[2] = ("Concat", ["r", "r"], ["k"], {"axis": 1})
    found, _ = chosen(network(nodes), tmp_path, known)
    assert found["r"] == found["k"] == found["z"] == found["p"] == (-1, 2)
    assert not looked


def test_only_what_nothing_tells_is_looked_at(tmp_path):
    """Padding has the span of what is padded; what an operator is made of inside is observed, if it is read."""
    nodes = [
        CONV,
        ("Softmax", ["c"], ["s"], {"axis": 2}),
        ("Conv", ["s", rand(2, 4, 3, 3)], ["y"], {"pads": [1, 0, 0, 0]}),
    ]
    known = {"x0": (-2, 2), "c": (-9, 9), "s": (0, 1), "y": (-5, 5)}
    observed = {"n1/Max": (0, 9), "n1/sub": (-18, 0), "n1/Exp": (0, 1), "n1/Sum": (1, 16)}

    found, looked = chosen(network(nodes), tmp_path, known, observed)

    assert sorted(looked) == sorted(observed)
    assert (found["n2/Pad"], found["n1/sub"], found["n1/Exp"]) == ((0, 1), (-18, 0), (0, 1))
    assert found["c"] == found["n1/Max"] == (-9, 9)
