"""For every operator of the tables the smallest graph that uses it well, and for every rule one that breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from workbench.graph.schemas import schema
from workbench.targets.pulsar2.operators import Limit, Rule

PICTURE = (1, 4, 8, 8)


@dataclass(frozen=True)
class Run:
    """An input that is known at run time only: a graph input, or a comparison of two for a bool."""

    shape: tuple[int, ...] = PICTURE
    kind: str = "float"


@dataclass(frozen=True)
class Spec:
    """One node."""

    inputs: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 18


def floats(*shape: int) -> np.ndarray:
    """A constant with no entry of 0 or 1."""
    return np.linspace(0.25, 0.75, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def whole(*values: int) -> np.ndarray:
    """A constant of integers."""
    return np.array(values, np.int64)


X = {"X": Run()}
PAIR = {"A": Run(), "B": Run()}
BOTH = {"A": Run(kind="bool"), "B": Run(kind="bool")}
POOL = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
WRITTEN = {"axis": -1, "largest": 1, "sorted": 1}
CELLS = {"X": Run((3, 1, 4)), "W": floats(1, 16, 4), "R": floats(1, 16, 4)}
# fmt: off
UNARY = (
    "Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish",
    "Identity", "LogSoftmax", "Neg", "Relu", "Round", "Sigmoid", "Sin", "Softplus", "Sqrt", "Tanh", "Flatten",
)
# fmt: on
# fmt: off
BINARY = (
    "Add", "Sub", "Mul", "Div", "Max", "Min", "MatMul", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
)
# fmt: on
REDUCE = ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
VENDOR = ("Bevpool", "InverseSigmoid", "Silu", "SpatialTransformer")

SPECS: dict[str, Spec] = {
    **dict.fromkeys(UNARY, Spec(X)),
    **dict.fromkeys(VENDOR, Spec(X)),
    **dict.fromkeys(BINARY, Spec(PAIR)),
    **{name: Spec(BOTH) for name in ("And", "Xor")},
    **dict.fromkeys(REDUCE, Spec({"data": Run(), "axes": whole(2, 3)}, {"keepdims": 1})),
    "Not": Spec({"X": Run(kind="bool")}),
    "Where": Spec({"condition": Run(kind="bool"), "X": Run(), "Y": Run()}),
    "Gelu": Spec(X, opset=20),
    "Mish": Spec(X),
    "Swish": Spec(X, opset=24),
    "Elu": Spec(X, {"alpha": 1.0}),
    "LeakyRelu": Spec(X, {"alpha": 0.01}),
    "ArgMax": Spec(X, {"axis": 1, "keepdims": 1}),
    "ArgMin": Spec(X, {"axis": 1, "keepdims": 1}),
    "AveragePool": Spec(X, {**POOL, "count_include_pad": 1}),
    "MaxPool": Spec(X, POOL),
    "BatchNormalization": Spec({"X": Run(), **{key: floats(4) for key in ("scale", "B", "input_mean", "input_var")}}),
    "Cast": Spec({"input": Run()}, {"to": TensorProto.INT32}),
    "Clip": Spec({"input": Run(), "min": np.float32(0), "max": np.float32(6)}),
    "Concat": Spec(PAIR, {"axis": 1}),
    "Constant": Spec({}, {"value": numpy_helper.from_array(floats(3), "value")}),
    "ConstantOfShape": Spec({"input": whole(2, 2)}),
    "Conv": Spec({"X": Run(), "W": floats(4, 4, 3, 3)}, {"pads": [1, 1, 1, 1]}),
    "ConvTranspose": Spec({"X": Run(), "W": floats(4, 4, 3, 3)}, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "CumSum": Spec({"x": Run(), "axis": np.int64(1)}),
    "DepthToSpace": Spec({"input": Run()}, {"blocksize": 2}),
    "SpaceToDepth": Spec({"input": Run()}, {"blocksize": 2}),
    "Expand": Spec({"input": Run((1, 4, 1, 1)), "shape": whole(*PICTURE)}),
    "Gather": Spec({"data": Run(), "indices": whole(1, 0)}, {"axis": 1}),
    "GatherElements": Spec({"data": Run((2, 2)), "indices": whole(0, 1).reshape(1, 2)}),
    "GatherND": Spec({"data": Run((2, 2)), "indices": whole(0, 1).reshape(1, 2)}),
    "Gemm": Spec({"A": Run((1, 4)), "B": floats(4, 3), "C": floats(3)}),
    "GridSample": Spec({"X": Run(), "grid": Run((1, 8, 8, 2))}),
    "GroupNormalization": Spec({"X": Run(), "scale": floats(4), "bias": floats(4)}, {"num_groups": 2}, opset=21),
    "InstanceNormalization": Spec({"input": Run(), "scale": floats(4), "B": floats(4)}),
    "LSTM": Spec(CELLS, {"hidden_size": 4}),
    "LayerNormalization": Spec({"X": Run((1, 6, 8)), "Scale": floats(8)}, {"axis": -1, "epsilon": 1e-6}),
    "LpNormalization": Spec({"input": Run()}),
    "PRelu": Spec({"X": Run(), "slope": floats(1, 4, 1, 1)}),
    "Pad": Spec({"data": Run(), "pads": whole(0, 0, 1, 1, 0, 0, 1, 1)}),
    "Pow": Spec({"X": Run(), "Y": np.float32(2)}),
    "RMSNormalization": Spec({"X": Run((1, 6, 8)), "scale": floats(8)}, opset=23),
    "Reshape": Spec({"data": Run(), "shape": whole(1, 4, 64)}),
    "Resize": Spec(
        {"X": Run(), "scales": np.array([1, 1, 2, 2], np.float32)},
        {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
    ),
    "RoiAlign": Spec(
        {"X": Run(), "rois": Run((2, 4)), "batch_indices": whole(0, 0)},
        {"sampling_ratio": 2, "output_height": 3, "output_width": 3, "spatial_scale": 0.5},
    ),
    "RotaryEmbedding": Spec(
        {"X": Run((1, 2, 4, 8)), "cos_cache": floats(1, 4, 4), "sin_cache": floats(1, 4, 4)}, opset=23
    ),
    "ScatterElements": Spec({"data": Run((2, 2)), "indices": whole(0, 1).reshape(1, 2), "updates": Run((1, 2))}),
    "ScatterND": Spec({"data": Run((2, 2)), "indices": whole(0, 1).reshape(2, 1), "updates": Run((2, 2))}),
    "Slice": Spec({"data": Run(), "starts": whole(1), "ends": whole(3), "axes": whole(2), "steps": whole(1)}),
    "Softmax": Spec({"input": Run()}, {"axis": 1}),
    "Split": Spec({"input": Run()}, {"axis": 1, "num_outputs": 2}, outputs=2),
    "Squeeze": Spec({"data": Run(), "axes": whole(0)}),
    "Unsqueeze": Spec({"data": Run(), "axes": whole(0)}),
    "Tile": Spec({"input": Run(), "repeats": whole(1, 1, 2, 2)}),
    "TopK": Spec({"X": Run(), "K": whole(3)}, WRITTEN, outputs=2),
    "Transpose": Spec({"data": Run()}, {"perm": [0, 2, 3, 1]}),
}

# Values that break a rule and that ONNX still takes.
_OTHER = {
    "auto_pad": "SAME_UPPER",
    "to": TensorProto.DOUBLE,
    "direction": "sideways",
    ("DepthToSpace", "mode"): "CRD",
    ("Pad", "mode"): "reflect",
    ("Resize", "mode"): "cubic",
    "nearest_mode": "floor",
    "alpha": 0.5,
    "beta": 0.5,
    "activation_alpha": [0.5],
    "activation_beta": [0.5],
    "activations": ["Sigmoid", "Tanh", "Relu"],
    "clip": 3.0,
    "output_shape": [16, 16],
    "momentum": 0.9,
    "sequence_lens": np.array([3], np.int32),
    "P": floats(1, 12),
    "axes": whole(2, 3),
}


def breaking(op_type: str, limit: Limit) -> Spec | None:
    """The smallest graph that breaks `limit`; None for a rule that forbids nothing."""
    rule, spec = limit.rule, SPECS[op_type]
    if rule.word in ("unlimited", "information", "by_hand"):
        return None
    for name, condition in limit.when:
        spec = _so(spec, name, condition)
    other = _OTHER.get((op_type, limit.name), _OTHER.get(limit.name))
    if rule.word == "one_of":
        number = next(value for value in range(9) if value not in rule.value)
        return _with(spec, attributes={limit.name: number if other is None else other, **_also(limit)})
    if rule.word == "not":
        return _with(spec, attributes={limit.name: rule.value})
    if rule.word == "each":
        return _with(spec, attributes={limit.name: [rule.value + 1] * 2})
    if rule.word == "absent" and limit.subject == "attribute":
        return _with(spec, attributes={limit.name: other})
    if rule.word == "absent":
        inputs = {limit.name: other, **({"pads": whole(1, 1, 1, 1)} if op_type == "Pad" else {})}
        return _with(spec, inputs=inputs)
    if rule.word == "last_axis":
        shapes = {"Scale": floats(6, 8)} if op_type == "LayerNormalization" else {}
        return _with(spec, inputs=shapes, attributes={"axis": 1})
    if rule.word == "rank":
        return _with(spec, inputs={limit.name: whole(0, 1).reshape((1,) * rule.value + (2,))})
    if rule.word == "scalar_initializer":
        return _with(spec, inputs={limit.name: floats(8)})
    if rule.word == "slope":
        return _with(spec, inputs={limit.name: floats(4, 1, 1)})
    if rule.word == "within_end_pads":
        return _with(spec, attributes={limit.name: [1, 1], "pads": [0, 0, 0, 0]})
    raise AssertionError(f"no graph is known that breaks {limit}")


def _also(limit: Limit) -> dict[str, Any]:
    """Attributes that ONNX wants changed together with another."""
    return {"pads": None} if limit.name == "auto_pad" else {}


def _so(spec: Spec, name: str, rule: Rule) -> Spec:
    """`spec` changed so that a condition holds."""
    if rule == Rule("not", 0) and name == "training_mode":
        return replace(_with(spec, attributes={"training_mode": 1}), outputs=3)
    if rule.word == "one_of":
        return _with(spec, attributes={name: rule.value[0]})
    assert rule == Rule("absent", False), rule
    assert name in spec.inputs
    return spec


def _with(spec: Spec, inputs: Mapping[str, Any] | None = None, attributes: Mapping[str, Any] | None = None) -> Spec:
    merged = {**spec.attributes, **(attributes or {})}
    kept = {key: value for key, value in merged.items() if value is not None}
    found = replace(spec, inputs={**spec.inputs, **(inputs or {})}, attributes=kept)
    return replace(found, outputs=3) if kept.get("training_mode") else found


def build(op_type: str, spec: Spec | None = None) -> ir.Model:
    """The graph of one operator; the node is called ``it``."""
    spec = spec or SPECS[op_type]
    nodes, inputs, constants, names = [], [], [], {}
    for name, value in spec.inputs.items():
        names[name] = f"{name}_of_it"
        if not isinstance(value, Run):
            constants.append(numpy_helper.from_array(np.asarray(value), names[name]))
            continue
        sources = [names[name]] if value.kind == "float" else [f"{name}_left", f"{name}_right"]
        inputs += [helper.make_tensor_value_info(source, TensorProto.FLOAT, value.shape) for source in sources]
        if value.kind == "bool":
            nodes.append(helper.make_node("Greater", sources, [names[name]], f"compare_{name}"))
    known = schema(op_type, spec.opset)
    places = [one.name for one in known.inputs] if known is not None else []
    given = [names.get(place, "") for place in places] if set(names) <= set(places) else list(names.values())
    while given and not given[-1]:
        given.pop()
    outputs = [f"y{index}" for index in range(spec.outputs)]
    nodes.append(helper.make_node(op_type, given, outputs, "it", **spec.attributes))
    made = [helper.make_empty_tensor_value_info(outputs[0])]
    graph = helper.make_graph(nodes, op_type, inputs, made, constants)
    made[0].type.tensor_type.elem_type = _kind(op_type, spec, known)
    if op_type in VENDOR:  # ONNX does not know what they make
        made[0].type.tensor_type.shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=size) for size in PICTURE)
    graph.output[0].CopyFrom(made[0])
    opset = [helper.make_opsetid("", spec.opset)]
    proto = helper.make_model(graph, opset_imports=opset, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(proto)
    if op_type == "GroupNormalization":  # ONNX has no shape inference for it
        inferred.graph.output[0].type.CopyFrom(inferred.graph.input[0].type)
    return ir.serde.deserialize_model(inferred)


def _kind(op_type: str, spec: Spec, known: onnx.defs.OpSchema | None) -> int:
    """The element type of the first output."""
    if op_type == "Cast":
        return int(spec.attributes["to"])
    fixed = set(known.outputs[0].types) if known is not None else set()
    return {"tensor(bool)": TensorProto.BOOL, "tensor(int64)": TensorProto.INT64}.get(
        next(iter(fixed)) if len(fixed) == 1 else "", TensorProto.FLOAT
    )
