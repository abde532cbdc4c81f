"""Skeletons: which joint each heatmap channel means, and which joints a limb connects."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from workbench.errors import RecipeError


@dataclass(frozen=True)
class Skeleton:
    """The joints of a pose network.

    Attributes:
        name: what a recipe writes under `joints`.
        joints: names in the order of the heatmap channels, without the background channel that some networks append.
        limbs: pairs of indices into `joints`, from the limb's start to its end.
        paf: for each limb, the channels (x, y) of its part affinity field; empty when the network has none.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    paf: tuple[tuple[int, int], ...] = ()

    def index(self, joint: str) -> int:
        """The channel of `joint`; ValueError when the skeleton has no such joint."""
        return self.joints.index(joint)


COCO17 = Skeleton(
    name="coco17",
    joints=(
        *("nose", "l_eye", "r_eye", "l_ear", "r_ear", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow"),
        *("l_wrist", "r_wrist", "l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle"),
    ),
    limbs=(
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
        *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
)

COCO18 = Skeleton(
    name="coco18",
    joints=(
        *("nose", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist"),
        *("r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle", "r_eye", "l_eye", "r_ear", "l_ear"),
    ),
    limbs=(
        *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
        *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (2, 16), (5, 17)),
    ),
    paf=(
        *((12, 13), (20, 21), (14, 15), (16, 17), (22, 23), (24, 25), (0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)),
        *((28, 29), (30, 31), (34, 35), (32, 33), (36, 37), (18, 19), (26, 27)),
    ),
)

AI_CHALLENGER14 = Skeleton(
    name="ai_challenger14",
    joints=(
        *("head_top", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist"),
        *("r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle"),
    ),
    limbs=(
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (1, 5),
        (5, 6),
        (6, 7),
        (1, 8),
        (8, 9),
        (9, 10),
        (1, 11),
        (11, 12),
        (12, 13),
    ),
)

SKELETONS = {entry.name: entry for entry in (COCO17, COCO18, AI_CHALLENGER14)}


def skeleton(name: str) -> Skeleton:
    """The skeleton that a recipe calls `name`.

    Raises:
        RecipeError: there is none; the message names the near miss, or all of them.
    """
    if name in SKELETONS:
        return SKELETONS[name]
    near = difflib.get_close_matches(name, SKELETONS, n=1)
    known = ", ".join(SKELETONS)
    raise RecipeError(
        f"no skeleton called {name!r}",
        fix=f"did you mean {near[0]!r}?  (known: {known})" if near else f"write one of: {known}",
        at=("joints",),
    )
