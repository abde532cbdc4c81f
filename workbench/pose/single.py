"""Heatmaps of a single person (CPM, hourglass) as joints: smooth, then the highest cell of every channel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.pose.heatmaps import peaks
from workbench.pose.person import Person, pixels

PRESENT = 0.1  # a lower peak is no joint: heatmaps are trained to be 1 at one


def decode(
    heatmaps: npt.NDArray[np.floating], stride: tuple[float, float], *, smooth: float = 0.0, present: float = PRESENT
) -> list[Person]:
    """The person in one picture; nobody when no joint is found.

    Args:
        heatmaps: (J, H, W), background left out.
        stride: input pixels a cell, across and down.
        smooth: sigma in cells of the Gaussian applied before the arg-max; the authors of CPM score with 5 at 96 cells.
        present: the lowest confidence of a joint.

    Raises:
        ToolError: a value is not finite.
    """
    found = peaks(heatmaps, smooth=smooth).astype(np.float64)
    here = found[:, 2] >= present
    if not here.any():
        return []
    joints = pixels(found[:, :2], stride)
    joints[~here] = np.nan
    return [Person(joints, np.where(here, found[:, 2], 0.0))]
