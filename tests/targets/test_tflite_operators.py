"""Every operator that is lowered computes in LiteRT what it computes in onnxruntime."""

import numpy as np
import pytest
from _lite import assert_equal, network, one, rand
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

X = (1, 6, 9, 8)
ints = np.array


def axis_case(op, axes, opset=18, **more):
    """A reduction with its axes as an input."""
    return one(op, X, ints(axes, np.int64), opset=opset, **more)


UNARY = [
    *(one(op, X) for op in ("Abs", "Ceil", "Cos", "Exp", "Floor", "Neg", "Relu", "Round", "Sigmoid", "Sin", "Tanh")),
    *(one(op, X) for op in ("HardSwish", "Identity", "Softplus", "Elu", "LeakyRelu", "HardSigmoid")),
    one("Elu", X, alpha=0.7),
    one("LeakyRelu", X, alpha=0.3),
    one("HardSigmoid", X, alpha=0.3, beta=0.1),
    one("Mish", X, opset=18),
    one("Gelu", X, opset=20),
    one("Gelu", X, opset=20, approximate="tanh"),
    one("Dropout", X, np.float32(0.4)),
    one("PRelu", X, rand(6, 1, 1)),
    one("PRelu", X, rand(1)),
    one("PRelu", (2, 5), rand(5)),
    one("Clip", X, np.float32(0), np.float32(6)),
    one("Clip", X, np.float32(0), np.float32(1.5)),
    one("Clip", X, np.float32(-1), np.float32(1)),
    one("Clip", X, np.float32(-0.5), None),
    one("Clip", X, None, np.float32(0.5)),
    one("Clip", X),
    one("Cast", X, to=6),
]
POSITIVE = [one("Sqrt", X), one("Log", X), one("Pow", X, np.float32(1.7)), one("Pow", X, np.float32(0.5))]
BINARY = [
    *(one(op, X, X) for op in ("Add", "Sub", "Mul", "Min", "Max", "Div")),
    one("Add", X, rand(6, 1, 1)),
    one("Add", X, rand(1, 6, 1, 1)),
    one("Add", X, rand(9, 8)),
    one("Add", X, rand(8)),
    one("Mul", X, np.float32(1.5)),
    one("Mul", rand(1, 6, 1, 1), X),
    one("Sub", X, rand(1, 1, 9, 8)),
    one("Add", X, (6, 1, 1)),
    one("Add", X, (1, 6, 1, 1)),
    one("Add", (3, 5), (5,)),
    one("Add", (2, 1, 4, 4, 4), (3, 4, 1, 1)),
    one("Max", X, X, X),
    one("Sum", X, X, X),
    one("Pow", X, np.float32(2)),
]
POOLS = [
    one("MaxPool", X, kernel_shape=[2, 2], strides=[2, 2]),
    one("MaxPool", X, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    one("MaxPool", X, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    one("MaxPool", X, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    one("MaxPool", X, kernel_shape=[3, 2], strides=[1, 2], auto_pad="SAME_UPPER"),
    one("MaxPool", X, kernel_shape=[3, 2], strides=[1, 2], auto_pad="SAME_LOWER"),
    one("AveragePool", X, kernel_shape=[3, 3], strides=[3, 2], auto_pad="VALID"),
    one("AveragePool", X, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
    one("AveragePool", X, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], count_include_pad=1),
    one("AveragePool", X, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    one("AveragePool", X, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    one("AveragePool", X, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    one("GlobalAveragePool", X),
    one("GlobalMaxPool", X),
]
REDUCTIONS = [
    *(one(op, X, axes=[1], opset=17) for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")),
    axis_case("ReduceSum", [1]),
    axis_case("ReduceMean", [2, 3]),
    axis_case("ReduceMean", [-1, -2], keepdims=0),
    axis_case("ReduceMax", [1], keepdims=0),
    axis_case("ReduceMax", [2], keepdims=0),
    *(axis_case(op, [1]) for op in ("ReduceL1", "ReduceL2", "ReduceSumSquare")),
    one("ReduceSum", X),
    one("ReduceSum", X, None, noop_with_empty_axes=1),
    *(one(op, X, opset=18, noop_with_empty_axes=1) for op in ("ReduceL1", "ReduceL2", "ReduceSumSquare")),
    one("ReduceSum", (3, 4, 5), ints([1]), keepdims=0),
    one("ArgMax", X, axis=1),
    one("ArgMax", X, axis=1, keepdims=0),
    one("ArgMax", X, axis=-1, keepdims=0),
    one("ArgMax", (3, 7), axis=1),
    one("Softmax", X, axis=1),
    one("Softmax", X),
    one("Softmax", X, axis=2),
    one("Softmax", (3, 7), axis=0),
]
NORMALIZATIONS = [
    one("InstanceNormalization", X, rand(6), rand(6, seed=4)),
    one("InstanceNormalization", (2, 3, 7), rand(3), rand(3, seed=4), epsilon=0.1),
    one("LayerNormalization", X, rand(8), rand(8, seed=4)),
    one("LayerNormalization", X, rand(9, 8), axis=-2, epsilon=0.1),
    one("LayerNormalization", (3, 7), rand(7), axis=1),
]
MOVES = [
    one("Concat", X, X, axis=1),
    one("Concat", X, X, axis=-1),
    one("Concat", X, rand(1, 2, 9, 8), axis=1),
    one("Concat", (3, 4), (3, 2), axis=1),
    one("Split", X, outputs=3, axis=1),
    one("Split", X, ints([1, 5]), outputs=2, axis=1),
    one("Split", X, ints([2, 6]), outputs=2, axis=-1),
    one("Split", X, outputs=2, axis=2, num_outputs=2, opset=18),
    one("Slice", X, ints([1]), ints([5]), ints([1])),
    one("Slice", X, ints([1, 0]), ints([2**62, -1]), ints([2, 3])),
    one("Slice", X, ints([0, 0]), ints([9, 8]), ints([2, 3]), ints([2, 2])),
    one("Slice", X, ints([-1]), ints([-(2**62)]), ints([-1]), ints([-1])),
    one("Slice", (3, 7), ints([0, 2]), ints([2, 6])),
    one("Pad", X, ints([0, 0, 1, 2, 0, 0, 3, 4])),
    one("Pad", X, ints([0, 1, 1, 2, 0, 0, 3, 4]), np.float32(1.5)),
    one("Pad", X, ints([0, 0, 1, 2, 0, 0, 3, 4]), mode="reflect"),
    one("Pad", X, ints([1, 2, 3, 4]), None, ints([2, 3]), opset=18),
    one("Gather", X, ints([3, 0, -1]), axis=1),
    one("Gather", X, np.array(2), axis=1),
    one("Gather", (4, 5), ints([1, 3]), axis=0),
    one("DepthToSpace", (1, 12, 3, 4), blocksize=2),
    one("DepthToSpace", (1, 12, 3, 4), blocksize=2, mode="CRD"),
    one("SpaceToDepth", (1, 3, 4, 6), blocksize=2),
    one("Transpose", X, perm=[0, 2, 3, 1]),
    one("Transpose", X, perm=[0, 1, 3, 2]),
    one("Transpose", X),
    one("Transpose", (3, 4, 5), perm=[2, 0, 1]),
    one("Reshape", X, ints([1, 6, -1])),
    one("Reshape", X, ints([0, 2, 3, 72])),
    one("Reshape", (6, 12), ints([1, 3, 4, 6])),
    one("Flatten", X),
    one("Flatten", X, axis=-1),
    one("Squeeze", (1, 6, 1, 1)),
    one("Squeeze", (1, 6, 9, 1), ints([0, 3])),
    one("Unsqueeze", (3, 4), ints([0, 3])),
]
MATRICES = [
    one("Gemm", (2, 5), rand(5, 3), rand(3)),
    one("Gemm", (2, 5), rand(3, 5), rand(3), transB=1, alpha=0.5, beta=2.0),
    one("Gemm", (5, 2), rand(5, 3), transA=1),
    one("MatMul", (2, 5), rand(5, 3)),
    one("MatMul", (1, 2, 4, 5), rand(5, 3)),
    one("MatMul", (1, 2, 4, 5), (1, 2, 5, 3)),
]
SCALE, OFFSET, MEAN, VARIANCE = rand(6), rand(6, seed=4), rand(6, seed=5), rand(6, low=0.5, seed=6)
CONVOLUTIONS = [
    one("Conv", X, rand(4, 6, 3, 3), rand(4), pads=[1, 1, 1, 1]),
    one("Conv", X, rand(4, 6, 1, 1)),
    one("Conv", X, rand(4, 6, 3, 3), pads=[2, 2, 2, 2], dilations=[2, 2]),
    one("Conv", X, rand(4, 6, 3, 3), auto_pad="SAME_LOWER", strides=[2, 2]),
    one("Conv", X, rand(6, 1, 3, 3), rand(6), group=6, pads=[1, 1, 1, 1]),
    one("Conv", X, rand(12, 1, 3, 3), rand(12), group=6, pads=[1, 1, 1, 1], strides=[2, 2]),
    one("Conv", X, rand(6, 1, 3, 3), group=6, pads=[2, 2, 2, 2], dilations=[2, 2]),
    one("Conv", X, rand(6, 1, 3, 5), group=6, pads=[1, 2, 1, 2], strides=[1, 2]),
    one("Conv", X, rand(8, 3, 3, 3), rand(8), group=2, pads=[1, 1, 1, 1]),
    one("Conv", (1, 1, 7, 7), rand(3, 1, 3, 3)),
    one("ConvTranspose", X, rand(6, 4, 2, 2), rand(4), strides=[2, 2]),
    one("ConvTranspose", X, rand(6, 4, 4, 4), rand(4), strides=[2, 2], pads=[1, 1, 1, 1]),
    one("ConvTranspose", X, rand(6, 4, 3, 3), rand(4), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    one("ConvTranspose", X, rand(6, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    one("ConvTranspose", X, rand(6, 4, 3, 3), dilations=[2, 2]),
    one("BatchNormalization", X, SCALE, OFFSET, MEAN, VARIANCE),
    one("BatchNormalization", (3, 6), SCALE, OFFSET, MEAN, VARIANCE, epsilon=0.01),
    one("BatchNormalization", (3, 6, 4), SCALE, OFFSET, MEAN, VARIANCE),
]


def resize(size=(4, 5), factor=(2.0, 2.0), to=None, opset=17, **attributes):
    """A Resize of rows and columns, by scales or to sizes."""
    scales = None if to else ints([1, 1, *factor], np.float32)
    return one("Resize", (1, 3, *size), None, scales, ints([1, 3, *to]) if to else None, opset=opset, **attributes)


RESIZES = [
    resize(mode="linear"),
    resize(mode="linear", to=(11, 7)),
    resize(mode="linear", to=(2, 3), coordinate_transformation_mode="pytorch_half_pixel"),
    resize(mode="linear", coordinate_transformation_mode="asymmetric"),
    resize(mode="linear", to=(13, 9), coordinate_transformation_mode="align_corners"),
    resize(mode="nearest"),
    resize(mode="nearest", factor=(3.0, 4.0)),
    resize(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    resize(mode="nearest", to=(7, 12), coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    resize(mode="nearest", to=(7, 3), nearest_mode="round_prefer_ceil"),
    resize(mode="nearest", to=(7, 9), coordinate_transformation_mode="align_corners", nearest_mode="round_prefer_ceil"),
    one("Resize", X, None, ints([2, 2], np.float32), mode="linear", axes=[2, 3], opset=18),
]


def name(model):
    """A case's name: its node, attributes and shapes."""
    node = model.graph.node[0]
    values = [f"{item.name}={item.ints or item.s.decode() or item.f or item.i}" for item in node.attribute]
    shapes = ["x".join(str(size) for size in tensor.dims) for tensor in model.graph.initializer]
    return "-".join([node.op_type, *values, *shapes]).replace(" ", "")


def cases(*groups):
    """Parametrize over models."""
    models = [model for group in groups for model in group]
    return pytest.mark.parametrize("model", models, ids=[name(model) for model in models])


@cases(UNARY, BINARY, POOLS, REDUCTIONS, NORMALIZATIONS, MOVES, MATRICES, CONVOLUTIONS, RESIZES)
def test_operator_equals_onnxruntime(model, tmp_path):
    """A graph of one operator gives the same numbers in both runtimes."""
    assert_equal(model, tmp_path)


@cases(POSITIVE)
def test_operator_of_positive_numbers_equals_onnxruntime(model, tmp_path):
    """Functions that are defined above zero only are equal there."""
    assert_equal(model, tmp_path, low=0.1, high=4.0)


@cases([one(op, X, rand(6, 1, 1)) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")])
def test_comparison_equals_onnxruntime(model, tmp_path):
    """Comparisons give the same truth."""
    assert_equal(model, tmp_path)


def test_where_takes_one_of_two(tmp_path):
    """Where chooses, cell by cell, as in ONNX."""
    nodes = [("Greater", [X, np.float32(0)], ["big"], {}), ("Where", ["big", X, rand(6, 1, 1)], ["y"], {})]

    assert_equal(network(nodes), tmp_path)


@cases(POOLS[1:4])
def test_pool_after_relu_pads_with_zeros(model, tmp_path):
    """Behind a Relu nothing is below zero, so a pool's padding is an ordinary PAD."""
    node = model.graph.node[0]
    attributes = {item.name: list(item.ints) or item.i for item in node.attribute}
    operators = assert_equal(network([("Relu", [X], ["r"], {}), ("MaxPool", ["r"], ["y"], attributes)]), tmp_path)

    assert "PADV2" not in operators


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_window_geometry_equals_onnxruntime(tmp_path, data):
    """Kernels, strides, dilations and pads of all kinds lie where ONNX says, in convolutions and pools."""
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    size = data.draw(st.tuples(st.integers(3, 11), st.integers(3, 11)), "size")
    kernel, strides = data.draw(pair, "kernel"), data.draw(pair, "strides")
    kind = data.draw(st.sampled_from(["Conv", "Depthwise", "MaxPool", "AveragePool"]), "kind")
    dilations = data.draw(pair, "dilations") if kind in ("Conv", "Depthwise") else (1, 1)
    attributes = {"strides": list(strides)}
    if kind in ("Conv", "Depthwise"):
        attributes["dilations"] = list(dilations)
    if dilations == (1, 1) and data.draw(st.booleans(), "auto"):  # onnxruntime has no dilation with auto_pad
        attributes["auto_pad"] = data.draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
        pads = [0, 0, 0, 0]
    else:
        pads = [data.draw(st.integers(0, kernel[index % 2] - 1), f"pad {index}") for index in range(4)]
        attributes["pads"] = pads
    # onnxruntime's SAME does not know windows with gaps between them
    assume(attributes.get("auto_pad", "VALID") == "VALID" or all(strides[axis] <= kernel[axis] for axis in (0, 1)))
    reach = [(kernel[axis] - 1) * dilations[axis] + 1 for axis in (0, 1)]
    assume(all(size[axis] + pads[axis] + pads[axis + 2] >= reach[axis] for axis in (0, 1)))
    shape = (1, 4, *size)
    if kind == "Conv":
        model = one("Conv", shape, rand(3, 4, *kernel), rand(3), **attributes)
    elif kind == "Depthwise":
        model = one("Conv", shape, rand(8, 1, *kernel), group=4, **attributes)
    else:
        if kind == "AveragePool":
            attributes["count_include_pad"] = data.draw(st.integers(0, 1), "include")
        model = one(kind, shape, kernel_shape=list(kernel), **attributes)

    assert_equal(model, tmp_path)
