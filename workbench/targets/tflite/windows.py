"""Where the windows of convolutions and pools lie, and how TensorFlow is told: SAME, VALID, or a Pad before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.targets.tflite.call import Call

Pair = tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """The windows along one axis.

    Attributes:
        size: the input's size.
        reach: the window's size with its dilation.
        stride: from one window to the next.
        begin: cells before the input that the first window sees.
        out: number of windows.
    """

    size: int
    reach: int
    stride: int
    begin: int
    out: int

    @property
    def end(self) -> int:
        """Cells after the input that the last window sees; negative when it leaves some of the input out."""
        return (self.out - 1) * self.stride + self.reach - self.size - self.begin

    @property
    def same(self) -> bool:
        """Whether this is what TensorFlow calls SAME padding: ceil(size / stride) windows, centred, odd cell last."""
        total = max((self.out - 1) * self.stride + self.reach - self.size, 0)
        return self.out == -(-self.size // self.stride) and self.begin == total // 2

    @property
    def valid(self) -> bool:
        """Whether no window sees a cell outside the input, as many as fit (TensorFlow's VALID padding)."""
        return self.begin == 0 and self.end <= 0 and self.out == (self.size - self.reach) // self.stride + 1


@dataclass(frozen=True)
class Windows:
    """The windows of a node over a picture.

    Attributes:
        axes: rows and columns.
        kernel: the window's size without dilation.
        dilations: between two cells of a window.
        declared_end: the end padding that the node declares, without what ceil_mode adds.
    """

    axes: tuple[Axis, Axis]
    kernel: Pair
    dilations: Pair
    declared_end: Pair

    @property
    def strides(self) -> Pair:
        """Rows and columns from one window to the next."""
        return self.axes[0].stride, self.axes[1].stride

    @property
    def valid(self) -> bool:
        """Whether no window sees a cell outside the picture."""
        return all(axis.valid for axis in self.axes)

    @property
    def same(self) -> bool:
        """Whether TensorFlow's SAME padding gives exactly these windows."""
        return all(axis.same for axis in self.axes)

    @property
    def pads(self) -> list[list[int]]:
        """The padding of an NHWC tensor, as tf.pad takes it."""
        return [[0, 0], *([axis.begin, max(axis.end, 0)] for axis in self.axes), [0, 0]]


def read(call: Call, sizes: Sequence[int], kernel: Sequence[int]) -> Windows:
    """The windows of `call` over a picture of `sizes` rows and columns.

    Raises:
        UnsupportedError: the attributes are not those of two-dimensional windows, or no window fits.
    """
    strides = _pair(call, "strides")
    dilations = _pair(call, "dilations")
    ceil_mode = bool(call.integer("ceil_mode"))
    auto_pad = call.text("auto_pad", "NOTSET")
    declared = call.integers("pads")
    pads = [0, 0, 0, 0] if declared is None or auto_pad != "NOTSET" else declared
    if len(pads) != 4 or min(pads) < 0:
        raise call.refuse(f"pads = {pads} are not four numbers of zero or more")
    axes, ends = [], []
    for axis in (0, 1):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        begin, end = pads[axis], pads[axis + 2]
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            out = -(-sizes[axis] // strides[axis])
            total = max((out - 1) * strides[axis] + reach - sizes[axis], 0)
            begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            end = total - begin
        elif auto_pad in ("NOTSET", "VALID"):
            room = sizes[axis] + begin + end - reach
            out = (-(-room // strides[axis]) if ceil_mode else room // strides[axis]) + 1
            if ceil_mode and (out - 1) * strides[axis] >= sizes[axis] + begin:
                out -= 1  # a window must not begin in the padding at the end
        else:
            raise call.refuse(f"attribute auto_pad = {auto_pad!r} is not covered")
        if out < 1:
            raise call.refuse(f"a window of {reach} does not fit into {sizes[axis]} cells")
        axes.append(Axis(sizes[axis], reach, strides[axis], begin, out))
        ends.append(end)
    return Windows((axes[0], axes[1]), (kernel[0], kernel[1]), dilations, (ends[0], ends[1]))


def pad(call: Call, picture: Any, windows: Windows, fill: float = 0.0) -> tuple[Any, str]:
    """`picture` and the padding, SAME or VALID, that give `windows`; a Pad with `fill` only when neither does.

    SAME pads with what the operator itself ignores (0 in a convolution), so `fill` must be that.
    """
    if windows.valid:
        return picture, "VALID"
    if windows.same:
        return picture, "SAME"
    return call.tf.pad(picture, windows.pads, constant_values=fill), "VALID"


def _pair(call: Call, name: str) -> Pair:
    values = call.integers(name) or [1, 1]
    if len(values) != 2 or min(values) < 1:
        raise call.refuse(f"attribute {name} = {values} is not two numbers above zero")
    return values[0], values[1]
