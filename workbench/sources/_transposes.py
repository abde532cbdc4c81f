"""Remove the Transposes of a layout change: push each towards the outputs until it meets its opposite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from workbench.errors import UnsupportedError
from workbench.graph import attributes, constants, shapes, splice, walk

# fmt: off
_ELEMENTWISE = frozenset((
    "Abs", "Add", "Ceil", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish",
    "Identity", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal",
    "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh",
))
# fmt: on
_ALONG_AXIS = {"Concat": 0, "LogSoftmax": -1, "Softmax": -1, "Split": 0}  # operator -> default of its attribute axis
_REDUCTIONS = frozenset(("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"))
Perm = tuple[int, ...]


def remove(model: ir.Model) -> None:
    """Rewrite the graph in place until it has no Transpose; every output stays the same number for number.

    1. Two in a row are one; one that changes nothing goes.
    2. One before an elementwise operator, a Concat, a Split, a Softmax or a reduction goes behind it.
    3. One that only moves axes of length 1 is a Reshape.

    Raises:
        UnsupportedError: one is left, because the network itself rearranges its data there.
    """
    graph = model.graph
    while left := walk.nodes(graph, "Transpose"):
        shapes.refresh(model)
        if not any(_merge(node) or _push(graph, node) for node in left) and not any(
            _as_reshape(graph, node) for node in left
        ):
            raise UnsupportedError(
                "a Transpose cannot be removed: the network rearranges its data there",
                where=walk.label(left[0]),
                fix="cut the network before it: name an earlier tensor as output",
            )


def _perm(node: ir.Node) -> Perm:
    rank = len(_dims(node.inputs[0]) or _dims(node.outputs[0]) or ())
    return attributes.integers(node, "perm", tuple(range(rank))[::-1])


def _dims(value: ir.Value | None) -> tuple[int, ...] | None:
    return walk.static_shape(value)


def _inverse(perm: Perm) -> Perm:
    return tuple(int(axis) for axis in np.argsort(perm))


def _merge(node: ir.Node) -> bool:
    """Drop `node` if it moves nothing, or make it one with a Transpose before it."""
    perm, source = _perm(node), node.inputs[0]
    if source is None:
        return False
    if perm == tuple(range(len(perm))):
        return _bypass(source, node)
    before = walk.producer(source, "Transpose")
    if before is None:
        return False
    attributes.put_integers(node, "perm", [_perm(before)[axis] for axis in perm])
    node.replace_input_with(0, before.inputs[0])
    _drop(before)
    return True


def _bypass(source: ir.Value, node: ir.Node) -> bool:
    if splice.bypass(source, node.outputs[0]) is not None:  # an output that is an input: it keeps a node of its own
        node.op_type = "Identity"
        node.attributes.clear()
        return True
    splice.remove(node)
    return True


def _drop(node: ir.Node) -> None:
    if constants.is_unread(node.outputs[0]):
        splice.remove(node)


def _push(graph: ir.Graph, node: ir.Node) -> bool:
    """Move `node` behind one of its readers."""
    return any(_behind(graph, reader, _perm(node)) for reader in walk.consumers(node.outputs[0]))


def _behind(graph: ir.Graph, reader: ir.Node, perm: Perm) -> bool:
    """Let `reader` work in the layout from before Transposes by `perm`, and transpose what it makes instead."""
    if reader.graph is not graph or not walk.is_op(reader, *_ELEMENTWISE, *_ALONG_AXIS, *_REDUCTIONS):
        return False
    along, reduces = reader.op_type in _ALONG_AXIS, reader.op_type in _REDUCTIONS
    axes = _reduced(reader, len(perm)) if reduces else ()
    if axes is None:
        return False
    # Sizes of a Split, bounds of a Clip and axes are no pictures; everything else a reader takes must turn with it.
    count = 1 if reduces or reader.op_type in ("Split", "Clip") else len(reader.inputs)
    turned = [_turned(graph, value, perm, whole=along) for value in reader.inputs[:count]]
    if any(value is None for value in turned):
        return False
    after = perm
    if along:
        axis = attributes.integer(reader, "axis", _ALONG_AXIS[reader.op_type])
        attributes.put_integer(reader, "axis", perm[axis % len(perm)])
    if reduces:
        _reduce(graph, reader, sorted(perm[axis] for axis in axes))
        if not attributes.integer(reader, "keepdims", 1):
            left = [perm[axis] for axis in range(len(perm)) if axis not in axes]
            after = tuple(sorted(left).index(axis) for axis in left)
    for index, value in enumerate(turned):
        old = reader.inputs[index]
        reader.replace_input_with(index, value)
        before = walk.producer(old, "Transpose")
        if before is not None:
            _drop(before)
    if after != tuple(range(len(after))):
        _transpose_outputs(graph, reader, after)
    return True


def _reduced(node: ir.Node, rank: int) -> tuple[int, ...] | None:
    """The axes that a reduction takes away, or None when they are not constant."""
    axes: tuple[int, ...] = attributes.integers(node, "axes", ())
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        data = constants.array(node.inputs[1])
        if data is None:
            return None
        axes = tuple(int(axis) for axis in data.reshape(-1))
    if not axes and attributes.integer(node, "noop_with_empty_axes", 0):
        return None
    return tuple(axis % rank for axis in axes) or tuple(range(rank))


def _reduce(graph: ir.Graph, node: ir.Node, axes: Sequence[int]) -> None:
    """Write the axes of a reduction where its opset keeps them."""
    if "axes" in node.attributes:
        attributes.put_integers(node, "axes", axes)
    elif len(node.inputs) > 1 and node.inputs[1] is not None:
        constants.put(graph, node, 1, np.array(axes, np.int64), f"{node.name}_axes")


def _transpose_outputs(graph: ir.Graph, node: ir.Node, perm: Perm) -> None:
    after = node
    for output in node.outputs:
        transpose = ir.node("Transpose", [None], {"perm": list(perm)}, name=f"{node.name}_turned_{output.index()}")
        made = transpose.outputs[0]
        made.type = output.type
        shape = _dims(output)
        output.replace_all_uses_with(made, replace_graph_outputs=True)
        transpose.replace_input_with(0, output)
        if shape is not None:
            made.shape, output.shape = ir.Shape(shape), ir.Shape([shape[axis] for axis in _inverse(perm)])
        graph.insert_after(after, transpose)
        after = transpose


def _turned(graph: ir.Graph, value: ir.Value | None, perm: Perm, *, whole: bool) -> ir.Value | None:
    """`value` as it was before a Transpose by `perm`; None when that would need another Transpose."""
    before = walk.producer(value, "Transpose")
    if value is None:
        return None
    if before is not None and _perm(before) == perm:
        return before.inputs[0]
    back = _inverse(perm)
    data = constants.array(value)
    if data is not None and not whole:
        if data.size == 1:
            return value
        if data.ndim <= len(perm):
            full = data.reshape((1,) * (len(perm) - data.ndim) + data.shape)
            return constants.add(graph, f"{value.name}_turned", np.ascontiguousarray(full.transpose(back)))
    shape = _dims(value)
    if shape is None or len(shape) != len(perm) or not _keeps_order(shape, back):
        return None
    return _reshaped(graph, value, [shape[axis] for axis in back])


def _keeps_order(shape: Sequence[int], perm: Perm) -> bool:
    """Whether a Transpose by `perm` only moves axes of length 1, so that the numbers stay where they are in memory."""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def _as_reshape(graph: ir.Graph, node: ir.Node) -> bool:
    source = node.inputs[0]
    shape = _dims(source)
    if source is None or shape is None or not _keeps_order(shape, _perm(node)):
        return False
    reshaped = _reshaped(graph, source, [shape[axis] for axis in _perm(node)])
    return _bypass(reshaped, node)


def _reshaped(graph: ir.Graph, value: ir.Value, shape: Sequence[int]) -> ir.Value:
    """A Reshape of `value`, right behind what makes it; one of a Reshape goes around that one."""
    before = walk.producer(value, "Reshape")
    source = before.inputs[0] if before is not None and before.inputs[0] is not None else value
    target = constants.add(graph, f"{value.name}_shape", np.array(shape, np.int64))
    node = ir.node("Reshape", [source, target], name=walk.fresh_name(graph, f"{value.name}_reshaped"))
    node.outputs[0].name = node.name
    node.outputs[0].type = value.type
    node.outputs[0].shape = ir.Shape(shape)
    splice.insert_behind(graph, value, [node])
    return node.outputs[0]
