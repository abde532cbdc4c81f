"""A network's outputs as people: which decoder reads them follows from what the recipe says that they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.errors import RecipeError
from workbench.pose import movenet, parts, single
from workbench.pose.displacement import SMOOTH
from workbench.pose.person import Person
from workbench.pose.skeletons import Skeleton
from workbench.recipe.schema import Meaning, OutputSpec

_ONE: frozenset[Meaning] = frozenset({"heatmap"})
_SEVERAL: frozenset[Meaning] = frozenset({"heatmap", "paf"})
_CENTRED: frozenset[Meaning] = frozenset({"heatmap", "center", "regression", "offset"})
_KNOWN = " or ".join(", ".join(sorted(one)) for one in (_ONE, _SEVERAL, _CENTRED))


@dataclass(frozen=True)
class Decoder:
    """Reads the outputs of one network.

    Attributes:
        skeleton: whose joints the heatmaps are.
        outputs: the one output of each meaning that is read: of several stages the last is the result.
        size: width and height of the network's input, in pixels.
    """

    skeleton: Skeleton
    outputs: Mapping[Meaning, OutputSpec]
    size: tuple[int, int]

    def __call__(self, answers: Mapping[str, npt.NDArray[np.floating]]) -> list[Person]:
        """The people in one picture, in pixels of the network's input.

        Args:
            answers: {output: (1, C, H, W)} as the recipe calls them; more than `outputs` are not looked at.

        Raises:
            ToolError: a value is not finite.
        """
        maps = {meaning: answers[spec.name][0] for meaning, spec in self.outputs.items()}
        # What follows the joints is the background.
        heatmaps = maps["heatmap"][: len(self.skeleton.joints)]
        height, width = heatmaps.shape[1:]
        stride = (self.size[0] / width, self.size[1] / height)
        if "paf" in maps:
            return parts.decode(heatmaps, maps["paf"], self.skeleton, stride)
        if "center" in maps:
            return movenet.decode(heatmaps, maps["center"], maps["regression"], maps["offset"], stride)
        return single.decode(heatmaps, stride, smooth=SMOOTH * max(height, width))


def decoder(outputs: Sequence[OutputSpec], skeleton: Skeleton, size: tuple[int, int]) -> Decoder:
    """The decoder for a network with these outputs.

    Heatmaps alone are one person: smoothed, highest cell. With fields they are several people; with centres,
    regressions and offsets the person nearest to the middle.

    Args:
        outputs: the recipe's.
        skeleton: the recipe's.
        size: width and height of the network's input, in pixels.

    Raises:
        RecipeError: no decoder reads such outputs, or their channels are not those of the skeleton.
    """
    last: dict[Meaning, OutputSpec] = {spec.meaning: spec for spec in outputs}
    if frozenset(last) not in (_ONE, _SEVERAL, _CENTRED):
        raise RecipeError(
            f"outputs that mean {', '.join(sorted(last)) or 'nothing'} cannot be read as people",
            fix=f"people are read from {_KNOWN}",
            at=("outputs",),
        )
    joints = len(skeleton.joints)
    least = {"heatmap": joints, "center": 1, "regression": 2 * joints, "offset": 2 * joints}
    if "paf" in last:
        if not skeleton.paf:
            raise RecipeError(
                f"nobody knows which channels of {last['paf'].name} are which limb of {skeleton.name}",
                fix="name a skeleton with part affinity fields under joints, e.g. coco18",
                at=("joints",),
            )
        least["paf"] = 1 + max(max(pair) for pair in skeleton.paf)
    cells = last["heatmap"].nchw[2:]
    for meaning, spec in last.items():
        batch, channels, *rest = spec.nchw
        exact = meaning not in ("heatmap", "paf")
        if batch != 1 or channels < least[meaning] or (exact and channels != least[meaning]) or tuple(rest) != cells:
            raise RecipeError(
                f"output {spec.name} is {list(spec.nchw)} (NCHW), no {meaning} of {skeleton.name}'s {joints} joints",
                fix=f"it has {'' if exact else 'at least '}{least[meaning]} channels of {cells[0]} x {cells[1]} cells,"
                " for one picture; correct its meaning, or joints",
                at=("outputs", list(outputs).index(spec), "meaning"),
            )
    return Decoder(skeleton, last, size)
