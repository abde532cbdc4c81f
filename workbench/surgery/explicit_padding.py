"""Write the padding that auto_pad stands for as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import onnx_ir as ir

from workbench.graph import attributes, shapes, walk
from workbench.surgery._pass import Edits, Pass, control_flow

_OPERATORS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")


@dataclass(frozen=True, kw_only=True)
class ExplicitPadding(Pass):
    """Replace `auto_pad` of Conv, ConvTranspose, MaxPool and AveragePool by the `pads` it means, from static shapes.

    With input size n, stride s and a kernel that spans k = (kernel - 1) * dilation + 1 (ONNX operator reference):

    1. VALID: no padding.
    2. SAME: the output has m = ceil(n / s) entries, so (m - 1) * s + k - n are padded, if that is positive; the odd one
       goes to the end for SAME_UPPER and to the beginning for SAME_LOWER.
    3. ConvTranspose, SAME: the output has n * s entries, so (n - 1) * s + k + output_padding - n * s are cut off, again
       with the odd one at the end for SAME_UPPER.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """TensorFlow's SAME with an even size and stride 2: one row and column at the end."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        same (float[1,1,4,4] x) => (float[1,1,2,2] y) <float[1,1,3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {
            y = Conv<auto_pad = "SAME_UPPER", kernel_shape = [3, 3], strides = [2, 2]>(x, w)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every node that pads by rule."""
        changed = []
        left = list(control_flow(model))
        known: dict[str, shapes.Dims] | None = None
        for node in walk.nodes(model.graph, *_OPERATORS):
            mode = attributes.text(node, "auto_pad", "NOTSET")
            if mode == "NOTSET":
                continue
            known = shapes.infer(model) if known is None else known
            pads = _pads(node, mode, known)
            if isinstance(pads, str):
                left.append(f"{walk.label(node)}: {pads}")
                continue
            node.attributes.pop("auto_pad")
            attributes.put_integers(node, "pads", pads)
            if mode != "VALID" and attributes.integer(node, "ceil_mode", 0):
                # SAME says how many outputs there are, and rounding down with these pads gives just as many.
                attributes.put_integer(node, "ceil_mode", 0)
            changed.append(f"{walk.label(node)}: {mode} is pads {list(pads)}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _pads(node: ir.Node, mode: str, known: dict[str, shapes.Dims]) -> tuple[int, ...] | str:
    """The padding of each spatial axis, all begins and then all ends; or why it is not known."""
    data = known.get(_name(node, 0), ())
    kernel = attributes.integers(node, "kernel_shape", ())
    if not kernel and len(node.inputs) > 1:
        kernel = tuple(size for size in known.get(_name(node, 1), ())[2:] if isinstance(size, int))
    axes = len(data) - 2
    sizes = [size for size in data[2:] if isinstance(size, int)]
    if axes < 1 or len(sizes) != axes or len(kernel) != axes:
        return "the size of its input is not static"
    strides = attributes.integers(node, "strides", (1,) * axes)
    dilations = attributes.integers(node, "dilations", (1,) * axes)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if mode == "VALID":
        fits = all((n - k) % s == 0 for n, k, s in zip(sizes, spans, strides, strict=True))
        if attributes.integer(node, "ceil_mode", 0) and not fits:
            return "VALID and ceil_mode say different sizes"
        return (0,) * (2 * axes)
    if node.op_type in ("MaxPool", "AveragePool") and any(step != 1 for step in dilations):
        return "onnxruntime forgets the dilation of a pool when it works out SAME, so its numbers would not stay"
    if node.op_type == "ConvTranspose":
        if "output_shape" in node.attributes:
            return "output_shape decides its padding"
        more = attributes.integers(node, "output_padding", (0,) * axes)
        totals = [(n - 1) * s + k + o - n * s for n, s, k, o in zip(sizes, strides, spans, more, strict=True)]
        if any(total < 0 for total in totals):
            return "its kernel is smaller than its stride, so there is nothing to cut off"
    else:
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(sizes, strides, spans, strict=True)]
    fewer = [total // 2 for total in totals]
    rest = [total - half for total, half in zip(totals, fewer, strict=True)]
    return (*fewer, *rest) if mode == "SAME_UPPER" else (*rest, *fewer)


def _name(node: ir.Node, index: int) -> str:
    value = node.inputs[index]
    return (value.name if value is not None else None) or ""


PASS = ExplicitPadding
