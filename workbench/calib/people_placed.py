"""A drawn person on its canvas: the body, the look, the place, and the parts a pixel may belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.calib.people_body import Body
from workbench.calib.people_look import Look
from workbench.calib.people_raster import Point

TRUNK, HEAD, NECK = 1, 2, 3
ARM, LEG = {"l": 4, "r": 5}, {"l": 6, "r": 7}


@dataclass(frozen=True)
class Placed:
    """A body on the canvas.

    Attributes:
        number: of the person, from 1.
        x, y: where its pelvis is, in pixels.
        scale: pixels a body height.
    """

    body: Body
    look: Look
    number: int
    x: float
    y: float
    scale: float

    def at(self, point: npt.NDArray[np.float64]) -> Point:
        """Where a point of the body is on the canvas."""
        return self.x + self.scale * float(point[0]), self.y + self.scale * float(point[1])
