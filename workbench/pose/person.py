"""What every decoder answers: people, each with a place and a confidence for every joint of the skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Person:
    """One person.

    Attributes:
        joints: (J, 2) float64, x and y in pixels of the network's input, the origin at the corner of the top left one;
            NaN where a joint was not found.
        confidence: (J,) float64, 0 where a joint was not found.
        score: what people are ranked by: the mean confidence of the joints that were found.
    """

    joints: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(J,) which joints were found."""
        return np.asarray(np.isfinite(self.joints).all(axis=1))

    @property
    def score(self) -> float:
        """Mean confidence of the found joints, 0 without any."""
        found = self.found
        return float(self.confidence[found].mean()) if found.any() else 0.0


def pixels(cells: npt.NDArray[np.floating], stride: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Places (..., 2) in cells of a heatmap, counted from the centre of the first, as pixels of the input.

    The centre of cell i covers input pixels ``i * stride`` to ``(i + 1) * stride``, so it stands for their middle.
    """
    return (np.asarray(cells, np.float64) + 0.5) * stride
