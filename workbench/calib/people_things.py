"""Things in the pictures of the drawn people: furniture on the walls, seats under them, objects in front of them."""

from __future__ import annotations

from workbench.calib.people_dice import Dice
from workbench.calib.people_raster import SCENERY, Canvas, Colour, Point, ellipse, tube

WALLS: tuple[Colour, ...] = (
    *((226, 220, 208), (198, 212, 218), (214, 200, 184), (176, 190, 176), (232, 230, 228)),
    *((150, 160, 176), (204, 178, 168), (110, 116, 124)),
)
FLOORS: tuple[Colour, ...] = ((150, 112, 80), (120, 118, 116), (188, 172, 150), (96, 80, 70), (170, 176, 178))
WOODS: tuple[Colour, ...] = ((122, 82, 54), (86, 62, 48), (206, 204, 198), (70, 84, 104), (150, 60, 54), (92, 110, 84))


def box(canvas: Canvas, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    """Fill a rectangle."""
    canvas.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)


def shade(colour: Colour, factor: float) -> Colour:
    """`colour`, darker or lighter."""
    red, green, blue = colour
    return (red * factor, green * factor, blue * factor)


def draw_shadow(canvas: Canvas, centre: Point, half: float) -> None:
    """A soft shadow on the ground."""
    for grow, alpha in ((1.0, 0.125), (0.8, 0.125), (0.6, 0.1875)):
        canvas.polygon(ellipse(centre, (half * grow, half * 0.2 * grow)), (30, 28, 30), alpha=alpha)


def draw_seat(canvas: Canvas, dice: Dice, centre: Point, half: float, floor: float) -> None:
    """A stool whose seat has the middle `centre` and whose legs end at the row `floor`."""
    colour, (x, y) = dice.pick(WOODS), centre
    for leg in (-0.8, -0.35, 0.35, 0.8):
        box(canvas, x + half * (leg - 0.06), y, x + half * (leg + 0.06), floor, shade(colour, 0.7))
    box(canvas, x - half, y, x + half, y + 0.28 * half, colour)


def draw_furniture(canvas: Canvas, dice: Dice, ground: float) -> None:
    """A few things along the wall that ends at the row `ground`."""
    for slot in range(3):
        x = canvas.width * (slot + dice.between(0.2, 0.8)) / 3
        dice.pick((_window, _painting, _door, shelf, _lamp))(canvas, dice, x, ground)


def shelf(canvas: Canvas, dice: Dice, x: float, ground: float) -> None:
    """A book shelf."""
    half, top, colour = canvas.width * dice.between(0.08, 0.12), ground * dice.between(0.35, 0.55), dice.pick(WOODS)
    bottom = ground + canvas.height * 0.03
    box(canvas, x - half, top, x + half, bottom, colour)
    for row in range(3):
        y, tall = top + (bottom - top) * row / 3 + 3, (bottom - top) / 3 - 6
        box(canvas, x - half + 3, y, x + half - 3, y + tall, shade(colour, 0.55))
        book = x - half + 5
        while book < x + half - 12:
            thick = dice.between(4, 9)
            box(canvas, book, y + tall * dice.between(0.1, 0.4), book + thick, y + tall, dice.pick(WOODS + WALLS))
            book += thick + 1


def _window(canvas: Canvas, dice: Dice, x: float, ground: float) -> None:
    half, top, bottom = canvas.width * dice.between(0.07, 0.12), ground * 0.14, ground * dice.between(0.5, 0.62)
    frame = (242, 240, 236)
    box(canvas, x - half - 5, top - 5, x + half + 5, bottom + 5, frame)
    for row in range(8):
        y, step = top + (bottom - top) * row / 8, (bottom - top) / 8
        box(canvas, x - half, y, x + half, y + step, (158 + 8 * row, 194 + 5 * row, 226 + row))
    box(canvas, x - 2, top, x + 2, bottom, frame)
    box(canvas, x - half, (top + bottom) / 2 - 2, x + half, (top + bottom) / 2 + 2, frame)


def _painting(canvas: Canvas, dice: Dice, x: float, ground: float) -> None:
    half, top = canvas.width * dice.between(0.05, 0.1), ground * dice.between(0.12, 0.3)
    bottom = top + ground * dice.between(0.2, 0.3)
    box(canvas, x - half - 4, top - 4, x + half + 4, bottom + 4, dice.pick(WOODS))
    box(canvas, x - half, top, x + half, bottom, dice.pick(WALLS))
    for _ in range(4):
        centre = (dice.between(x - 0.6 * half, x + 0.6 * half), dice.between(top + 0.3 * half, bottom - 0.3 * half))
        canvas.polygon(ellipse(centre, (0.3 * half, 0.25 * half)), dice.pick(WOODS))


def _door(canvas: Canvas, dice: Dice, x: float, ground: float) -> None:
    half, top, colour = canvas.width * dice.between(0.07, 0.1), ground * dice.between(0.12, 0.2), dice.pick(WOODS)
    box(canvas, x - half - 4, top - 4, x + half + 4, ground, shade(colour, 0.75))
    box(canvas, x - half, top, x + half, ground, colour)
    for share in (0.08, 0.55):
        y = top + (ground - top) * share
        box(canvas, x - 0.7 * half, y, x + 0.7 * half, y + 0.36 * (ground - top), shade(colour, 0.88))
    canvas.polygon(ellipse((x + 0.8 * half, (top + ground) / 2), (3, 3)), (214, 190, 120))


def _lamp(canvas: Canvas, dice: Dice, x: float, ground: float) -> None:
    top, metal, wide = ground * dice.between(0.3, 0.4), (70, 66, 62), canvas.width * 0.045
    box(canvas, x - 2, top, x + 2, ground + 8, metal)
    canvas.polygon(ellipse((x, ground + 8), (14, 4)), metal)
    brim, tip = 0.6 * wide, top - 1.2 * wide
    canvas.polygon([(x - wide, top), (x - brim, tip), (x + brim, tip), (x + wide, top)], (246, 226, 170))


def draw_foreground(canvas: Canvas, dice: Dice) -> None:
    """Something that stands before the people and hides a part of them."""
    x = canvas.width * dice.between(0.15, 0.85)
    dice.pick((_table, _plant, _pole, _crate))(canvas, dice, x)


def _table(canvas: Canvas, dice: Dice, x: float) -> None:
    w, h, colour = canvas.width, canvas.height, dice.pick(WOODS)
    top = h * dice.between(0.74, 0.82)
    for leg in (-0.2, 0.18):
        box(canvas, x + leg * w, top + 0.03 * h, x + (leg + 0.02) * w, h, shade(colour, 0.75))
    box(canvas, x - 0.22 * w, top, x + 0.22 * w, top + 0.03 * h, colour)
    cup = ((x, top - 0.06 * h), (x, top))
    tube(canvas, cup, ((0, 0.02 * w), (1, 0.024 * w)), dice.pick(WALLS), SCENERY, caps=(0.2, 0))


def _plant(canvas: Canvas, dice: Dice, x: float) -> None:
    w, h = canvas.width, canvas.height
    for _ in range(14):
        tip = (x + dice.between(-0.16, 0.16) * w, h * dice.between(0.58, 0.8))
        leaf = (60 + 50 * dice.unit(), 110 + 50 * dice.unit(), 50 + 30 * dice.unit())
        tube(canvas, ((x, 0.98 * h), tip), ((0, 0.005 * w), (0.6, 0.018 * w), (1, 0.002 * w)), leaf, SCENERY)
    pot = ((x, 0.93 * h), (x, 1.02 * h))
    tube(canvas, pot, ((0, 0.07 * w), (1, 0.05 * w)), (164, 92, 62), SCENERY, caps=(0.1, 0))


def _pole(canvas: Canvas, dice: Dice, x: float) -> None:
    half = canvas.width * dice.between(0.012, 0.022)
    ends = ((x, -5.0), (x, canvas.height + 5.0))
    tube(canvas, ends, ((0, half), (1, half)), (128, 130, 134), SCENERY, caps=(0, 0))


def _crate(canvas: Canvas, dice: Dice, x: float) -> None:
    h, colour = canvas.height, dice.pick(WOODS)
    top, half = h * dice.between(0.78, 0.88), canvas.width * dice.between(0.08, 0.14)
    box(canvas, x - half, top, x + half, h, colour)
    for k in range(1, 4):
        y = top + (h - top) * k / 4
        box(canvas, x - half, y, x + half, y + 2, shade(colour, 0.7))
