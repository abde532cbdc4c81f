"""The convolutions that the networks of the zoo are built from, and the VGG front and stages OpenPose's two share."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


class Network(nn.Module):  # type: ignore[misc] # mypy does not read torch; one exemption here serves every network
    """The base of every module in the zoo."""


def conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1, bias: bool = True
) -> nn.Conv2d:
    """A convolution padded so that stride 1 keeps height and width (odd kernels)."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=bias)


def depthwise(channels: int, *, stride: int = 1, dilation: int = 1, bias: bool = False) -> nn.Conv2d:
    """A 3x3 convolution, one filter a channel."""
    return conv(channels, channels, 3, stride=stride, dilation=dilation, groups=channels, bias=bias)


def named_convs(inputs: int, layers: Iterable[tuple[str, int, int]], *, linear: Iterable[str] = ()) -> nn.Sequential:
    """Convolutions (name, width, kernel) in a row, a ReLU after each not in `linear`; ``pool*`` is a pool."""
    row = nn.Sequential()
    bare = frozenset(linear)
    for name, width, kernel in layers:
        if name.startswith("pool"):
            row.add_module(name, nn.MaxPool2d(2, 2))
            continue
        row.add_module(name, conv(inputs, width, kernel))
        inputs = width
        if name not in bare:
            row.add_module(f"relu_{name}", nn.ReLU())
    return row


def vgg_front(tail: Iterable[tuple[str, int]]) -> nn.Sequential:
    """VGG-19 up to its third pool (1/8 of the picture, 256 channels), then the 3x3 layers (name, width) of `tail`."""
    layers = [
        (f"conv{block}_{index}", width, 3) if index else (f"pool{block}", 0, 0)
        for block, width, count in ((1, 64, 2), (2, 128, 2), (3, 256, 4))
        for index in (*range(1, count + 1), 0)
    ]
    return named_convs(3, [*layers, *((name, width, 3) for name, width in tail)])


def refinement(inputs: int, outputs: int, suffix: str, *, last_relu: bool = False) -> nn.Sequential:
    """A refinement stage: five 7x7 and two 1x1 layers called ``Mconv1<suffix>`` to ``Mconv7<suffix>``."""
    layers = [(f"Mconv{index}{suffix}", 128, 7) for index in range(1, 6)]
    layers += [(f"Mconv6{suffix}", 128, 1), (f"Mconv7{suffix}", outputs, 1)]
    return named_convs(inputs, layers, linear=() if last_relu else (f"Mconv7{suffix}",))
