"""Bodies of the drawn people: a kinematic tree with human proportions, posed within human limits, in three dimensions.

Coordinates are in units of the body's height, from the pelvis: x to the viewer's right, y down, z to the viewer. A
person faces the viewer at yaw 0, so that the person's left is at positive x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from workbench.calib.people_dice import Dice

Vector = npt.NDArray[np.float64]
Points = dict[str, Vector]
Range = tuple[float, float]
LEFT, RIGHT = 1.0, -1.0

THIGH, SHIN, FOOT, UPPER_ARM, FOREARM, HAND = 0.245, 0.235, 0.125, 0.168, 0.145, 0.085
SPINE, NECK, HEAD = 0.295, 0.045, 0.072
HEAD_AXES = (0.052, 0.073, 0.062)  # half width, half height, half depth
CAMERA_PITCH = 7.0  # the camera looks slightly down: toes of a frontal person point down


@dataclass(frozen=True)
class Limb:
    """Ranges, in degrees, of an arm or a leg.

    Attributes:
        out: raised sideways, away from the other side.
        forward: raised to the front.
        bend: of the elbow or the knee; 0 is straight.
        turn: where the forearm bends to: 0 forward, 90 inward, -90 outward (of a hanging arm). A knee bends back.
    """

    out: Range = (6, 16)
    forward: Range = (-8, 10)
    bend: Range = (4, 25)
    turn: Range = (-10, 30)


@dataclass(frozen=True)
class Stance:
    """A kind of pose as ranges; `mirrored` poses may swap left and right."""

    left_arm: Limb = Limb()
    right_arm: Limb = Limb()
    left_leg: Limb = Limb(out=(1, 6), forward=(-3, 3), bend=(0, 5))
    right_leg: Limb = Limb(out=(1, 6), forward=(-3, 3), bend=(0, 5))
    lean: Range = (-3, 6)
    tilt: Range = (-4, 4)
    twist: Range = (-12, 12)
    yaw: Range = (-35, 35)
    seated: bool = False


_STILL_LEG = Limb(out=(1, 6), forward=(-3, 3), bend=(0, 5))
_WIDE_LEG = Limb(out=(10, 20), forward=(-3, 8), bend=(0, 12))
_AKIMBO = Limb(out=(38, 50), forward=(-18, -4), bend=(88, 104), turn=(70, 92))
_UP = Limb(out=(135, 168), forward=(-5, 10), bend=(5, 45), turn=(60, 100))
_SIDE = Limb(out=(72, 100), forward=(-8, 8), bend=(0, 22), turn=(-60, 60))
_WAVE = Limb(out=(65, 95), forward=(-5, 15), bend=(75, 125), turn=(-105, -75))
_FRONT = Limb(out=(5, 25), forward=(50, 95), bend=(5, 60), turn=(20, 90))
_FOLDED = Limb(out=(8, 16), forward=(18, 32), bend=(92, 108), turn=(58, 72))
_SWING_AHEAD = Limb(out=(5, 12), forward=(18, 42), bend=(20, 70), turn=(0, 25))
_SWING_BACK = Limb(out=(5, 12), forward=(-40, -15), bend=(10, 45), turn=(0, 25))
_STEP_AHEAD = Limb(out=(1, 5), forward=(18, 34), bend=(4, 18))
_STEP_BACK = Limb(out=(1, 5), forward=(-24, -10), bend=(8, 30))
_SEAT = Limb(out=(4, 18), forward=(78, 92), bend=(78, 100))
_LAP = Limb(out=(6, 14), forward=(22, 36), bend=(45, 62), turn=(10, 40))

STANCES: Mapping[str, Stance] = {
    "standing": Stance(),
    "akimbo": Stance(left_arm=_AKIMBO, right_arm=_AKIMBO, left_leg=_WIDE_LEG, right_leg=_WIDE_LEG),
    "arms_up": Stance(left_arm=_UP, right_arm=_UP, left_leg=_WIDE_LEG, right_leg=_WIDE_LEG),
    "arms_wide": Stance(left_arm=_SIDE, right_arm=_SIDE, left_leg=_WIDE_LEG, right_leg=_WIDE_LEG),
    "waving": Stance(right_arm=_WAVE),
    "pointing": Stance(left_arm=_SIDE, right_arm=_AKIMBO),
    "reaching": Stance(left_arm=_UP, right_arm=_FRONT, right_leg=_STEP_AHEAD, tilt=(-12, -2)),
    "folded": Stance(left_arm=_FOLDED, right_arm=_FOLDED),
    "walking": Stance(_SWING_AHEAD, _SWING_BACK, _STEP_BACK, _STEP_AHEAD, yaw=(30, 80)),
    "striding": Stance(_SWING_BACK, _SWING_AHEAD, _STEP_AHEAD, _STEP_BACK, yaw=(-80, -30)),
    "running": Stance(
        Limb(out=(8, 15), forward=(25, 50), bend=(75, 100), turn=(5, 30)),
        Limb(out=(8, 15), forward=(-50, -25), bend=(75, 100), turn=(5, 30)),
        Limb(out=(1, 5), forward=(-25, -5), bend=(50, 95)),
        Limb(out=(1, 5), forward=(45, 70), bend=(55, 85)),
        lean=(8, 18),
        yaw=(35, 85),
    ),
    "lunge": Stance(_AKIMBO, _SIDE, Limb((2, 8), (45, 60), (55, 75)), Limb((2, 8), (-35, -20), (10, 35)), yaw=(25, 75)),
    "squat": Stance(_FRONT, _FRONT, Limb((18, 30), (60, 80), (85, 105)), Limb((18, 30), (60, 80), (85, 105)), (18, 30)),
    "one_leg": Stance(_SIDE, _SIDE, _STILL_LEG, Limb((18, 40), (20, 55), (70, 115)), tilt=(-6, 6)),
    "kick": Stance(_SIDE, _SWING_BACK, _STILL_LEG, Limb((5, 20), (45, 75), (5, 25)), lean=(-12, -3), yaw=(15, 60)),
    "star": Stance(_UP, _UP, Limb((20, 32), (-3, 5), (0, 8)), Limb((20, 32), (-3, 5), (0, 8))),
    "sitting": Stance(_LAP, _LAP, _SEAT, _SEAT, yaw=(-75, 75), seated=True),
    "from_behind": Stance(right_arm=_UP, yaw=(150, 210)),
}


@dataclass(frozen=True)
class Body:
    """A posed body.

    Attributes:
        points: joints and other landmarks by name (``l_wrist``, ``neck``, ``head``...), in units of the height.
        pelvis: columns are the pelvis's left, down and front directions.
        chest: the same for the chest.
        head: the same for the head.
        seated: whether it sits, so that something must be under it.
    """

    points: Points
    pelvis: Vector
    chest: Vector
    head: Vector
    seated: bool = False
    broad: float = field(default=1.0)


def pose(dice: Dice, stance: Stance, *, broad: float = 1.0) -> Body:
    """A body in a random pose of `stance`; `broad` widens shoulders and hips."""
    mirror = dice.chance(0.5)
    yaw = dice.between(*stance.yaw) * (-1 if mirror else 1)
    camera = _about_x(CAMERA_PITCH)
    pelvis = camera @ _about_y(yaw)
    trunk = pelvis @ _about_z(dice.between(*stance.tilt)) @ _about_x(dice.between(*stance.lean))
    chest = trunk @ _about_y(dice.between(*stance.twist))
    head = chest @ _about_y(dice.between(-28, 28)) @ _about_x(dice.between(-10, 14)) @ _about_z(dice.between(-9, 9))
    points: Points = {"pelvis": np.zeros(3)}
    points["neck"] = trunk @ _vector(0, -SPINE, 0)
    points["skull"] = points["neck"] + chest @ _vector(0, -NECK, 0.008)
    points["head"] = points["skull"] + head @ _vector(0, -HEAD * 0.86, 0.012)
    limbs = (stance.left_arm, stance.left_leg, stance.right_arm, stance.right_leg)
    if mirror:
        limbs = limbs[2:] + limbs[:2]
    for name, side, arm, leg in (("l", LEFT, *limbs[:2]), ("r", RIGHT, *limbs[2:])):
        _arm(points, name, side, chest, dice, arm, broad)
        _leg(points, name, side, pelvis, dice, leg, broad)
    return Body(points | _face(points["head"], head), pelvis, chest, head, stance.seated, broad)


def _arm(points: Points, name: str, side: float, chest: Vector, dice: Dice, limb: Limb, broad: float) -> None:
    out = dice.between(*limb.out)
    upper, ahead, inward = _swing(side, out, dice.between(*limb.forward))
    turn, bend = math.radians(dice.between(*limb.turn)), math.radians(dice.between(*limb.bend))
    lower = math.cos(bend) * upper + math.sin(bend) * (math.cos(turn) * ahead + math.sin(turn) * inward)
    lift = 0.028 * max(0.0, out - 60) / 100  # a raised arm lifts its shoulder
    points[f"{name}_shoulder"] = points["neck"] + chest @ _vector(side * 0.1 * broad, 0.03 - lift, 0)
    points[f"{name}_elbow"] = points[f"{name}_shoulder"] + chest @ (UPPER_ARM * upper)
    points[f"{name}_wrist"] = points[f"{name}_elbow"] + chest @ (FOREARM * lower)
    points[f"{name}_hand"] = points[f"{name}_wrist"] + chest @ (HAND * _unit(lower + 0.15 * inward))


def _leg(points: Points, name: str, side: float, pelvis: Vector, dice: Dice, limb: Limb, broad: float) -> None:
    thigh, ahead, _ = _swing(side, dice.between(*limb.out), dice.between(*limb.forward))
    bend, point = math.radians(dice.between(*limb.bend)), math.radians(dice.between(4, 16))
    shin = math.cos(bend) * thigh - math.sin(bend) * ahead
    toes = math.sin(bend) * thigh + math.cos(bend) * ahead
    foot = _unit(math.cos(point) * toes + math.sin(point) * shin + side * dice.between(0.05, 0.35) * _vector(1, 0, 0))
    points[f"{name}_hip"] = pelvis @ _vector(side * 0.056 * broad, 0.012, 0)
    points[f"{name}_knee"] = points[f"{name}_hip"] + pelvis @ (THIGH * thigh)
    points[f"{name}_ankle"] = points[f"{name}_knee"] + pelvis @ (SHIN * shin)
    points[f"{name}_heel"] = points[f"{name}_ankle"] + pelvis @ (0.03 * shin - 0.028 * foot)
    points[f"{name}_toe"] = points[f"{name}_heel"] + pelvis @ (FOOT * foot)


def _face(centre: Vector, head: Vector) -> Points:
    """Landmarks on the head: (share of the half width, of the half height), on its front."""
    found = {}
    for name, x, y in (("nose", 0.0, 0.2), ("l_eye", 0.36, -0.08), ("r_eye", -0.36, -0.08)):
        out = math.sqrt(1 - x * x - y * y) + (0.16 if name == "nose" else 0)
        found[name] = centre + head @ (_vector(x, y, out) * HEAD_AXES)
    for name, side in (("l_ear", LEFT), ("r_ear", RIGHT)):
        found[name] = centre + head @ (_vector(side, 0.06, -0.08) * HEAD_AXES)
    found["head_top"] = centre + head @ (_vector(0, -1, 0) * HEAD_AXES)
    found["chin"] = centre + head @ (_vector(0, 0.97, 0.2) * HEAD_AXES)
    return found


def _swing(side: float, out: float, forward: float) -> tuple[Vector, Vector, Vector]:
    """A limb raised by `out` and `forward` degrees: its direction, its front and its inner side, each of length 1."""
    so, co = math.sin(math.radians(out)), math.cos(math.radians(out))
    sf, cf = math.sin(math.radians(forward)), math.cos(math.radians(forward))
    return _vector(side * so, co * cf, co * sf), _vector(0, -sf, cf), _vector(-side * co, so * cf, so * sf)


def _vector(x: float, y: float, z: float) -> Vector:
    return np.array((x, y, z), np.float64)


def _unit(vector: Vector) -> Vector:
    return vector / math.sqrt(float((vector * vector).sum()))


def _about_x(degrees: float) -> Vector:
    """Positive leans the top to the front."""
    s, c = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return np.array(((1, 0, 0), (0, c, s), (0, -s, c)))


def _about_y(degrees: float) -> Vector:
    """Positive turns the front to the viewer's right."""
    s, c = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)))


def _about_z(degrees: float) -> Vector:
    """Positive leans the top to the viewer's right."""
    s, c = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return np.array(((c, -s, 0), (s, c, 0), (0, 0, 1)))
