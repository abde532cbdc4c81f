"""Which cells each window of a pool reads, as onnxruntime lays them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from workbench.graph import attributes
from workbench.surgery._formula import Known

_MOST = 1 << 16  # windows along an axis; a file may ask for any number


@dataclass(frozen=True)
class Axis:
    """The windows of a pool along one axis; window i reads cells ``i * stride - before + j * dilation``, j < kernel.

    Attributes:
        size: cells of the input.
        kernel: cells of a window.
        stride: from one window to the next, in cells.
        before: cells of padding before the first.
        after: cells of padding after the last; what else the last window reads beyond the end counts as padding, too.
        dilation: from one cell of a window to the next.
        ceil: whether the number of windows is rounded up.
    """

    size: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int
    ceil: bool

    @property
    def out(self) -> int:
        """The number of windows: what fits, and with `ceil` what begins before the padding at the end."""
        room = self.size + self.before + self.after - (self.kernel - 1) * self.dilation - 1
        count = (-(-room // self.stride) if self.ceil else room // self.stride) + 1
        # Until operator set 22 ONNX's own shape inference forgets this rule, which runtimes have.
        late = self.ceil and (count - 1) * self.stride >= self.size + self.before
        return count - 1 if late else count

    def real(self, window: int) -> int:
        """How many cells of `window` are no padding."""
        first = window * self.stride - self.before
        low = max(-(first // self.dilation), 0)
        high = min((self.size - 1 - first) // self.dilation, self.kernel - 1)
        return max(high - low + 1, 0)

    @property
    def reach(self) -> int:
        """The padding at the end that holds all windows, so that rounding down gives their number."""
        end = (self.out - 1) * self.stride + (self.kernel - 1) * self.dilation + 1
        return max(end - self.size - self.before, 0) if self.ceil else self.after


def axes(node: ir.Node, known: Known) -> tuple[Axis, ...] | str:
    """The spatial axes of a MaxPool or AveragePool; or why they are not known."""
    mode = attributes.text(node, "auto_pad", "NOTSET")
    if mode != "NOTSET":
        return f"it pads by rule ({mode}); run explicit_padding first"
    kernel = attributes.integers(node, "kernel_shape", ())
    count = len(kernel)
    before, after = known.dims(node.inputs[0]), known.dims(node.outputs[0])
    sizes = [size for size in (before or ())[2:] if isinstance(size, int) and size > 0]
    if not count or len(sizes) != count:
        return "the size of its input is not static"
    pads = attributes.integers(node, "pads", (0,) * (2 * count))
    strides = attributes.integers(node, "strides", (1,) * count)
    dilations = attributes.integers(node, "dilations", (1,) * count)
    ceil = bool(attributes.integer(node, "ceil_mode", 0))
    # The shape inference of onnx 1.23 refuses such a file before; an older one may not.
    lists = (kernel, strides, dilations, pads[:count], pads[count:])
    if any(len(one) != count or min(one) < least for one, least in zip(lists, (1, 1, 1, 0, 0), strict=True)):
        return "its kernel, strides, dilations and pads are not what ONNX allows"
    found = tuple(
        Axis(sizes[i], kernel[i], strides[i], pads[i], pads[count + i], dilations[i], ceil) for i in range(count)
    )
    outs = [axis.out for axis in found]
    if min(outs) < 1:
        return "it has no window"
    if max(outs) > _MOST:
        return f"it has {max(outs)} windows along an axis, which are too many"
    if after is not None and list(after[2:]) != outs and all(isinstance(size, int) for size in after[2:]):
        return (
            f"onnxruntime gives it {outs} windows and ONNX {list(after[2:])}, which only agree from operator set 22 on"
        )
    return found
