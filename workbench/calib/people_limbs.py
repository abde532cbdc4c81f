"""The limbs of the drawn people: flesh, sleeves and trousers over it, hands and shoes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.calib.people_body import LEFT, RIGHT
from workbench.calib.people_cloth import Pattern, folds, top_pattern
from workbench.calib.people_placed import ARM, LEG, Placed
from workbench.calib.people_raster import Canvas, Colour, Owner, tube

Vector = npt.NDArray[np.float64]
Profile = tuple[tuple[float, float], ...]

# half widths along the way, in body heights: the flesh, to which cloth adds a little
_UPPER_ARM = ((0.0, 0.028), (0.2, 0.0315), (0.7, 0.027), (1.0, 0.024))
_FOREARM = ((0.0, 0.024), (0.25, 0.026), (0.7, 0.02), (1.0, 0.0155))
_THIGH = ((0.0, 0.058), (0.35, 0.053), (0.75, 0.042), (1.0, 0.036))
_SHIN = ((0.0, 0.035), (0.28, 0.038), (0.65, 0.028), (1.0, 0.021))


def draw_arm(canvas: Canvas, who: Placed, side: str) -> None:
    """The arm on `side`, "l" or "r", from the hand up."""
    points, look, owner = who.body.points, who.look, Owner(who.number, ARM[side])
    shoulder, elbow, wrist, hand = (points[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist", "hand"))
    _hand(canvas, who, wrist, hand, side, owner)
    _segment(canvas, who, elbow, wrist, _FOREARM, look.skin, owner)
    if look.sleeve > 1:
        _sleeve(canvas, who, elbow, wrist, _FOREARM, look.sleeve - 1, look.top, owner)
    _segment(canvas, who, shoulder, elbow, _UPPER_ARM, look.skin, owner)
    if look.sleeve > 0:
        pattern = top_pattern(look, 0.55) if look.sleeve > 1 else top_pattern(look, 0.4)
        _sleeve(canvas, who, shoulder, elbow, _UPPER_ARM, min(1.0, look.sleeve), look.top, owner, pattern)


def draw_leg(canvas: Canvas, who: Placed, side: str) -> None:
    """The leg on `side`, "l" or "r", the part that is further away first."""
    points, look, owner = who.body.points, who.look, Owner(who.number, LEG[side])
    hip, knee, ankle = (points[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
    lower_first = knee[2] >= ankle[2]
    cloth = 0.0 if look.skirt else look.trouser

    def shin() -> None:
        _foot(canvas, who, side, owner)
        _segment(canvas, who, knee, ankle, _SHIN, look.skin, owner)
        if cloth > 1:
            _sleeve(canvas, who, knee, ankle, _SHIN, cloth - 1, look.bottom, owner)

    def thigh() -> None:
        _segment(canvas, who, hip, knee, _THIGH, look.skin, owner)
        if cloth > 0:
            _sleeve(canvas, who, hip, knee, _THIGH, min(1.0, cloth), look.bottom, owner)

    for paint in (shin, thigh) if lower_first else (thigh, shin):
        paint()


def _hand(canvas: Canvas, who: Placed, wrist: Vector, hand: Vector, side: str, owner: Owner) -> None:
    """A palm, four fingers side by side and a thumb."""
    start, end = who.at(wrist), who.at(hand)
    size = who.scale * who.look.girth**0.5
    ux, uy = end[0] - start[0], end[1] - start[1]
    middle = (start[0] + 0.45 * ux, start[1] + 0.45 * uy)
    length = max(float(np.sqrt(ux * ux + uy * uy)), 1e-6)
    nx, ny = -uy / length * size, ux / length * size
    skin = who.look.skin
    for k in (-1.5, -0.5, 0.5, 1.5):
        root = (middle[0] + nx * 0.0062 * k, middle[1] + ny * 0.0062 * k)
        reach = 0.95 - 0.06 * abs(k)
        tip = (start[0] + reach * ux + nx * 0.0082 * k, start[1] + reach * uy + ny * 0.0082 * k)
        tube(canvas, (root, tip), ((0, 0.0046 * size), (1, 0.0038 * size)), skin, owner)
    turn = (LEFT if side == "l" else RIGHT) * (1 if who.body.chest[2, 2] > 0 else -1)
    out = (start[0] + 0.55 * ux + turn * nx * 0.024, start[1] + 0.55 * uy + turn * ny * 0.024)
    base = (start[0] + 0.15 * ux, start[1] + 0.15 * uy)
    tube(canvas, (base, out), ((0, 0.007 * size), (1, 0.0045 * size)), skin, owner)
    palm = ((0, 0.0145 * size), (0.7, 0.0165 * size), (1, 0.0145 * size))
    tube(canvas, (start, middle), palm, skin, owner, caps=(1, 0.5))


def _foot(canvas: Canvas, who: Placed, side: str, owner: Owner) -> None:
    """A shoe: sole, upper and an ankle."""
    points, shoe, size = who.body.points, who.look.shoe, who.scale
    heel, toe, ankle = (points[f"{side}_{name}"] for name in ("heel", "toe", "ankle"))
    down = np.array((0.0, 0.012, 0.0))
    sole: Colour = (58, 54, 52) if sum(shoe) > 300 else (210, 206, 200)
    tube(canvas, (who.at(heel + down), who.at(toe + down)), ((0, 0.018 * size), (1, 0.02 * size)), sole, owner)
    tube(canvas, (who.at(ankle), who.at(heel)), ((0, 0.021 * size), (1, 0.024 * size)), shoe, owner)
    tube(canvas, (who.at(heel), who.at(toe)), ((0, 0.024 * size), (0.6, 0.024 * size), (1, 0.018 * size)), shoe, owner)


def _segment(
    canvas: Canvas,
    who: Placed,
    start: Vector,
    end: Vector,
    profile: Profile,
    colour: Colour,
    owner: Owner,
) -> None:
    grown = who.scale * who.look.girth
    tube(canvas, (who.at(start), who.at(end)), [(share, half * grown) for share, half in profile], colour, owner)


def _sleeve(
    canvas: Canvas,
    who: Placed,
    start: Vector,
    end: Vector,
    profile: Profile,
    cover: float,
    colour: Colour,
    owner: Owner,
    pattern: Pattern | None = None,
) -> None:
    """Cloth over the first `cover` of a segment."""
    shares = [0.0, *(share * cover for share in (0.33, 0.66, 1.0))]
    widths = np.interp(shares, [share for share, _ in profile], [half for _, half in profile])
    loose = [0.004, 0.006, 0.007, 0.008 if cover < 0.8 else 0.006]
    grown = who.scale * who.look.girth
    fitted = [(s / cover, (float(w) + e) * grown) for s, w, e in zip(shares, widths, loose, strict=True)]
    stop = start + cover * (end - start)
    cap = 1.0 if cover >= 0.999 else 0.15
    tube(canvas, (who.at(start), who.at(stop)), fitted, colour, owner, caps=(1.0, cap), pattern=pattern or folds(0.6))
