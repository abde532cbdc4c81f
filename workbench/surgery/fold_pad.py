"""Fold a zero Pad into the convolution or pooling that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, splice, walk
from workbench.surgery._clip import never_negative
from workbench.surgery._pass import Edits, Pass, control_flow

_NON_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Exp", "Sqrt", "Abs")
_KEEP_SIGN = (
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "Concat",
    "Add",
    "Mul",
    "Dropout",
)
_DEPTH = 8  # how far back a sign is looked for


@dataclass(frozen=True, kw_only=True)
class FoldPad(Pass):
    """Fold Pad (constant 0, height and width only) into the `pads` of every reader, then remove it.

    1. Conv: it pads with zeros itself.
    2. AveragePool that counts its padding; also one that does not but has none of its own: it counts it from then on.
    3. MaxPool pads with minus infinity, so only where its input is never negative: then a padded 0 never wins over
       the one real entry that every window has.
    4. All readers or none: a Pad that must stay for one reader stays for all.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """The asymmetric padding that TensorFlow puts before a strided convolution."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        padded (float[1,1,4,4] x) => (float[1,1,2,2] y)
        <int64[8] pads = {0, 0, 0, 0, 0, 0, 1, 1}, float[1,1,3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {
            wide = Pad(x, pads)
            y = Conv<kernel_shape = [3, 3], strides = [2, 2]>(wide, w)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every Pad that a convolution or pooling reads."""
        changed = []
        left = list(control_flow(model))
        for pad in walk.nodes(model.graph, "Pad"):
            readers = walk.consumers(pad.outputs[0])
            if not any(walk.is_op(node, "Conv", "AveragePool", "MaxPool") for node in readers):
                continue
            amounts = _amounts(pad)
            if isinstance(amounts, str):
                left.append(f"{walk.label(pad)}: {amounts}")
                continue
            reason = next((why for node in readers if (why := _refuses(node, pad, amounts)) is not None), None)
            if pad.outputs[0].is_graph_output():
                reason = "it is a graph output"
            if reason is not None:
                left.append(f"{walk.label(pad)}: {reason}")
                continue
            for node in readers:
                _widen(node, amounts)
                node.replace_input_with(0, pad.inputs[0])
            changed.append(f"{walk.label(pad)}: folded into {', '.join(walk.label(node) for node in readers)}")
            splice.remove(pad)
        return Edits(changed=tuple(changed), left=tuple(left))


def _amounts(pad: ir.Node) -> tuple[int, ...] | str:
    """The spatial padding as Conv writes it (begins, then ends), or why there is none to fold."""
    if attributes.text(pad, "mode", "constant") != "constant":
        return "it repeats pixels instead of padding zeros"
    given = constants.array(pad.inputs[1])
    if given is None:
        return "its amounts are computed at run time"
    if len(pad.inputs) > 2 and pad.inputs[2] is not None and constants.scalar(pad.inputs[2]) != 0:
        return "it pads another value than 0"
    sizes = [int(size) for size in given.reshape(-1)]
    shape = pad.inputs[0].shape if pad.inputs[0] is not None else None
    rank = len(shape) if shape is not None else None
    if len(pad.inputs) > 3 and pad.inputs[3] is not None:
        axes = constants.array(pad.inputs[3])
        if axes is None or rank is None:
            return "its axes are computed at run time"
        spread = [0] * (2 * rank)
        for place, axis in enumerate(int(axis) % rank for axis in axes.reshape(-1)):
            spread[axis], spread[rank + axis] = sizes[place], sizes[len(sizes) // 2 + place]
        sizes = spread
    rank = len(sizes) // 2
    if rank < 3 or any(sizes[axis] for axis in (0, 1, rank, rank + 1)):
        return "it pads more than height and width"
    if any(size < 0 for size in sizes):
        return "it crops"
    return (*sizes[2:rank], *sizes[rank + 2 :])


def _refuses(node: ir.Node, pad: ir.Node, amounts: Sequence[int]) -> str | None:
    """Why `node` cannot pad by itself what `pad` pads; None when it can."""
    name = walk.label(node)
    if not walk.is_op(node, "Conv", "AveragePool", "MaxPool") or node.inputs[0] is not pad.outputs[0]:
        return f"{name} reads it too"
    if any(value is pad.outputs[0] for value in node.inputs[1:]):
        return f"{name} reads it as a weight"
    mode = attributes.text(node, "auto_pad", "NOTSET")
    if mode.startswith("SAME"):
        return f"{name} pads by rule ({mode}); run explicit_padding first"
    if node.op_type == "Conv":
        return None
    if attributes.integer(node, "ceil_mode", 0):
        return f"{name} rounds its size up, and padding would move its last window"
    own = _own(node, amounts)
    kernel = attributes.integers(node, "kernel_shape", ())
    half = len(amounts) // 2
    if any(own[i] + amounts[i] >= kernel[i % half] for i in range(2 * half)):
        return f"{name} would have windows that hold nothing but padding"
    if any(step != 1 for step in attributes.integers(node, "dilations", ())):
        return f"{name} is dilated"
    if node.op_type == "AveragePool":
        if not attributes.integer(node, "count_include_pad", 0) and any(own):
            return f"{name} does not count its own padding, but would have to count this"
        return None
    if len(node.outputs) > 1:
        return f"{name} returns indices into the padded picture"
    if not _never_negative(pad.inputs[0], _DEPTH):
        return f"{name} would pad minus infinity, which differs where its input is negative"
    return None


def _own(node: ir.Node, amounts: Sequence[int]) -> tuple[int, ...]:
    return attributes.integers(node, "pads", (0,) * len(amounts))


def _widen(node: ir.Node, amounts: Sequence[int]) -> None:
    total = [own + more for own, more in zip(_own(node, amounts), amounts, strict=True)]
    node.attributes.pop("auto_pad", None)  # VALID, which would contradict pads
    attributes.put_integers(node, "pads", total)
    if node.op_type == "AveragePool":
        attributes.put_integer(node, "count_include_pad", 1)


def _never_negative(value: ir.Value | None, depth: int) -> bool:
    """Whether `value` is at least 0 by construction, as far as `depth` nodes back tell."""
    if value is None or depth == 0:
        return False
    fixed = constants.array(value)
    if fixed is not None:
        return bool((fixed.astype(np.float64) >= 0).all())
    node = value.producer()
    if node is None:
        return False
    if walk.is_op(node, *_NON_NEGATIVE):
        return True
    if walk.is_op(node, "Clip"):
        return never_negative(node)
    if walk.is_op(node, *_KEEP_SIGN):
        return all(_never_negative(source, depth - 1) for source in node.inputs)
    return False


PASS = FoldPad
