"""Write a float graph as standard QDQ ONNX: the chip's integers, played by QuantizeLinear and DequantizeLinear.

onnxruntime runs the file at its default optimization, which fuses 8-bit operators into integer kernels, as it runs it
with optimization off, in float between the grids. What was measured, operator by operator (onnxruntime 1.20 to 1.31):

- Equal to the bit: Concat, MaxPool, Resize, Transpose, DepthToSpace and all that only moves values; Sub, Div, Min, Max,
  Sigmoid, Tanh, Relu, Clip, LeakyRelu, PRelu, HardSigmoid, HardSwish, Elu, ReduceMean, ConvTranspose; everything that
  reads or makes 16 bits, since no integer kernel takes those.
- One step, where the exact result lies within 1e-4 of a step from the middle between two: Conv, Gemm, MatMul (one value
  in 100,000: their float sums are rounded, the integer ones are not; the integer kernel is the exact one), Add and Mul
  (one in 100,000).
- One step on exact ties, when the output's zero point is odd: Add, Mul, AveragePool. The kernels round after adding the
  zero point, QuantizeLinear before, and both round halves to even. Ties need scales of simple ratios.
- One step in one of ten values: Softmax, whose integer kernel works from a table of its own.

Layer by layer, fed with the same tensors, 16 of the 7.3 million values of CPM differ, 67 of 31 million of lightweight
OpenPose and 18 of 6.2 million of MoveNet, each by one step. A network that amplifies a single step can still answer
differently in the two ways, no more so than to another picture: CPM before any correction moves as far (cosine 0.985 to
0.99) when one pixel changes by 1 of 255. With all its tensors at 16 bits the two are equal to the bit.

An interpolating Resize between equal grids is the one form that must not be written plainly: onnxruntime up to 1.23 and
beyond runs it on the integers, which truncates (half a step too low on average) or, for cubic, fails (its pull request
28414). `keep_apart` writes it so that no version does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.graph import attributes, constants, io, naming, splice, walk
from workbench.quant import scheme
from workbench.quant.opset21 import OPSET, to_opset_21
from workbench.quant.plan import Plan, finite, is_operand, is_weight, plan
from workbench.quant.ranges import Range

_OLDEST = 13  # the first opset whose DequantizeLinear knows an axis
_MICROSOFT = "com.microsoft"  # whose operators of the same names took 16 bits before ONNX's did


def write_qdq(model: ir.Model, ranges: Mapping[str, Range], u16: Collection[str] = frozenset()) -> ir.Model:
    """A quantized copy of `model`.

    Inputs and outputs stay float and keep their names; every activation between two operators is quantized and
    dequantized once, and the dequantized tensor carries the name that the float graph gives it. Weights are S8
    initializers, biases S32.

    With tensors at 16 bits the copy is of opset 21. Where onnx cannot convert the model to that, the nodes that
    quantize to 16 bits are onnxruntime's own (domain com.microsoft) and the opset stays.

    Args:
        model: a float graph with static shapes, opset 13 or later; unchanged but for inferred shapes.
        ranges: the span of every activation, as `observe` measures it.
        u16: activations at 16 bits; see `plan.plan` for those that follow them.

    Raises:
        UnsupportedError: an activation has no range, the model is quantized, dynamic or older than opset 13, a node
            cannot be quantized, or `u16` names what is no activation; it is named.
        ToolError: a weight is NaN or infinite.
    """
    opset = model.opset_imports.get("", 0)
    if opset < _OLDEST:
        raise UnsupportedError(f"the model is of opset {opset}", fix=f"export it with opset {_OLDEST} or later")
    copy = io.from_bytes(io.to_bytes(model))
    decided = plan(copy, ranges, u16)
    domain = ""
    if decided.u16 and opset < OPSET:
        newer = to_opset_21(copy)
        if newer is None:
            domain = _MICROSOFT
            copy.opset_imports[domain] = 1
        else:
            copy, decided = newer, plan(newer, ranges, u16)
    writer = _Writer(copy.graph, decided, domain)
    for node in tuple(copy.graph):
        if any(is_weight(node, index) for index in range(len(node.inputs))):
            writer.weights(node)
        elif walk.is_op(node, "Conv", "ConvTranspose"):
            raise UnsupportedError("the weight is computed", where=walk.label(node), fix="simplify the model first")
        writer.operands(node)
    resizes = [node for node in walk.nodes(copy.graph, "Resize") if writer.is_interpolation_on_one_grid(node)]
    for value in (*copy.graph.inputs, *walk.made(copy.graph).values()):
        writer.activation(value)
    for node in resizes:
        writer.keep_apart(node)
    return copy


class _Writer:
    """Puts the nodes of a plan into a graph; `wide_domain` is that of the nodes that quantize to 16 bits."""

    def __init__(self, graph: ir.Graph, decided: Plan, wide_domain: str) -> None:
        self._graph = graph
        self._plan = decided
        self._wide_domain = wide_domain
        self._names = set(walk.tensors(graph))
        self._parameters: dict[str, tuple[ir.Value, ir.Value]] = {}
        self._operands: dict[str, ir.Value] = {}

    def weights(self, node: ir.Node) -> None:
        """Quantize the weight of `node` per output channel, and its constant bias."""
        data, weight = node.inputs[0], node.inputs[1]
        held = constants.array(weight)
        grid = None if data is None else self._plan.grids.get(str(data.name))
        if weight is None or held is None or grid is None:
            raise UnsupportedError("the input is a constant", where=walk.label(node), fix="simplify the model first")
        values = finite(held, weight).astype(np.float32)
        axis = scheme.weight_axis(node, values.ndim)
        bias = self._bias(node, values.shape[axis])
        scales = scheme.weight_scales(values, axis, input_scale=grid.scale, bias=bias)
        integers = scheme.quantize_weights(values, scales, axis)
        # A weight that several nodes share is written for each: its scales may differ with the input's, and onnxruntime
        # cannot load shared ones when it has to avoid saturation (see runtimes/onnxruntime.py).
        zeros = np.zeros(scales.shape, np.int8)
        _take(node, 1, self._dequantized(node, str(weight.name), integers, scales, zeros, axis))
        if bias is not None and (offset := node.inputs[2]) is not None:
            steps = np.tile(scales, bias.size // scales.size) * np.float32(grid.scale)
            integers = scheme.quantize_bias(bias, steps)
            _take(node, 2, self._dequantized(node, str(offset.name), integers, steps, None, 0))

    def operands(self, node: ir.Node) -> None:
        """Quantize the constants that `node` takes like activations."""
        for index, value in enumerate(node.inputs):
            name = "" if value is None else str(value.name)
            grid = self._plan.grids.get(name)
            data = constants.array(value)
            if grid is None or data is None or not is_operand(node, index):
                continue
            if name not in self._operands:
                integers = grid.quantize(data.astype(np.float32))
                zero_point = grid.dtype.type(grid.zero_point)
                made = self._dequantized(
                    node, name, integers, np.float32(grid.scale), zero_point, None, self._domain(grid)
                )
                self._operands[name] = made
            _take(node, index, self._operands[name])

    def activation(self, value: ir.Value) -> None:
        """Stand the activation `value` on its grid, for all its readers and as graph output."""
        name = value.name
        if name is None or name not in self._plan.grids or not (value.uses() or value.is_graph_output()):
            return
        scale, zero_point = self._shared(self._plan.owner[name])
        if value.is_graph_input():
            real, seen = name, self._free(f"{name}/dequantized")
        else:
            real, seen = self._free(f"{name}/float"), name
        domain = self._domain(self._plan.grids[name])
        quantize = ir.node("QuantizeLinear", [value, scale, zero_point], domain=domain, name=f"{name}/QuantizeLinear")
        integers = quantize.outputs[0]
        _describe(integers, self._free(f"{name}/quantized"), ir.DataType(zero_point.dtype or 0), value.shape)
        label = f"{name}/DequantizeLinear"
        dequantize = ir.node("DequantizeLinear", [integers, scale, zero_point], domain=domain, name=label)
        for use in tuple(value.uses()):
            if use.node is not quantize:
                use.node.replace_input_with(use.idx, dequantize.outputs[0])
        outputs = self._graph.outputs
        if not value.is_graph_input():
            for index, output in enumerate(tuple(outputs)):
                if output is value:
                    outputs[index] = dequantize.outputs[0]
        value.name = real
        _describe(dequantize.outputs[0], seen, ir.DataType.FLOAT, value.shape)
        splice.insert_behind(self._graph, value, [quantize, dequantize])

    def is_interpolation_on_one_grid(self, node: ir.Node) -> bool:
        """Whether the Resize `node` mixes values, and its input and output stand on the same 8-bit grid."""
        ends = [
            None if value is None else self._plan.grids.get(str(value.name))
            for value in (*node.inputs[:1], *node.outputs)
        ]
        return not scheme.shared_inputs(node) and ends[0] is not None and ends[0] == ends[1] and ends[0].bits == 8

    def keep_apart(self, node: ir.Node) -> None:
        """Let `node` read its quantized input by a scale that is the next float32, so that its grids differ.

        Older onnxruntime drops both nodes around a Resize when the grids are equal, and interpolates integers.
        """
        read = node.inputs[0]
        made = None if read is None else read.producer()
        if read is None or made is None or made.inputs[1] is None or made.inputs[1].const_value is None:
            return
        scale = np.asarray(made.inputs[1].const_value.numpy())
        nudged = self._constant(f"{made.inputs[1].name}/next", np.nextafter(scale, np.float32(np.inf)))
        own = ir.node("DequantizeLinear", [made.inputs[0], nudged, made.inputs[2]], name=self._free(f"{made.name}/own"))
        _describe(own.outputs[0], self._free(f"{read.name}/own"), ir.DataType.FLOAT, read.shape)
        self._graph.insert_before(node, [own])
        node.replace_input_with(0, own.outputs[0])

    def _domain(self, grid: scheme.Grid) -> str:
        return self._wide_domain if grid.bits == 16 else ""

    def _bias(self, node: ir.Node, channels: int) -> scheme.Floats | None:
        """The constant bias of `node`, one value an output channel."""
        value = node.inputs[2] if len(node.inputs) > 2 else None
        held = constants.array(value)
        if value is None or held is None:
            return None
        bias = finite(held, value).astype(np.float32)
        if walk.is_op(node, "Gemm"):
            if attributes.decimal(node, "alpha", 1.0) != 1 or attributes.decimal(node, "beta", 1.0) != 1:
                raise UnsupportedError(
                    "alpha and beta have to be 1", where=walk.label(node), fix="multiply them into the weights"
                )
            if bias.size not in (1, channels) or bias.shape[-1:] not in ((), (1,), (channels,)):
                raise UnsupportedError(
                    f"the bias has shape {list(bias.shape)}, not one value a channel",
                    where=walk.label(node),
                    fix="export the layer as MatMul and Add",
                )
            bias = np.broadcast_to(bias.reshape(-1), (channels,)).copy()
        return bias

    def _dequantized(
        self,
        node: ir.Node,
        name: str,
        integers: scheme.Integers,
        scale: constants.Array | np.float32,
        zero_point: constants.Array | np.generic | None,
        axis: int | None,
        domain: str = "",
    ) -> ir.Value:
        """The dequantized `integers`, for the constant `name`, in front of `node`."""
        parameters = [self._constant(f"{name}/quantized", integers), self._constant(f"{name}/scale", scale)]
        if zero_point is not None:
            parameters.append(self._constant(f"{name}/zero_point", zero_point))
        attributes = {} if axis is None else {"axis": axis}
        label = self._free(f"{name}/DequantizeLinear")
        made = ir.node("DequantizeLinear", parameters, attributes, domain=domain, name=label)
        shape = ir.Shape(integers.shape)
        _describe(made.outputs[0], self._free(f"{name}/dequantized"), ir.DataType.FLOAT, shape)
        self._graph.insert_before(node, [made])
        return made.outputs[0]

    def _shared(self, owner: str) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point of the tensors that share the grid of `owner`."""
        if owner not in self._parameters:
            grid = self._plan.grids[owner]
            self._parameters[owner] = (
                self._constant(f"{owner}/scale", np.float32(grid.scale)),
                self._constant(f"{owner}/zero_point", grid.dtype.type(grid.zero_point)),
            )
        return self._parameters[owner]

    def _constant(self, name: str, data: constants.Array | np.generic) -> ir.Value:
        array = np.asarray(data)
        tensor = ir.tensor(array, name=self._free(name))
        value = ir.Value(name=tensor.name, const_value=tensor)
        _describe(value, tensor.name, tensor.dtype, ir.Shape(array.shape))
        self._graph.register_initializer(value)
        return value

    def _free(self, wanted: str) -> str:
        return naming.unique(wanted, self._names)


def _take(node: ir.Node, index: int, value: ir.Value) -> None:
    """Let input `index` of `node` be `value`; the constant it was goes when nothing else reads it."""
    old = node.inputs[index]
    node.replace_input_with(index, value)
    if old is not None:
        constants.drop_unused(old)


def _describe(value: ir.Value, name: str | None, dtype: ir.DataType, shape: ir.Shape | None) -> None:
    value.name = name
    value.type = ir.TensorType(dtype)
    value.shape = shape
