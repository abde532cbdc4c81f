"""Taking the weights out of a model: what goes, what stays, and that a compiler still has something to chew on."""

from __future__ import annotations

import gzip

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from workbench.targets.pulsar2.strip import stripped


def model(nodes, constants, shape=(1, 16, 8, 8), out=None, opset=17):
    """A model over one input ``x`` and one output ``y``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(out or shape))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def deep(layers=40):
    """Convolutions and normalizations in a row."""
    random = np.random.default_rng(0)
    nodes, constants, name = [], {}, "x"
    for index in range(layers):
        constants[f"w{index}"] = random.normal(0, 0.3, (16, 16, 3, 3)).astype(np.float32)
        constants[f"v{index}"] = random.uniform(0.5, 2, 16).astype(np.float32)
        constants[f"b{index}"] = random.normal(0, 1, 16).astype(np.float32)
        nodes.append(helper.make_node("Conv", [name, f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]))
        inputs = [f"c{index}", f"v{index}", f"b{index}", f"b{index}", f"v{index}"]
        nodes.append(helper.make_node("BatchNormalization", inputs, [f"n{index}"]))
        nodes.append(helper.make_node("Relu", [f"n{index}"], ["y" if index == layers - 1 else f"r{index}"]))
        name = f"r{index}"
    return model(nodes, constants)


def values(proto):
    """The constants by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def test_every_weight_is_another_and_the_rest_is_as_it_was():
    """Names, shapes, types and nodes stay; no value of a weight does."""
    before = deep(3)
    made = stripped(onnx.ModelProto.FromString(before.SerializeToString()))
    after = onnx.ModelProto.FromString(made.data)
    onnx.checker.check_model(after, full_check=True)
    assert made.tensors == 9
    assert [node.SerializeToString() for node in after.graph.node] == [
        node.SerializeToString() for node in before.graph.node
    ]
    for name, old in values(before).items():
        new = values(after)[name]
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
        assert not np.isin(new, old).any()
        assert (new != 0).all()
        assert not (old > 0).all() or (new > 0).all(), "a variance stays positive"


def test_a_deep_network_without_its_weights_still_computes():
    """Through 40 layers activations neither vanish nor overflow, so that the tool can calibrate."""
    import onnxruntime

    data = stripped(deep()).data
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(1).normal(0, 1, (1, 16, 8, 8)).astype(np.float32)
    (result,) = session.run(None, {"x": picture})
    assert np.isfinite(result).all()
    assert 1e-6 < result.std() < 1e6


def test_it_compresses_to_nothing_and_is_the_same_every_time():
    """The stand-in values are a short cycle; two runs give the same bytes."""
    first, second = stripped(deep()).data, stripped(deep()).data
    assert first == second
    assert len(gzip.compress(first)) < len(gzip.compress(deep().SerializeToString())) / 10


def test_small_constants_and_indices_stay():
    """Bounds, exponents, shapes and index tables are structure."""
    constants = {
        "bound": np.float32(6),
        "shape": np.arange(12, dtype=np.int64),
        "wide": np.linspace(0.1, 3, 20, dtype=np.float32).reshape(1, 20, 1, 1),
    }
    nodes = [
        helper.make_node("Min", ["x", "bound"], ["a"]),
        helper.make_node("Gather", ["a", "shape"], ["b"], axis=1),
        helper.make_node("Mul", ["b", "wide"], ["y"]),
    ]
    after = values(onnx.ModelProto.FromString(stripped(model(nodes, constants)).data))
    assert after["bound"] == 6
    np.testing.assert_array_equal(after["shape"], constants["shape"])
    assert (after["wide"] > 0).all()
    assert not np.isin(after["wide"], constants["wide"]).any()


def test_a_quantized_weight_goes_and_its_scale_stays():
    """The integers of a QDQ model are replaced; scales and zero points mean something to the compiler."""
    constants = {
        "q": np.random.default_rng(0).integers(-127, 128, (16, 16, 1, 1), dtype=np.int8),
        "s": np.linspace(0.01, 0.02, 16, dtype=np.float32),
        "z": np.zeros(16, np.int8),
        "bias": np.arange(100, 116, dtype=np.int32),
        "bs": np.float32(0.1),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["bias", "bs"], ["b"]),
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
    ]
    after = values(onnx.ModelProto.FromString(stripped(model(nodes, constants)).data))
    np.testing.assert_array_equal(after["s"], constants["s"])
    np.testing.assert_array_equal(after["z"], constants["z"])
    assert after["q"].dtype == np.int8
    assert (after["q"] != constants["q"]).mean() > 0.9
    assert not np.isin(after["bias"], constants["bias"]).any()


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.INT4])
def test_other_types_lose_their_values(kind):
    """Half, double and brain floats, and types that NumPy has not."""
    proto = model([helper.make_node("Relu", ["x"], ["y"])], {})
    size = 32
    if kind == TensorProto.INT4:
        tensor = helper.make_tensor("w", kind, [size], bytes(range(1, 17)), raw=True)
    else:
        tensor = helper.make_tensor("w", kind, [size], np.linspace(-3, 3, size).tolist())
    proto.graph.initializer.append(tensor)
    old = tensor.raw_data or numpy_helper.to_array(tensor).tobytes()
    (after,) = onnx.ModelProto.FromString(stripped(proto).data).graph.initializer
    assert after.data_type == kind
    assert list(after.dims) == [size]
    assert (after.raw_data or numpy_helper.to_array(after).tobytes()) != old


def test_constants_in_nodes_and_subgraphs_go_too():
    """Weights may hang on Constant nodes, as tensors or lists, and inside the branches of an If."""
    inner = helper.make_graph(
        [
            helper.make_node(
                "Constant", [], ["k"], value=numpy_helper.from_array(np.full((16, 1, 1), 7.5, np.float32))
            ),
            helper.make_node("Add", ["x", "k"], ["t"]),
        ],
        "then",
        [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, [1, 16, 8, 8])],
    )
    nodes = [
        helper.make_node("Constant", [], ["list"], value_floats=[7.5] * 8 + [8.5] * 8),
        helper.make_node("If", ["cond"], ["y"], then_branch=inner, else_branch=inner),
    ]
    data = stripped(model(nodes, {"cond": np.bool_(True)})).data
    text = str(onnx.ModelProto.FromString(data))
    assert np.float32(7.5).tobytes() * 8 not in data
    assert "8.5" not in text


def test_what_tools_write_beside_a_graph_goes():
    """Stack traces, documentation and foreign metadata are no part of a report; our own marks are."""
    proto = deep(1)
    proto.doc_string = "by alice"
    proto.graph.node[0].doc_string = "/home/alice/train.py"
    proto.metadata_props.add(key="author", value="alice")
    proto.metadata_props.add(key="workbench.not_deployable", value="seeded")
    made = onnx.ModelProto.FromString(stripped(proto).data)
    assert b"alice" not in made.SerializeToString()
    assert [(prop.key, prop.value) for prop in made.metadata_props] == [("workbench.not_deployable", "seeded")]
