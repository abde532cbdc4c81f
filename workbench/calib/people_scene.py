"""The places the drawn people stand in: rooms, streets, parks, studios and papered walls."""

from __future__ import annotations

import numpy as np

from workbench.calib.people_dice import Dice, smooth_noise
from workbench.calib.people_raster import SCENERY, Canvas, Colour, Floats, ellipse, tube
from workbench.calib.people_things import FLOORS, WALLS, WOODS, box, draw_furniture, shade, shelf

SCENES = ("room", "street", "park", "studio", "wallpaper")


def draw_scene(canvas: Canvas, dice: Dice, kind: str) -> float:
    """Paint the background, one of `SCENES`; returns the row at which the ground begins."""
    places = {"room": _room, "street": _street, "park": _park, "studio": _studio, "wallpaper": _wallpaper}
    return places[kind](canvas, dice)


def expose(canvas: Canvas, dice: Dice, grain: int) -> None:
    """A camera's part: some pictures are darker or paler, and a pixel is off by at most `grain`, its colour kept."""
    gain, lift = dice.pick(((1.0, 0), (1.0, 0), (0.72, 0), (1.12, 0), (0.8, 40))), np.zeros((1, 1), np.int64)
    if grain:
        lift = np.floor(dice.grid(canvas.height, canvas.width) * (2 * grain + 1)).astype(np.int64) - grain
    exposed = np.rint(canvas.pixels * gain[0]).astype(np.int64) + gain[1] + lift[..., np.newaxis]
    canvas.pixels[:] = np.clip(exposed, 0, 255)


def _room(canvas: Canvas, dice: Dice) -> float:
    ground, width = canvas.height * dice.between(0.6, 0.74), canvas.width
    wall, floor = dice.pick(WALLS), dice.pick(FLOORS)
    canvas.fill(_split(canvas, ground, (wall, shade(wall, 0.86)), (shade(floor, 0.8), shade(floor, 1.1))))
    for k in range(9):  # boards that run away from the viewer
        far, near = width * (0.2 + 0.6 * k / 8), width * (1.8 * k / 8 - 0.4)
        outline = [(far, ground), (far + 1, ground), (near + 2, canvas.height), (near, canvas.height)]
        canvas.polygon(outline, shade(floor, 0.72))
    box(canvas, 0, ground - 5, width, ground, shade(wall, 1.1))
    draw_furniture(canvas, dice, ground)
    return ground


def _street(canvas: Canvas, dice: Dice) -> float:
    ground, width = canvas.height * dice.between(0.58, 0.68), canvas.width
    sky, road = ((120, 164, 214), (214, 226, 234)), ((132, 130, 128), (158, 154, 150))
    canvas.fill(_split(canvas, ground, sky, road))
    x = -20.0
    while x < width:
        wide, top, colour = width * dice.between(0.14, 0.3), ground * dice.between(0.05, 0.5), dice.pick(WALLS + WOODS)
        box(canvas, x, top, x + wide, ground, shade(colour, 0.9))
        step, dark = width * 0.05, shade(colour, dice.between(0.4, 0.6))
        for row in range(int((ground - top) / step) - 1):
            for column in range(int(wide / step) - 1):
                left, high = x + step * (column + 0.5), top + step * (row + 0.4)
                box(canvas, left, high, left + 0.55 * step, high + 0.6 * step, dark)
        x += wide
    box(canvas, 0, ground, width, ground + 6, (188, 184, 178))
    for share in (0.3, 0.62):
        y = ground + (canvas.height - ground) * share
        box(canvas, 0, y, width, y + 2, (120, 118, 116))
    return ground


def _park(canvas: Canvas, dice: Dice) -> float:
    ground, width = canvas.height * dice.between(0.5, 0.64), canvas.width
    noise = smooth_noise(dice, canvas.height, width, 9)
    sky, grass = ((132, 178, 226), (226, 236, 240)), ((96, 140, 72), (120, 164, 84))
    colours = _split(canvas, ground, sky, grass)
    canvas.fill(colours)
    for _ in range(3):
        tone = 90 + 40 * dice.unit()
        hill = ellipse((width * dice.unit(), ground + 2), (width * 0.4, ground * dice.between(0.08, 0.2)))
        canvas.polygon(hill, (tone * 0.7, tone, tone * 0.72))

    def meadow(x: Floats, y: Floats) -> Floats:
        rows, columns = y.astype(np.int64), x.astype(np.int64)
        return colours[rows, columns] * (0.88 + 0.24 * noise[rows, columns])[..., np.newaxis]

    row = float(np.ceil(ground))
    canvas.polygon([(0, row), (width, row), (width, canvas.height), (0, canvas.height)], meadow)
    for _ in range(dice.whole(1, 4)):
        _tree(canvas, dice, width * dice.unit(), ground)
    return ground


def _tree(canvas: Canvas, dice: Dice, x: float, ground: float) -> None:
    crown, top = canvas.width * dice.between(0.06, 0.12), ground * dice.between(0.2, 0.55)
    trunk = ((0, 0.2 * crown), (1, 0.1 * crown))
    tube(canvas, ((x, ground + 8), (x, top)), trunk, (104, 78, 56), SCENERY, caps=(0, 0))
    for _ in range(7):
        leaf = (50 + 30 * dice.unit(), 104 + 40 * dice.unit(), 54 + 20 * dice.unit())
        left, high = x + crown * dice.between(-0.8, 0.8), top + crown * dice.between(-0.7, 0.7)
        tube(canvas, ((left, high), (left + 1, high)), ((0, 0.55 * crown), (1, 0.55 * crown)), leaf, SCENERY)


def _studio(canvas: Canvas, dice: Dice) -> float:
    colour = dice.pick(WALLS + WOODS)
    x = (np.arange(canvas.width) / canvas.width - 0.5)[np.newaxis, :]
    y = (np.arange(canvas.height) / canvas.height - 0.4)[:, np.newaxis]
    blotches = smooth_noise(dice, canvas.height, canvas.width, 48) - 0.5
    light = 1.15 - 0.9 * (x * x + y * y) + 0.05 * blotches
    canvas.fill(light[..., np.newaxis] * np.array(colour))
    return canvas.height * 0.7


def _wallpaper(canvas: Canvas, dice: Dice) -> float:
    ground = canvas.height * dice.between(0.62, 0.74)
    one, floor = dice.pick(WALLS), dice.pick(FLOORS)
    other, wide = shade(one, dice.between(0.7, 0.88)), dice.whole(14, 44)
    canvas.fill(_split(canvas, ground, (one, one), (shade(floor, 0.85), floor)))
    for x in range(0, canvas.width, 2 * wide):
        box(canvas, x, 0, x + wide, ground, other)
    box(canvas, 0, ground - 6, canvas.width, ground, (236, 232, 226))
    if dice.chance(0.6):
        shelf(canvas, dice, canvas.width * dice.between(0.1, 0.9), ground)
    return ground


def _split(canvas: Canvas, ground: float, above: tuple[Colour, Colour], below: tuple[Colour, Colour]) -> Floats:
    """Colours (H, W, 3): from the first to the second of `above` down to the row `ground`, then likewise `below`."""
    y = np.arange(canvas.height) + 0.5
    rows = [
        np.array(first) + np.clip(share, 0, 1)[:, np.newaxis] * (np.array(second) - np.array(first))
        for (first, second), share in ((above, y / ground), (below, (y - ground) / (canvas.height - ground)))
    ]
    joined = np.where((y < ground)[:, np.newaxis], *rows)
    return np.broadcast_to(joined[:, np.newaxis, :], (canvas.height, canvas.width, 3)).astype(np.float64)
