"""OpenPose's hand network (VGG-19 front, six stages) with the parameter names of pytorch-openpose.

Upstream: github.com/Hzzone/pytorch-openpose, ``src/model.py: handpose_model``.
"""

from __future__ import annotations

import torch

from workbench.zoo._layers import Network, named_convs, refinement, vgg_front

_FEATURES = 128
_JOINTS = 22  # 21 joints and the background


class HandPose(Network):
    """Pictures (N, 3, H, W), BGR, x/256 - 0.5, to heatmaps (N, 22, H/8, W/8)."""

    def __init__(self) -> None:
        super().__init__()
        wide = [("conv4_1", 512), ("conv4_2", 512), ("conv4_3", 512), ("conv4_4", 512), ("conv5_1", 512)]
        self.model1_0 = vgg_front([*wide, ("conv5_2", 512), ("conv5_3_CPM", _FEATURES)])
        first = [("conv6_1_CPM", 512, 1), ("conv6_2_CPM", _JOINTS, 1)]
        self.model1_1 = named_convs(_FEATURES, first, linear=("conv6_2_CPM",))
        for stage in range(2, 7):
            self.add_module(f"model{stage}", refinement(_FEATURES + _JOINTS, _JOINTS, f"_stage{stage}"))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """The heatmaps of the sixth stage."""
        features = self.model1_0(picture)
        heatmap = self.model1_1(features)
        for stage in range(2, 7):
            heatmap = getattr(self, f"model{stage}")(torch.cat((heatmap, features), dim=1))
        return heatmap
