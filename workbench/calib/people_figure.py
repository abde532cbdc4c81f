"""One drawn person: a body in clothes, painted from back to front, with the keypoints it really shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from workbench.calib.people_cloth import folds, top_pattern
from workbench.calib.people_head import draw_hair_behind, draw_head, hides_ears
from workbench.calib.people_limbs import draw_arm, draw_leg
from workbench.calib.people_placed import ARM, HEAD, LEG, NECK, TRUNK, Placed
from workbench.calib.people_raster import Canvas, Floats, Owner, Point, tube
from workbench.pose.skeletons import COCO17

# how far behind the middle of the head, in body heights, a landmark may be and still be seen: noses and ears stick out
_FACE = {"nose": -0.01, "l_eye": 0.0, "r_eye": 0.0, "l_ear": -0.02, "r_ear": -0.02}
# trunk: share of the spine from the pelvis up, half width, half depth
_TRUNK = (
    *((-0.2, 0.062, 0.05), (-0.1, 0.09, 0.066), (0.0, 0.097, 0.07), (0.2, 0.09, 0.064), (0.42, 0.084, 0.06)),
    *((0.65, 0.1, 0.068), (0.82, 0.109, 0.066), (0.9, 0.108, 0.056), (0.95, 0.088, 0.046), (0.99, 0.058, 0.04)),
    (1.04, 0.034, 0.034),
)


def draw_person(canvas: Canvas, who: Placed) -> None:
    """Paint `who`, the parts that are further away first."""
    parts: list[tuple[float, Callable[[], None]]] = []
    points, look = who.body.points, who.look
    for side in ("l", "r"):
        thigh = (points[f"{side}_hip"][2] + points[f"{side}_knee"][2]) / 2
        # a leg goes under the shirt, unless it is lifted or the person sits
        parts.append((float(thigh) - 0.06, partial(draw_leg, canvas, who, side)))
        middle = (points[f"{side}_elbow"][2] * 2 + points[f"{side}_wrist"][2]) / 3
        parts.append((float(middle) + 0.035, partial(draw_arm, canvas, who, side)))
    parts.append((-1.0, partial(_hips, canvas, who)))  # under the legs, which continue it
    parts.append((0.0, partial(_shirt, canvas, who)))
    if look.skirt:
        parts.append((-0.001, partial(_skirt, canvas, who)))
    skull = float(points["head"][2])
    head = Owner(who.number, HEAD)
    parts.append((max(0.01, skull) - 0.005, partial(_neck, canvas, who)))
    parts.append((max(0.01, skull), partial(draw_head, canvas, who.body, look, who.at, who.scale, head)))
    behind = -0.02 if who.body.head[2, 2] > -0.15 else max(0.02, skull + 0.01)
    parts.append((behind, partial(draw_hair_behind, canvas, who.body, look, who.at, who.scale, head)))
    for _, paint in sorted(parts, key=lambda part: part[0]):
        paint()


def keypoints(canvas: Canvas, who: Placed) -> list[tuple[float, float, int]]:
    """The COCO-17 keypoints of `who` on the finished canvas: x, y in pixels and 2 seen, 1 hidden, or 0, 0, 0 outside.

    A joint is seen when the pixel at it belongs to a part of this person that has the joint, and, on the head, when its
    place is on the side that faces the viewer.
    """
    found = []
    for name in COCO17.joints:
        point = who.body.points[name]
        x, y = who.at(point)
        column, row = int(np.floor(x)), int(np.floor(y))
        if not (0 <= column < canvas.width and 0 <= row < canvas.height):
            found.append((0.0, 0.0, 0))
            continue
        own = canvas.person[row, column] == who.number and int(canvas.part[row, column]) in _shows(name)
        depth = float(point[2] - who.body.points["head"][2])
        turned_away = name in _FACE and depth < _FACE[name]
        covered = name.endswith("_ear") and hides_ears(who.look)
        found.append((round(x, 2), round(y, 2), 2 if own and not turned_away and not covered else 1))
    return found


def _shows(joint: str) -> tuple[int, ...]:
    """The parts that a joint may be seen on."""
    if joint in _FACE:
        return (HEAD,)
    side, name = joint.split("_")
    if name == "shoulder":
        return (TRUNK, ARM[side])
    if name == "hip":
        return (TRUNK, LEG[side])
    return (ARM[side],) if name in ("elbow", "wrist") else (LEG[side],)


def _trunk(who: Placed) -> tuple[tuple[Point, Point], list[tuple[float, float]]]:
    """The line of the trunk, from the crotch to above the collar, and its half widths as seen from here."""
    look, body = who.look, who.body
    neck = body.points["neck"]
    ends = (who.at(_TRUNK[0][0] * neck), who.at(_TRUNK[-1][0] * neck))
    along = np.array((ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]))
    along /= max(float(np.sqrt((along * along).sum())), 1e-6)
    side = np.array((-along[1], along[0]))
    profile = []
    for share, wide, deep in _TRUNK:
        turned = body.pelvis if share < 0.3 else body.chest
        across = float((turned[:2, 0] * side).sum()) * wide * (look.broad if share > 0.5 else 1.0)
        through = float((turned[:2, 2] * side).sum()) * deep
        half = look.girth * who.scale * float(np.sqrt(across * across + through * through))
        profile.append(((share - _TRUNK[0][0]) / (_TRUNK[-1][0] - _TRUNK[0][0]), half))
    return ends, profile


def _hips(canvas: Canvas, who: Placed) -> None:
    ends, profile = _trunk(who)
    line, widths = _part_of(ends, profile, 0.0, 0.45)
    tube(canvas, line, widths, who.look.bottom, Owner(who.number, TRUNK), caps=(0.4, 0), pattern=folds(0.5))


def _shirt(canvas: Canvas, who: Placed) -> None:
    look, body, owner = who.look, who.body, Owner(who.number, TRUNK)
    ends, profile = _trunk(who)
    line, widths = _part_of(ends, profile, 0.12, 1.0)
    loose = [(share, half + 0.004 * who.scale) for share, half in widths]
    tube(canvas, line, loose, look.top, owner, caps=(0.12, 0), pattern=top_pattern(look, 1.0))
    if body.chest[2, 2] > 0.25:  # seen from the front: skin in the neckline
        dip = body.points["neck"] + body.chest @ np.array((0.0, 0.03, 0.045))
        collar = [(share, half * who.scale) for share, half in ((0, 0.036), (0.6, 0.031), (1, 0.022))]
        tube(canvas, (who.at(body.points["neck"]), who.at(dip)), collar, look.skin, owner, caps=(0, 0.8))


def _part_of(
    ends: tuple[Point, Point], profile: list[tuple[float, float]], low: float, high: float
) -> tuple[tuple[Point, Point], list[tuple[float, float]]]:
    """The piece from `low` to `high` of a line and its half widths."""
    (x0, y0), (x1, y1) = ends
    line = ((x0 + low * (x1 - x0), y0 + low * (y1 - y0)), (x0 + high * (x1 - x0), y0 + high * (y1 - y0)))
    shares = [low, *(share for share, _ in profile if low < share < high), high]
    halves = np.interp(shares, [share for share, _ in profile], [half for _, half in profile]).tolist()
    return line, [((share - low) / (high - low), half) for share, half in zip(shares, halves, strict=True)]


def _skirt(canvas: Canvas, who: Placed) -> None:
    """From the waist to about the knees, around both thighs."""
    points, look = who.body.points, who.look
    waist, hips = 0.22 * points["neck"], points["pelvis"]
    hem = [points[f"{s}_hip"] + min(1.0, look.trouser) * (points[f"{s}_knee"] - points[f"{s}_hip"]) for s in "lr"]
    (ax, ay), (bx, by) = (who.at(end) for end in hem)
    half = 0.078 * who.scale * look.girth
    spread = abs(ax - bx) / 2 + half
    ends = (who.at(waist), ((ax + bx) / 2, max(ay, by)))
    long = max(1e-6, ends[1][1] - ends[0][1])
    middle = min(0.9, max(0.1, (who.at(hips)[1] - ends[0][1]) / long))
    body_half = 0.1 * who.scale * look.girth
    profile = ((0.0, 0.84 * body_half), (middle, max(body_half, 0.3 * spread)), (1.0, spread))
    tube(canvas, ends, profile, look.bottom, Owner(who.number, TRUNK), caps=(0, 0.12), pattern=folds(1.6))


def _neck(canvas: Canvas, who: Placed) -> None:
    points, owner, size = who.body.points, Owner(who.number, NECK), who.scale * who.look.girth
    base = points["neck"] + who.body.chest @ np.array((0.0, 0.012, 0.006))
    profile = ((0, 0.034 * size), (0.3, 0.028 * size), (1, 0.028 * size))
    tube(canvas, (who.at(base), who.at(points["head"])), profile, who.look.skin, owner, pattern=_under_chin)


def _under_chin(share: Floats, _across: Floats) -> Floats:
    """The neck darkens towards the head's shadow."""
    shadow: Floats = (1.0 - 0.28 * share)[..., np.newaxis]
    return shadow
