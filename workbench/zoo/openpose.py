"""OpenPose's body network (VGG-19 front, six two-branch stages) with the parameter names of pytorch-openpose.

Upstream: github.com/Hzzone/pytorch-openpose, ``src/model.py: bodypose_model``.
"""

from __future__ import annotations

import torch

from workbench.zoo._layers import Network, named_convs, refinement, vgg_front

_FEATURES = 128
_WIDTHS = {"1": 38, "2": 19}  # branch -> outputs: part affinity fields, then heatmaps with the background


class BodyPose(Network):
    """Pictures (N, 3, H, W), BGR, x/256 - 0.5, to ``paf`` (N, 38, H/8, W/8) and ``heatmap`` (N, 19, H/8, W/8)."""

    def __init__(self) -> None:
        super().__init__()
        self.model0 = vgg_front([("conv4_1", 512), ("conv4_2", 512), ("conv4_3_CPM", 256), ("conv4_4_CPM", 128)])
        joined = _FEATURES + sum(_WIDTHS.values())
        for branch, width in _WIDTHS.items():
            first = [(f"conv5_{index}_CPM_L{branch}", _FEATURES, 3) for index in (1, 2, 3)]
            last = f"conv5_5_CPM_L{branch}"
            layers = [*first, (f"conv5_4_CPM_L{branch}", 512, 1), (last, width, 1)]
            self.add_module(f"model1_{branch}", named_convs(_FEATURES, layers, linear=(last,)))
            for stage in range(2, 7):
                # Upstream lists Mconv7_stage6_L1 and a misspelt L2 as free of ReLU, so this one layer has it: the
                # published weights were used with it, and the heatmaps of the last stage are never negative.
                slip = (stage, branch) == (6, "2")
                block = refinement(joined, width, f"_stage{stage}_L{branch}", last_relu=slip)
                self.add_module(f"model{stage}_{branch}", block)

    def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The fields and heatmaps of the sixth stage."""
        features = self.model0(picture)
        paf, heatmap = self.model1_1(features), self.model1_2(features)
        for stage in range(2, 7):
            joined = torch.cat((paf, heatmap, features), dim=1)
            paf, heatmap = getattr(self, f"model{stage}_1")(joined), getattr(self, f"model{stage}_2")(joined)
        return paf, heatmap
