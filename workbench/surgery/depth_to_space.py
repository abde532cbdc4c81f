"""Give every DepthToSpace the mode DCR, for compilers that know no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.surgery._formula import Formula, Known
from workbench.surgery._pass import Edits, Pass, control_flow

Order = npt.NDArray[np.int64]
# Functions of each element alone, whatever its channel.
_ELEMENTWISE = (
    "Abs",
    "Celu",
    "Clip",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Mish",
    "Neg",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Sqrt",
    "Tanh",
)


@dataclass(frozen=True, kw_only=True)
class DepthToSpace(Pass):
    """Turn DepthToSpace of mode CRD into mode DCR by putting its input channels into another order.

    Of C * b * b channels CRD reads the cells of a block fastest (that is PyTorch's PixelShuffle), DCR slowest, as the
    ONNX operator reference has it: channel c * b * b + k has to become channel k * C + c. Numbers are only moved.

    1. Where a plain Conv with constant weights makes the input and nothing else reads it, the order of its filters and
       of its bias is changed; activations between the two do not mind. The tensors between have their channels in
       another order then, so they get new names that end in _dcr.
    2. Otherwise a Gather with the channels in the new order stands before it.
    3. Left alone: an input whose number of channels is not known or is no multiple of the block.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Two channels of two by two pixels, from a convolution."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        shuffle (float[1,1,2,2] x) => (float[1,2,4,4] y)
        <float[8,1,1,1] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[8] b = {0, 1, 2, 3, 4, 5, 6, 7}> {
            c = Conv(x, w, b)
            y = DepthToSpace<blocksize = 2, mode = "CRD">(c)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every DepthToSpace."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "DepthToSpace"):
            mode = attributes.text(node, "mode", "DCR")
            if mode == "DCR":
                continue
            order = _order(node, known) if mode == "CRD" else f"mode '{mode}' is neither CRD nor DCR"
            if isinstance(order, str):
                left.append(f"{walk.label(node)}: {order}")
                continue
            label, path = walk.label(node), _path(node)
            if path:
                how = f"the filters of {walk.label(path[-1])} are in another order"
                _reorder(model.graph, path, order)
            else:
                _gather(model.graph, node, order)
                how = "a Gather puts its channels into another order"
            node.attributes["mode"] = ir.AttrString("mode", "DCR")
            changed.append(f"{label}: mode DCR, {how}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _order(node: ir.Node, known: Known) -> Order | str:
    """The old channel at each new place, or why it is not known."""
    dims = known.dims(node.inputs[0])
    area = attributes.integer(node, "blocksize", 0) ** 2
    channels = dims[1] if dims is not None and len(dims) == 4 else None
    if not isinstance(channels, int):
        return "the number of its channels is not static"
    if area < 1 or channels % area:
        return f"blocks of {area} do not share {channels} channels"
    return np.arange(channels, dtype=np.int64).reshape(-1, area).T.reshape(-1)


def _path(node: ir.Node) -> tuple[ir.Node, ...]:
    """The nodes from the input of `node` back to the convolution whose filters can change places; none otherwise."""
    found = []
    value, reader = node.inputs[0], node
    while value is not None and walk.only_consumer(value) is reader:
        maker = value.producer()
        if maker is None or not walk.is_op(maker):
            break
        found.append(maker)
        if maker.op_type == "Conv":
            grouped = attributes.integer(maker, "group", 1) != 1
            fixed = all(constants.array(operand) is not None for operand in maker.inputs[1:] if operand is not None)
            return () if grouped or not fixed else tuple(found)
        if maker.op_type not in _ELEMENTWISE:
            break
        value, reader = maker.inputs[0], maker
    return ()


def _reorder(graph: ir.Graph, path: tuple[ir.Node, ...], order: Order) -> None:
    """Put the filters of the last node of `path` into `order`, and name the tensors on the way anew."""
    conv = path[-1]
    for index, value in enumerate(conv.inputs):
        data = constants.array(value)
        if index and value is not None and data is not None:
            constants.put(graph, conv, index, np.ascontiguousarray(data[order]), f"{value.name}_dcr")
    for node in path:
        made = node.outputs[0]
        made.name = walk.fresh_name(graph, f"{made.name}_dcr")


def _gather(graph: ir.Graph, node: ir.Node, order: Order) -> None:
    """Put a Gather before `node`."""
    value = node.inputs[0]
    formula = Formula(graph, node)
    node.replace_input_with(0, formula("Gather", value, formula.constant(order, "order"), axis=1))


PASS = DepthToSpace
