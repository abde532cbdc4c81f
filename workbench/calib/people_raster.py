"""A canvas for the drawn people: smooth polygons, tubes and ellipsoids, and a record of who owns which pixel.

Pillow draws shapes too, but not the same pixels in every version. Here coordinates are rounded to 1/64 pixel before
anything is filled, filling and blending are integer arithmetic, and colours are computed by ``+ - * /`` and square root
only, which IEEE 754 defines to the last bit: a seed means one picture everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Point = tuple[float, float]
Colour = tuple[float, float, float]
Paint = Colour | Callable[[Floats, Floats], Floats]
"""A colour, or what gives one (..., 3) for arrays of x and y."""

SAMPLES = 4  # a side of a pixel: 16 levels of coverage
_STEP = 16  # coordinate units from sample to sample
_FULL = SAMPLES * SAMPLES
_LIGHT = (-0.45, -0.65, 0.61)  # from the upper left, in front


@dataclass(frozen=True)
class Owner:
    """Whose pixel it is: a person (counted from 1; 0 is the scenery) and a body part."""

    person: int = 0
    part: int = 0


SCENERY = Owner()


class Canvas:
    """Pixels (H, W, 3) in 0..255 with the owner of each: `person` and `part` (H, W)."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.pixels: Ints = np.zeros((height, width, 3), np.int64)
        self.person: Ints = np.zeros((height, width), np.int64)
        self.part: Ints = np.zeros((height, width), np.int64)

    def fill(self, colours: Floats) -> None:
        """Paint everything with `colours` (H, W, 3), as scenery."""
        self.pixels[:] = _whole(colours)
        self.person[:] = 0
        self.part[:] = 0

    def polygon(self, points: Sequence[Point], paint: Paint, owner: Owner = SCENERY, alpha: float = 1.0) -> None:
        """Fill the outline `points` (non-zero winding, so an outline may cross itself)."""
        found = self._coverage(points)
        if found is None:
            return
        top, left, covered = found
        if callable(paint):
            y, x = np.mgrid[top : top + covered.shape[0], left : left + covered.shape[1]]
            colours = _whole(paint(x + 0.5, y + 0.5))
        else:
            colours = np.broadcast_to(_whole(np.array(paint)), (*covered.shape, 3))
        self._blend(top, left, covered, colours, owner, alpha)

    def ellipsoid(
        self,
        centre: Point,
        axes: Floats,
        texture: Callable[[Floats, Floats], tuple[npt.NDArray[np.bool_], Floats]],
        owner: Owner,
        *,
        far: bool = False,
    ) -> None:
        """Draw an ellipsoid seen along z.

        Args:
            centre: where its centre is on the canvas.
            axes: (3, 3), its columns are the half axes, orthogonal, in pixels: x right, y down, z to the viewer.
            texture: given surface points (h, w, 3) in units of the half axes and their light (h, w), says which of them
                exist and their colour (h, w, 3).
            owner: of its pixels.
            far: show the surface that faces away, as through the front.
        """
        reach_x, reach_y = (float(np.sqrt((axes[row] ** 2).sum())) + 1 for row in (0, 1))
        left, right = _clip(centre[0] - reach_x, centre[0] + reach_x, self.width)
        top, bottom = _clip(centre[1] - reach_y, centre[1] + reach_y, self.height)
        if left >= right or top >= bottom:
            return
        y, x = np.mgrid[top * SAMPLES : bottom * SAMPLES, left * SAMPLES : right * SAMPLES]
        dx, dy = (x + 0.5) / SAMPLES - centre[0], (y + 0.5) / SAMPLES - centre[1]
        lengths = (axes**2).sum(axis=0)  # of orthogonal columns: the inverse is the scaled transpose
        start = [(axes[0, k] * dx + axes[1, k] * dy) / lengths[k] for k in range(3)]
        along = [axes[2, k] / lengths[k] for k in range(3)]
        a = along[0] ** 2 + along[1] ** 2 + along[2] ** 2
        b = start[0] * along[0] + start[1] * along[1] + start[2] * along[2]
        c = start[0] ** 2 + start[1] ** 2 + start[2] ** 2 - 1
        inside = b * b - a * c
        hit = inside >= 0
        root = np.sqrt(np.where(hit, inside, 0))
        z = (-b - root if far else -b + root) / a
        surface = np.stack([start[k] + z * along[k] for k in range(3)], axis=-1)
        normal = [sum(axes[row, k] / lengths[k] * surface[..., k] for k in range(3)) for row in range(3)]
        size = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2) + 1e-12
        facing = (normal[0] * _LIGHT[0] + normal[1] * _LIGHT[1] + normal[2] * _LIGHT[2]) / size
        exists, colours = texture(surface, facing)
        counted = (hit & exists).astype(np.int64)
        covered = _boxes(counted)
        summed = np.stack([_boxes(counted * channel) for channel in np.moveaxis(_whole(colours), -1, 0)], axis=-1)
        self._blend(top, left, covered, summed // np.maximum(covered, 1)[..., np.newaxis], owner, 1.0)

    def _blend(self, top: int, left: int, covered: Ints, colours: Ints, owner: Owner, alpha: float) -> None:
        bottom, right = top + covered.shape[0], left + covered.shape[1]
        weight = (covered * round(alpha * 16))[..., np.newaxis]  # 0..256
        here = self.pixels[top:bottom, left:right]
        here[:] = (here * (256 - weight) + colours * weight + 128) >> 8
        if alpha > 0.5:
            owned = covered * 2 >= _FULL
            self.person[top:bottom, left:right][owned] = owner.person
            self.part[top:bottom, left:right][owned] = owner.part

    def _coverage(self, points: Sequence[Point]) -> tuple[int, int, Ints] | None:
        """Top row, left column and coverage 0..16 of the box around `points` on the canvas; None when outside."""
        corners = np.rint(np.array(points, np.float64) * (SAMPLES * _STEP)).astype(np.int64)
        pixel = SAMPLES * _STEP
        left, right = _clip(corners[:, 0].min() / pixel, corners[:, 0].max() / pixel, self.width)
        top, bottom = _clip(corners[:, 1].min() / pixel, corners[:, 1].max() / pixel, self.height)
        if left >= right or top >= bottom:
            return None
        turns = np.zeros(((bottom - top) * SAMPLES, (right - left) * SAMPLES + 1), np.int64)
        corners -= (left * pixel, top * pixel)
        for (x0, y0), (x1, y1) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
            winding = 1
            if y1 < y0:
                x0, y0, x1, y1, winding = x1, y1, x0, y0, -1
            half = _STEP // 2
            first = max(0, -((half - y0) // _STEP))  # rows whose sample line half + row * step lies in [y0, y1)
            last = min(turns.shape[0], -((half - y1) // _STEP))
            if first >= last:
                continue
            rows = np.arange(first, last)
            crossing = (x0 - half) * (y1 - y0) + (rows * _STEP + half - y0) * (x1 - x0)
            columns = -((-crossing) // (_STEP * (y1 - y0)))  # first sample at or right of the edge
            turns[rows, np.clip(columns, 0, turns.shape[1] - 1)] += winding
        inside = np.cumsum(turns[:, :-1], axis=1) != 0
        return top, left, _boxes(inside.astype(np.int64))


def tube(
    canvas: Canvas,
    ends: tuple[Point, Point],
    profile: Sequence[tuple[float, float]],
    colour: Colour,
    owner: Owner,
    *,
    caps: tuple[float, float] = (1.0, 1.0),
    pattern: Callable[[Floats, Floats], Floats] | None = None,
) -> None:
    """Draw a limb: a rounded, lit shape along a line.

    Args:
        canvas: what to draw on.
        ends: where the line starts and ends.
        profile: (share of the way, half width in pixels), ascending from 0 to 1.
        colour: in the light.
        owner: of its pixels.
        caps: how far the two ends bulge, in half widths; 0 cuts them off.
        pattern: given the share of the way and the side (-1..1), a factor (..., 1 or 3) on the colour.
    """
    (x0, y0), (x1, y1) = ends
    dx, dy = x1 - x0, y1 - y0
    length = float(np.sqrt(dx * dx + dy * dy))
    ux, uy = (dx / length, dy / length) if length > 1e-6 else (0.0, 1.0)
    shares, widths = [share for share, _ in profile], [width for _, width in profile]
    fine = np.linspace(0, 1, 17)
    half = np.interp(fine, shares, widths).tolist()
    side = [(x0 + dx * t, y0 + dy * t, w) for t, w in zip(fine.tolist(), half, strict=True)]
    outline = [(x - uy * w, y + ux * w) for x, y, w in side]
    outline += [(x1 - p * half[-1] * uy + q * ux, y1 + p * half[-1] * ux + q * uy) for p, q in _cap(half[-1] * caps[1])]
    outline += [(x + uy * w, y - ux * w) for x, y, w in reversed(side)]
    outline += [(x0 + p * half[0] * uy - q * ux, y0 - p * half[0] * ux - q * uy) for p, q in _cap(half[0] * caps[0])]
    long_enough = max(length, 1e-6)

    def paint(x: Floats, y: Floats) -> Floats:
        share = np.clip(((x - x0) * ux + (y - y0) * uy) / long_enough, 0, 1)
        across = ((y - y0) * ux - (x - x0) * uy) / np.maximum(np.interp(share, shares, widths), 1e-6)
        across = np.clip(across, -1, 1)
        up = np.sqrt(1 - across * across)
        facing = (-uy * across) * _LIGHT[0] + ux * across * _LIGHT[1] + up * _LIGHT[2]
        shade = brightness(facing)[..., np.newaxis] * np.array(colour)
        lit: Floats = shade if pattern is None else shade * pattern(share, across)
        return lit

    canvas.polygon(outline, paint, owner)


def brightness(facing: Floats) -> Floats:
    """How bright a surface is whose normal has the cosine `facing` to the light."""
    lit: Floats = 0.62 + 0.44 * np.clip(facing, -0.35, 1)
    return lit


def ellipse(centre: Point, half: tuple[float, float], corners: int = 40) -> list[Point]:
    """The outline of an upright ellipse."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return [(centre[0] + half[0] * float(np.cos(a)), centre[1] + half[1] * float(np.sin(a))) for a in angles]


def _cap(bulge: float) -> list[tuple[float, float]]:
    """A half ellipse from side 1 to side -1: (side, how far out)."""
    if bulge == 0:
        return []
    return [(1 - 2 * k / 8, bulge * float(np.sqrt(1 - (1 - 2 * k / 8) ** 2))) for k in range(1, 8)]


def _boxes(samples: Ints) -> Ints:
    """Sums over the samples of each pixel."""
    rows, columns = samples.shape[0] // SAMPLES, samples.shape[1] // SAMPLES
    sums: Ints = samples.reshape(rows, SAMPLES, columns, SAMPLES).sum(axis=(1, 3))
    return sums


def _clip(low: float, high: float, size: int) -> tuple[int, int]:
    return max(0, int(np.floor(low))), min(size, int(np.ceil(high)))


def _whole(colours: Floats) -> Ints:
    return np.clip(np.rint(colours), 0, 255).astype(np.int64)
