"""MoveNet on MobileNet v2 (heatmaps, centres, regression, offsets) with the parameter names of its checkpoint.

Upstream: github.com/fire717/movenet.pytorch, ``lib/models/movenet_mobilenetv2.py: MoveNet`` (MIT), 17 joints.
"""

from __future__ import annotations

import torch
from torch import nn

from workbench.zoo._layers import Network, conv, depthwise

_JOINTS = 17


def _norm_relu(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    layer = conv(inputs, outputs, kernel, stride=stride, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def _bottleneck(inputs: int, hidden: int, outputs: int, stride: int = 1, *, bias: bool = False) -> nn.Sequential:
    """1x1 expansion, 3x3 depthwise (with a bias where upstream has one), linear 1x1 projection."""
    return nn.Sequential(
        conv(inputs, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        depthwise(hidden, stride=stride, bias=bias),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        conv(hidden, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        depthwise(inputs),
        nn.BatchNorm2d(inputs),
        conv(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _twice() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)


def _upsample(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(depthwise(inputs, bias=True), nn.ReLU(), _norm_relu(inputs, outputs, 1), _twice())


class _InvertedResidual(Network):
    """A bottleneck that changes the size, then `repeats` residual ones of the same hidden width."""

    def __init__(self, inputs: int, outputs: int, stride: int, repeats: int) -> None:
        super().__init__()
        hidden = 6 * inputs
        self.conv1 = _bottleneck(inputs, hidden, outputs, stride, bias=True)
        self.conv2 = nn.ModuleList(_bottleneck(outputs, hidden, outputs) for _ in range(repeats))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        features = self.conv1(features)
        for block in self.conv2:
            features = features + block(features)
        return features


class _Backbone(Network):
    """MobileNet v2 and a three-level neck: (N, 3, H, W) in -1..1 to (N, 24, H/4, W/4)."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Sequential(
            depthwise(32), nn.BatchNorm2d(32), nn.ReLU(), conv(32, 16, 1, bias=False), nn.BatchNorm2d(16)
        )
        self.features1 = nn.Sequential(_norm_relu(3, 32, 3, stride=2), first, _InvertedResidual(16, 24, 2, 1))
        self.features2 = _InvertedResidual(24, 32, 2, 2)
        self.features3 = _InvertedResidual(32, 64, 2, 3)
        self.features4 = nn.Sequential(
            _InvertedResidual(64, 96, 1, 2),
            _InvertedResidual(96, 160, 2, 2),
            _InvertedResidual(160, 320, 1, 0),
            _norm_relu(320, 1280, 1),
            conv(1280, 64, 1, bias=False),
            _twice(),
        )
        self.upsample2 = _upsample(64, 32)
        self.upsample1 = _upsample(32, 24)
        self.conv3 = conv(64, 64, 1)
        self.conv2 = conv(32, 32, 1)
        self.conv1 = conv(24, 24, 1)
        self.conv4 = _separable(24, 24)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        level1 = self.features1(picture)
        level2 = self.features2(level1)
        level3 = self.features3(level2)
        merged = self.features4(level3) + self.conv3(level3)
        merged = self.upsample2(merged) + self.conv2(level2)
        merged = self.upsample1(merged) + self.conv1(level1)
        return self.conv4(merged)


class _Header(Network):
    """Four heads on the 24 shared channels."""

    def __init__(self) -> None:
        super().__init__()
        self.header_heatmaps = self._head(_JOINTS, nn.Sigmoid())
        self.header_centers = self._head(1, nn.Sigmoid())
        self.header_regs = self._head(2 * _JOINTS)
        self.header_offsets = self._head(2 * _JOINTS)

    @staticmethod
    def _head(outputs: int, *last: nn.Module) -> nn.Sequential:
        return nn.Sequential(_separable(24, 96), conv(96, outputs, 1), *last)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        heads = (self.header_heatmaps, self.header_centers, self.header_regs, self.header_offsets)
        return tuple(head(features) for head in heads)


class MoveNet(Network):
    """Pictures (N, 3, 192, 192), RGB, 0..255, to heatmaps (17), centers (1), regs (34) and offsets (34) of 48x48."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.header = _Header()

    def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Heatmaps and centers after the sigmoid, then regression and offsets as they are."""
        outputs: tuple[torch.Tensor, ...] = self.header(self.backbone(picture / 127.5 - 1))
        return outputs
