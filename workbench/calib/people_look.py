"""How a drawn person looks: skin, hair, build and clothes, as data chosen by dice."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.calib.people_dice import Dice
from workbench.calib.people_raster import Colour

SKIN: tuple[Colour, ...] = (
    *((250, 220, 198), (238, 198, 168), (226, 180, 146), (205, 155, 120), (172, 122, 88)),
    *((140, 94, 66), (108, 72, 52), (246, 208, 180)),
)
HAIR: tuple[Colour, ...] = (
    *((38, 30, 28), (62, 42, 30), (96, 62, 38), (140, 96, 56), (206, 170, 110)),
    *((150, 150, 152), (122, 52, 32), (28, 28, 34)),
)
CLOTH: tuple[Colour, ...] = (
    *((214, 62, 56), (46, 92, 168), (240, 240, 236), (40, 42, 50), (62, 140, 92), (236, 188, 66)),
    *((150, 84, 150), (232, 132, 60), (110, 170, 206), (170, 44, 72), (128, 132, 138), (240, 176, 186), (86, 104, 62)),
)
DENIM: tuple[Colour, ...] = (
    *((58, 82, 128), (40, 50, 78), (96, 122, 162), (44, 44, 48), (104, 92, 74)),
    *((150, 136, 108), (70, 74, 82), (222, 216, 200)),
)
HAIRDOS = ("short", "long", "tail", "bun", "cap", "bald")
SHOE: tuple[Colour, ...] = ((236, 236, 236), (46, 44, 46), (120, 74, 44), (190, 52, 50), (60, 84, 140))


@dataclass(frozen=True)
class Look:
    """What a person wears and is.

    Attributes:
        skin, hair, top, bottom, shoe: colours.
        second: the other colour of a patterned top.
        pattern: of the top: plain, stripes, checks, block or print.
        sleeve: share of the arm that is covered; 0 none, 2 to the wrist.
        trouser: share of the leg that is covered, likewise.
        skirt: whether the bottom is a skirt (`trouser` is then its length).
        hairdo: one of `HAIRDOS`.
        beard: whether there is one.
        girth: factor on the widths of trunk and limbs.
        broad: factor on the distance of shoulders and hips.
    """

    skin: Colour
    hair: Colour
    top: Colour
    second: Colour
    bottom: Colour
    shoe: Colour
    pattern: str
    sleeve: float
    trouser: float
    skirt: bool
    hairdo: str
    beard: bool
    girth: float
    broad: float


def random_look(dice: Dice, *, may_wear_skirt: bool = True) -> Look:
    """Somebody."""
    top = dice.pick(CLOTH)
    second = dice.pick([colour for colour in CLOTH if colour != top])
    skirt = dice.chance(0.25) and may_wear_skirt
    hairdo = dice.pick(("long", "bun", "tail") if skirt else ("short", "short", *HAIRDOS))
    shorts = dice.chance(0.3)
    return Look(
        skin=dice.pick(SKIN),
        hair=dice.pick(HAIR),
        top=top,
        second=second,
        bottom=dice.pick([colour for colour in (*DENIM, *(CLOTH if skirt else ())) if _apart(colour, top)]),
        shoe=dice.pick(SHOE),
        pattern=dice.pick(("plain", "plain", "plain", "stripes", "checks", "block", "print")),
        sleeve=dice.pick((0.0, 0.55, 0.62, 0.7, 1.9, 1.95)),
        trouser=dice.between(0.75, 1.15) if skirt else dice.between(0.55, 0.95) if shorts else dice.between(1.85, 1.97),
        skirt=skirt,
        hairdo=hairdo,
        beard=hairdo in ("short", "bald", "cap") and dice.chance(0.3),
        girth=dice.between(0.92, 1.16),
        broad=dice.between(0.94, 1.02) if skirt else dice.between(0.96, 1.1),
    )


def _apart(one: Colour, other: Colour) -> bool:
    """Whether two colours can be told from each other."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 90
