"""Read and write the constants of a graph, be they initializers or Constant nodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import walk

Array = npt.NDArray[np.generic]


def array(value: ir.Value | None) -> Array | None:
    """What `value` always holds, or None when that is not fixed.

    An initializer that is a graph input too is only a default, which a caller may replace: None.
    """
    if value is None or value.is_graph_input():
        return None
    if value.is_initializer():
        return None if value.const_value is None else np.asarray(value.const_value.numpy())
    node = walk.producer(value, "Constant")
    if node is None:
        return None
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            return None
        if name == "value":
            return np.asarray(attribute.as_tensor().numpy())
        if name == "value_float":
            return np.asarray(attribute.as_float(), np.float32)
        if name == "value_int":
            return np.asarray(attribute.as_int(), np.int64)
        if name == "value_floats":
            return np.asarray(attribute.as_floats(), np.float32)
        if name == "value_ints":
            return np.asarray(attribute.as_ints(), np.int64)
    return None


def scalar(value: ir.Value | None) -> float | None:
    """The one number that `value` always holds, or None."""
    found = array(value)
    return None if found is None or found.size != 1 else float(found.reshape(()).astype(np.float64))


def per_channel(value: ir.Value | None, channels: int, rank: int) -> npt.NDArray[np.float64] | None:
    """`value` as one float64 a channel, when it is a float constant that broadcasts along axis 1 and no other.

    Args:
        value: one operand.
        channels: entries of the other operand along axis 1.
        rank: axes of the other operand.

    Returns:
        shape (channels,), or None: not constant, not float32, or broadcast along another axis.
    """
    found = array(value)
    if found is None or found.dtype != np.float32 or found.ndim > rank:
        return None
    dims = (1,) * (rank - found.ndim) + found.shape
    if any(size != 1 for axis, size in enumerate(dims) if axis != 1) or dims[1] not in (1, channels):
        return None
    return np.broadcast_to(found.astype(np.float64).reshape(-1), (channels,)).copy()


def is_shared(value: ir.Value) -> bool:
    """Whether more than one input of a node reads `value`, or it is a graph output."""
    return len(value.uses()) != 1 or value.is_graph_output()


def put(graph: ir.Graph, node: ir.Node, index: int, data: Array, name: str) -> None:
    """Give input `index` of `node` the constant `data`, and leave other readers of the old one alone.

    The old initializer is overwritten when only this input reads it; otherwise there is a new one, called `name`
    or the next free name.
    """
    old = node.inputs[index] if index < len(node.inputs) else None
    if old is not None and old.is_initializer() and not old.is_graph_input() and not is_shared(old):
        old.const_value = ir.tensor(data, name=old.name)
        old.shape = ir.Shape(data.shape)
        return
    new = add(graph, name, data)
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, new)
    if old is not None:
        drop_unused(old)


def add(graph: ir.Graph, name: str, data: Array) -> ir.Value:
    """A new initializer holding `data`, called `name` or the next free name."""
    free = walk.fresh_name(graph, name)
    tensor = ir.tensor(data, name=free)
    value = ir.Value(name=free, shape=ir.Shape(data.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def is_unread(value: ir.Value) -> bool:
    """Whether nothing reads `value`, neither a node nor, as an input or output of the graph, the outside."""
    return not (value.uses() or value.is_graph_output() or value.is_graph_input())


def drop_unused(value: ir.Value) -> None:
    """Remove the initializer or the Constant node behind `value` if nothing reads it any more."""
    if value.graph is None or not is_unread(value):
        return
    if value.is_initializer() and isinstance(value.graph, ir.Graph) and value.name is not None:
        value.graph.initializers.pop(value.name)
        return
    node = walk.producer(value, "Constant")
    if node is not None and node.graph is not None:
        node.graph.remove(node)
