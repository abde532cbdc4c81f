"""MoveNet's four maps as the joints of the person nearest to the middle of the picture.

The person's centre is the highest cell of the centre map; from it the regression points roughly at every joint; near
there the heatmap decides on a cell, and the offset map says where inside that cell. Constants: movenet.pytorch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.errors import ToolError
from workbench.pose.person import Person

PRESENT = 0.1
_NEAR = 1.8  # cells; added to the distance that a heatmap is divided by, so that a peak next to the rough place wins

Maps = npt.NDArray[np.floating]


def decode(
    heatmaps: Maps,
    centers: Maps,
    regressions: Maps,
    offsets: Maps,
    stride: tuple[float, float],
    present: float = PRESENT,
) -> list[Person]:
    """The person in one picture; nobody when no joint is found.

    Args:
        heatmaps: (J, H, W).
        centers: (1, H, W).
        regressions: (2 J, H, W): x and y of joint j, in cells from the centre, are channels 2 j and 2 j + 1.
        offsets: (2 J, H, W): likewise, in cells from the top left corner of the joint's cell.
        stride: input pixels a cell, across and down.
        present: the lowest confidence of a joint.

    Raises:
        ValueError: the maps do not fit each other.
        ToolError: a value is not finite.
    """
    joints, height, width = heatmaps.shape
    if centers.shape != (1, height, width) or {regressions.shape, offsets.shape} != {(2 * joints, height, width)}:
        raise ValueError(f"{heatmaps.shape}, {centers.shape}, {regressions.shape}, {offsets.shape} are no four maps")
    for name, maps in (("heatmap", heatmaps), ("center", centers), ("regression", regressions), ("offset", offsets)):
        if not np.isfinite(maps).all():
            raise ToolError(
                f"the {name} output holds values that are not finite",
                fix="the network that made it is broken; compare its layers with workbench parity",
            )
    down, across = np.mgrid[:height, :width].astype(np.float64)
    centre = np.unravel_index((centers[0] * _middle(height, width)).argmax(), (height, width))
    rough = np.floor(regressions[:, centre[0], centre[1]].reshape(joints, 2) + 0.5) + np.array(centre[::-1])
    far = np.hypot(across - rough[:, 0, None, None], down - rough[:, 1, None, None]) + _NEAR
    cells = (heatmaps / far).reshape(joints, -1).argmax(axis=1)
    rows, columns = np.divmod(cells, width)
    each = np.arange(joints)
    confidence = heatmaps[each, rows, columns].astype(np.float64)
    inside = np.stack([offsets[2 * each + axis, rows, columns] for axis in (0, 1)], axis=1)
    here = confidence >= present
    if not here.any():
        return []
    places = (np.stack([columns, rows], axis=1) + inside.astype(np.float64)) * stride
    places[~here] = np.nan
    return [Person(places, np.where(here, confidence, 0.0))]


def _middle(height: int, width: int) -> npt.NDArray[np.float64]:
    """A weight for every cell that falls from the middle of the picture: of several people the one there is meant."""
    y = np.linspace(-1, 1, height)[:, None]
    x = np.linspace(-1, 1, width)[None, :]
    return 1 / (1 + x * x + y * y)
