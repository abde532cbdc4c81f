"""Write a transposed convolution without dilation, output_shape and much output_padding, which the chips lack."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
import onnx_ir as ir

from workbench.graph import attributes, constants, walk
from workbench.surgery._formula import Known
from workbench.surgery._pass import Edits, Pass, control_flow

Axes = tuple[int, ...]
_MOST, _MANY = 1 << 22, 64  # numbers of a kernel with its zeros, or that many times its own; a file may ask for any


@dataclass(frozen=True, kw_only=True)
class ConvTransposeLimits(Pass):
    """Write ConvTranspose without dilation and output_shape, and with no more output_padding than pads at the end.

    With input size n, stride s, kernel k and dilation d an axis has the length
    s * (n - 1) + output_padding + (k - 1) * d + 1 - pads (ONNX operator reference).

    1. output_shape is written as the pads it stands for: what is too long is cut off, half at each end, the odd one at
       the end when auto_pad is SAME_UPPER and at the beginning otherwise.
    2. A dilated kernel is a larger one with zeros between its numbers.
    3. output_padding beyond the pads at the end reaches cells that no kernel touches and that hold the bias only. The
       kernel gets as many zeros at its end, which touch those cells and add nothing; pads at the end and
       output_padding become 0 there. A zero adds nothing to a finite number, so every result stays as it is; the
       kernel's zeros cost multiplications.
    4. Left alone: sizes that are not known, weights that are computed at run time, an output_shape that is longer than
       what the kernel reaches, and auto_pad alone, which explicit_padding writes out.
    """

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Twice the size with a kernel of one, whose last row and column no kernel touches."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        beyond (float[1,1,2,2] x) => (float[1,1,4,4] y) <float[1,1,1,1] w = {2}, float[1] b = {0.5}> {
            y = ConvTranspose<strides = [2, 2], output_padding = [1, 1]>(x, w, b)
        }"""
        return cls(), ir.from_onnx_text(text)

    def apply(self, model: ir.Model) -> Edits:
        """Visit every transposed convolution."""
        changed = []
        left = list(control_flow(model))
        known = Known(model)
        for node in walk.nodes(model.graph, "ConvTranspose"):
            done: list[str] = []
            reason = _explicit(node, known, done) or _within(model.graph, node, done)
            if done:
                changed.append(f"{walk.label(node)}: {', '.join(done)}")
            if reason is not None:
                left.append(f"{walk.label(node)}: {reason}")
        return Edits(changed=tuple(changed), left=tuple(left))


def _explicit(node: ir.Node, known: Known, done: list[str]) -> str | None:
    """Rule 1; returns why it cannot be done."""
    mode = attributes.text(node, "auto_pad", "NOTSET")
    if "output_shape" not in node.attributes:
        return None if mode == "NOTSET" else f"auto_pad {mode} decides its pads; run explicit_padding first"
    data, weight = known.dims(node.inputs[0]), known.static(node.inputs[1])
    if data is None or weight is None or not all(isinstance(size, int) for size in data[2:]):
        return "the size of its input or kernel is not static"
    sizes = [size for size in data[2:] if isinstance(size, int)]
    count = len(sizes)
    wanted = attributes.integers(node, "output_shape", ())[-count:]
    strides, dilations, extra = _options(node, count)
    totals = [
        s * (n - 1) + o + (k - 1) * d + 1 - out
        for n, s, o, k, d, out in zip(sizes, strides, extra, weight[2:], dilations, wanted, strict=True)
    ]
    if any(out < size for out, size in zip(wanted, sizes, strict=True)):
        return f"ONNX infers no shape for the output_shape {list(wanted)}, which is less than the input's size"
    if any(total < 0 for total in totals):
        return f"its output_shape {list(wanted)} is longer than what its kernel reaches"
    half = [total // 2 for total in totals]
    rest = [total - less for total, less in zip(totals, half, strict=True)]
    pads = (*half, *rest) if mode == "SAME_UPPER" else (*rest, *half)
    node.attributes.pop("output_shape")
    node.attributes.pop("auto_pad", None)
    attributes.put_integers(node, "pads", pads)
    done.append(f"output_shape {list(wanted)} is pads {list(pads)}")
    return None


def _within(graph: ir.Graph, node: ir.Node, done: list[str]) -> str | None:
    """Rules 2 and 3; returns why they cannot be done."""
    value = node.inputs[1]
    weight = constants.array(value)
    named = max(
        (len(attributes.integers(node, name, ())) for name in ("dilations", "output_padding", "strides")), default=0
    )
    count = named if weight is None else weight.ndim - 2
    _, dilations, extra = _options(node, count)
    pads = attributes.integers(node, "pads", (0,) * (2 * count))
    beyond = [max(more - end, 0) for more, end in zip(extra, pads[count:], strict=True)]
    if not any(beyond) and all(step == 1 for step in dilations):
        return None
    if value is None or weight is None:
        return "its weights are computed at run time"
    kernel = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilations, strict=True)]
    sizes = (*weight.shape[:2], *(k + more for k, more in zip(kernel, beyond, strict=True)))
    if prod(sizes) > max(_MOST, _MANY * weight.size):
        return f"its kernel would be of {' x '.join(str(size) for size in sizes[2:])} cells, most of them zeros"
    wide = np.zeros(sizes, weight.dtype)
    cells = [slice(0, size, step) for size, step in zip(kernel, dilations, strict=True)]
    wide[:, :, *cells] = weight
    constants.put(graph, node, 1, wide, f"{value.name}_wide")
    attributes.put_integers(node, "kernel_shape", wide.shape[2:])
    if any(step != 1 for step in dilations):
        attributes.put_integers(node, "dilations", (1,) * count)
        done.append(f"dilations {list(dilations)} are zeros in its kernel, now {list(kernel)}")
    if any(beyond):
        ends = [0 if more else end for more, end in zip(beyond, pads[count:], strict=True)]
        kept = [0 if more else own for more, own in zip(beyond, extra, strict=True)]
        attributes.put_integers(node, "pads", (*pads[:count], *ends))
        attributes.put_integers(node, "output_padding", kept)
        done.append(f"output_padding {list(extra)} is zeros at the end of its kernel, now {list(wide.shape[2:])}")
    return None


def _options(node: ir.Node, count: int) -> tuple[Axes, Axes, Axes]:
    """Strides, dilations and output_padding, one an axis."""
    ones, zeros = (1,) * count, (0,) * count
    return (
        attributes.integers(node, "strides", ones),
        attributes.integers(node, "dilations", ones),
        attributes.integers(node, "output_padding", zeros),
    )


PASS = ConvTransposeLimits
