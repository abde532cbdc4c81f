"""One picture of drawn people: a place, one to four of them in it, and what covers them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.calib.people_body import STANCES, Body, pose
from workbench.calib.people_dice import Dice
from workbench.calib.people_figure import draw_person, keypoints
from workbench.calib.people_look import random_look
from workbench.calib.people_placed import Placed
from workbench.calib.people_raster import Canvas
from workbench.calib.people_scene import SCENES, draw_scene, expose
from workbench.calib.people_things import draw_foreground, draw_seat, draw_shadow

SIZES = ((512, 384), (384, 512), (448, 448), (512, 384))
_CROWD = (1, 1, 2, 1, 3, 1, 2, 4)  # people in picture n, n modulo 8
_FEWEST = 150  # pixels a person must show to be counted


@dataclass(frozen=True)
class Person:
    """One annotated person.

    Attributes:
        keypoints: COCO-17, each x, y in pixels and 2 seen, 1 hidden, 0 outside.
        box: x, y, width, height around the pixels that show the person.
        area: how many those are.
    """

    keypoints: tuple[tuple[float, float, int], ...]
    box: tuple[int, int, int, int]
    area: int


@dataclass(frozen=True)
class Picture:
    """A finished picture.

    Attributes:
        pixels: uint8 (H, W, 3) RGB.
        owner: int (H, W), the person each pixel shows: 1 for the first of `people`, 0 for nobody.
        people: those who show enough of themselves.
    """

    pixels: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int64]
    people: tuple[Person, ...]


def draw_picture(seed: int, number: int) -> Picture:
    """Picture `number` of the set that `seed` means; independent of all others, the same on every run."""
    dice = Dice(seed, number)
    width, height = SIZES[number % len(SIZES)]
    canvas = Canvas(width, height)
    ground = draw_scene(canvas, dice, SCENES[number % len(SCENES)])
    placed = _arrange(canvas, dice, number, ground)
    for who in placed:
        _draw_on_ground(canvas, dice, who)
    if number % 4 == 2:
        draw_foreground(canvas, dice)
    found = [(who, *_extent(canvas, who.number)) for who in placed]
    shown = [(who, box, area) for who, box, area in found if area >= _FEWEST]
    people = tuple(Person(tuple(keypoints(canvas, who)), box, area) for who, box, area in shown)
    owner = np.zeros_like(canvas.person)
    for index, (who, _, _) in enumerate(shown, 1):
        owner[canvas.person == who.number] = index
    expose(canvas, dice, 3 if number % 5 == 3 else 0)
    return Picture(canvas.pixels.astype(np.uint8), owner, people)


def _arrange(canvas: Canvas, dice: Dice, number: int, ground: float) -> list[Placed]:
    """Who stands where, the farthest first."""
    count = _CROWD[number % len(_CROWD)]
    names = sorted(STANCES)
    cut = number % 8 == 5  # a close view, which the frame cuts
    found = []
    for index in range(count):
        stance = STANCES[names[(number * 7 + index * 5) % len(names)]]
        look = random_look(dice, may_wear_skirt=max(stance.left_leg.forward[1], stance.right_leg.forward[1]) < 40)
        body = pose(dice, stance, broad=look.broad)
        high, low, left, right = _reach(body)
        room = canvas.height * (0.94 if count == 1 else 0.82)
        scale = room * dice.between(0.78 if count < 3 else 0.62, 1.0) / (low - high)
        scale = min(scale, canvas.width * (1.0 if count == 1 else 0.72) / (right - left))
        x = canvas.width * (index + dice.between(0.35, 0.65)) / count - scale * (left + right) / 2
        if count == 1:
            half = scale * (right - left) / 2
            x = dice.between(half, max(half, canvas.width - half) + 1) - scale * (left + right) / 2
        floor = max(ground + 0.1 * (canvas.height - ground), canvas.height * dice.between(0.88, 0.97))
        if count > 1:
            floor -= 0.1 * canvas.height * (1 - scale * (low - high) / room)
        if cut:
            scale *= dice.between(1.5, 2.1)
            floor = canvas.height * 0.06 - scale * high + scale * low
            x = canvas.width * dice.between(0.35, 0.65)
        found.append(Placed(body, look, index + 1, x, floor - scale * low, scale))
    return sorted(found, key=lambda who: who.y + who.scale * _reach(who.body)[1])


def _draw_on_ground(canvas: Canvas, dice: Dice, who: Placed) -> None:
    points, scale = who.body.points, who.scale
    floor = who.y + scale * _reach(who.body)[1]
    feet = [who.at(points[name])[0] for name in ("l_heel", "l_toe", "r_heel", "r_toe")]
    middle = (min(feet) + max(feet)) / 2
    draw_shadow(canvas, (middle, floor - 0.01 * scale), (max(feet) - min(feet)) / 2 + 0.09 * scale)
    if who.body.seated:
        draw_seat(canvas, dice, (who.x, who.y + 0.06 * scale), 0.16 * scale, floor - 0.01 * scale)
    draw_person(canvas, who)


def _reach(body: Body) -> tuple[float, float, float, float]:
    """The highest, lowest, leftmost and rightmost point, in body heights, flesh included."""
    spots = np.stack([point for name, point in body.points.items() if name != "pelvis"])
    return (
        float(spots[:, 1].min()) - 0.01,
        float(spots[:, 1].max()) + 0.035,
        float(spots[:, 0].min()) - 0.04,
        float(spots[:, 0].max()) + 0.04,
    )


def _extent(canvas: Canvas, number: int) -> tuple[tuple[int, int, int, int], int]:
    """Box and number of the pixels that show person `number`."""
    rows, columns = np.nonzero(canvas.person == number)
    if rows.size == 0:
        return (0, 0, 0, 0), 0
    left, top = int(columns.min()), int(rows.min())
    return (left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1), int(rows.size)
