"""Lightweight OpenPose (MobileNet v1, one refinement stage) with the parameter names of its published checkpoint.

Upstream: github.com/Daniil-Osokin/lightweight-human-pose-estimation.pytorch,
``models/with_mobilenet.py: PoseEstimationWithMobileNet`` (Apache-2.0).
"""

from __future__ import annotations

import torch
from torch import nn

from workbench.zoo._layers import Network, conv, depthwise

_CHANNELS = 128
_HEATMAPS = 19
_PAFS = 38
_BACKBONE = (  # (width, stride, dilation) of each depthwise-separable block
    (64, 1, 1),
    (128, 2, 1),
    (128, 1, 1),
    (256, 2, 1),
    (256, 1, 1),
    (512, 1, 1),
    (512, 1, 2),
    (512, 1, 1),
    (512, 1, 1),
    (512, 1, 1),
    (512, 1, 1),
)


def _relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, kernel), nn.ReLU())


def _norm_relu(inputs: int, outputs: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, 3, dilation=dilation), nn.BatchNorm2d(outputs), nn.ReLU())


def _separable(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        depthwise(inputs, stride=stride, dilation=dilation),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        conv(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _separable_elu(channels: int) -> nn.Sequential:
    return nn.Sequential(depthwise(channels), nn.ELU(), conv(channels, channels, 1, bias=False), nn.ELU())


def _head(middle: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_relu(_CHANNELS, middle, 1), nn.Sequential(conv(middle, outputs, 1)))


class _Neck(Network):
    """512 backbone channels to 128, with a residual trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.align = _relu(512, _CHANNELS, 1)
        self.trunk = nn.Sequential(*(_separable_elu(_CHANNELS) for _ in range(3)))
        self.conv = _relu(_CHANNELS, _CHANNELS, 3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        aligned = self.align(features)
        return self.conv(aligned + self.trunk(aligned))


class _Residual(Network):
    """A 1x1 layer plus two 3x3 layers on top of it."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.initial = _relu(inputs, _CHANNELS, 1)
        self.trunk = nn.Sequential(_norm_relu(_CHANNELS, _CHANNELS, 1), _norm_relu(_CHANNELS, _CHANNELS, 2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        initial = self.initial(features)
        return initial + self.trunk(initial)


class _Stage(Network):
    """A trunk and two heads, heatmaps and part affinity fields."""

    def __init__(self, trunk: nn.Sequential, middle: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.heatmaps = _head(middle, _HEATMAPS)
        self.pafs = _head(middle, _PAFS)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        trunk = self.trunk(features)
        return self.heatmaps(trunk), self.pafs(trunk)


class LightweightOpenPose(Network):
    """Pictures (N, 3, H, W), BGR, (x - 128)/256, to heatmaps (N, 19, H/8, W/8) and fields (N, 38, H/8, W/8) a stage."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [nn.Sequential(conv(3, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU())]
        inputs = 32
        for width, stride, dilation in _BACKBONE:
            blocks.append(_separable(inputs, width, stride, dilation))
            inputs = width
        self.model = nn.Sequential(*blocks)
        self.cpm = _Neck()
        self.initial_stage = _Stage(nn.Sequential(*(_relu(_CHANNELS, _CHANNELS, 3) for _ in range(3))), 512)
        joined = _CHANNELS + _HEATMAPS + _PAFS
        residuals = nn.Sequential(*(_Residual(joined if index == 0 else _CHANNELS) for index in range(5)))
        self.refinement_stages = nn.ModuleList([_Stage(residuals, _CHANNELS)])

    def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Heatmaps and fields of the initial stage, then of the refinement stage: the last two are the result."""
        features = self.cpm(self.model(picture))
        outputs = list(self.initial_stage(features))
        for stage in self.refinement_stages:
            outputs.extend(stage(torch.cat((features, outputs[-2], outputs[-1]), dim=1)))
        return tuple(outputs)
