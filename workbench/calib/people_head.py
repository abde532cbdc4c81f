"""The heads of the drawn people: an ellipsoid with a face, hair around it, ears and a nose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from workbench.calib.people_body import HEAD_AXES, Body
from workbench.calib.people_look import Look
from workbench.calib.people_raster import Canvas, Colour, Floats, Owner, Point, brightness, tube

Place = Callable[[npt.NDArray[np.float64]], Point]
Mask = npt.NDArray[np.bool_]
_EYE, _DARK, _WHITE = 0.36, (44.0, 32.0, 30.0), (245.0, 243.0, 240.0)


def draw_hair_behind(canvas: Canvas, body: Body, look: Look, place: Place, scale: float, owner: Owner) -> None:
    """Long hair and tails, which hang from the back of the head."""
    back = body.points["head"] + body.head @ (np.array((0.0, 0.05, -0.5)) * HEAD_AXES)
    half = HEAD_AXES[0] * scale
    if look.hairdo == "long":
        end = body.points["neck"] + body.chest @ np.array((0.0, 0.05, -0.055))
        profile = [(0.0, 1.02 * half), (0.4, 1.12 * half), (0.8, 1.1 * half), (1.0, 0.8 * half)]
        tube(canvas, (place(back), place(end)), profile, look.hair, owner, caps=(1.0, 0.3), pattern=_strands)
    elif look.hairdo == "tail":
        root = body.points["head"] + body.head @ (np.array((0.0, -0.25, -1.05)) * HEAD_AXES)
        end = body.points["neck"] + body.chest @ np.array((0.01, 0.02, -0.1))
        profile = [(0.0, 0.32 * half), (0.3, 0.5 * half), (1.0, 0.15 * half)]
        tube(canvas, (place(root), place(end)), profile, look.hair, owner, pattern=_strands)


def draw_head(canvas: Canvas, body: Body, look: Look, place: Place, scale: float, owner: Owner) -> None:
    """Ears, skull, face and hair, seen from wherever the head is turned to."""
    centre = body.points["head"]
    axes = body.head * HEAD_AXES * scale
    roomy = axes * (1.1, 1.07, 1.1)
    hair = _cap_colour(look)
    covers = _covered_by(look)
    if look.hairdo == "bun":
        bun = centre + body.head @ (np.array((0.0, -0.75, -0.85)) * HEAD_AXES)
        if body.head[2, 2] > 0:
            canvas.ellipsoid(place(bun), axes * 0.42, _plain(look.hair), owner)
    if covers is not None:
        canvas.ellipsoid(place(centre), roomy, _hair(hair, covers, dim=0.75), owner, far=True)
    ears = sorted(("l_ear", "r_ear"), key=lambda name: float(body.points[name][2]))
    lobe = axes * (0.16, 0.27, 0.24)
    canvas.ellipsoid(place(body.points[ears[0]]), lobe, _plain(look.skin), owner)
    canvas.ellipsoid(place(centre), axes, _face(look), owner)
    nose = centre + body.head @ (np.array((0.0, 0.16, 0.99)) * HEAD_AXES)
    if body.head[2, 2] > -0.35:
        canvas.ellipsoid(place(nose), axes * (0.15, 0.2, 0.22), _plain(look.skin), owner)
    if covers is not None:
        canvas.ellipsoid(place(centre), roomy, _hair(hair, covers), owner)
    if look.hairdo == "cap" and body.head[2, 2] > -0.2:
        brim = centre + body.head @ (np.array((0.0, -0.42, 1.05)) * HEAD_AXES)
        canvas.ellipsoid(place(brim), axes * (0.78, 0.09, 0.6), _plain(look.second), owner)
    if look.hairdo not in ("long",):
        canvas.ellipsoid(place(body.points[ears[1]]), lobe, _plain(look.skin), owner)
    if look.hairdo == "bun" and body.head[2, 2] <= 0:
        canvas.ellipsoid(place(bun), axes * 0.42, _plain(look.hair), owner)


def hides_ears(look: Look) -> bool:
    """Whether the hair lies over the ears."""
    return look.hairdo == "long"


def _cap_colour(look: Look) -> Colour:
    return look.second if look.hairdo == "cap" else look.hair


def _covered_by(look: Look) -> Callable[[Floats], Mask] | None:
    """Which points of the skull have hair over them; x to the left ear, y down, z to the face, in half widths."""
    if look.hairdo == "bald":
        return None
    if look.hairdo == "cap":
        return lambda p: p[..., 1] < -0.34
    if look.hairdo == "long":
        return lambda p: (p[..., 1] < 0.18 - 0.78 * p[..., 2]) | ((np.abs(p[..., 0]) > 0.84) & (p[..., 1] < 0.75))
    if look.hairdo in ("tail", "bun"):
        return lambda p: p[..., 1] < -0.12 - 0.5 * p[..., 2] + 0.1 * np.abs(p[..., 0])
    return lambda p: p[..., 1] < -0.02 - 0.58 * p[..., 2] + 0.07 * p[..., 0]


def _plain(colour: Colour) -> Callable[[Floats, Floats], tuple[Mask, Floats]]:
    def texture(surface: Floats, facing: Floats) -> tuple[Mask, Floats]:
        return np.ones(surface.shape[:-1], np.bool_), brightness(facing)[..., np.newaxis] * np.array(colour)

    return texture


def _hair(
    colour: Colour, covers: Callable[[Floats], Mask], dim: float = 1.0
) -> Callable[[Floats, Floats], tuple[Mask, Floats]]:
    def texture(surface: Floats, facing: Floats) -> tuple[Mask, Floats]:
        strand = 1 + 0.1 * _wave(surface[..., 0] * 3.5 + surface[..., 2] * 1.5)
        gloss = np.clip(facing - 0.8, 0, 1) * 110
        lit = (brightness(facing) * strand * dim)[..., np.newaxis] * np.array(colour) + (gloss * dim)[..., np.newaxis]
        return covers(surface), lit

    return texture


def _face(look: Look) -> Callable[[Floats, Floats], tuple[Mask, Floats]]:
    skin = np.array(look.skin, np.float64)
    blush = skin * (1.0, 0.86, 0.84)
    lips = skin * (0.86, 0.6, 0.58)

    def texture(surface: Floats, facing: Floats) -> tuple[Mask, Floats]:
        x, y, front = surface[..., 0], surface[..., 1], surface[..., 2] > 0.1
        base = np.broadcast_to(skin, surface.shape).copy()
        aside = np.abs(x)
        socket = front & _oval(aside - _EYE, y + 0.14, 0.26, 0.17)
        base[socket] *= 0.9
        base[front & _oval(aside - 0.48, y - 0.34, 0.2, 0.16)] = blush
        if look.beard:
            jaw = (surface[..., 2] > -0.25) & (y > 0.3 + 0.25 * (1 - aside)) & ~_oval(x, y - 0.52, 0.24, 0.1)
            base[jaw] = 0.75 * np.array(look.hair) + 0.25 * skin
        base[front & _oval(x, y - 0.38, 0.17, 0.055)] = skin * 0.72  # under the nose
        base[front & _oval(x, y - 0.57, 0.29, 0.085)] = lips
        base[front & _oval(x, y - 0.565, 0.27, 0.018)] = lips * 0.6
        lit = brightness(facing)[..., np.newaxis] * base
        lit[front & _oval(aside - _EYE, y + 0.08, 0.2, 0.085)] = _WHITE
        lit[front & _oval(aside - _EYE, y + 0.08, 0.085, 0.085)] = _DARK
        lit[front & _oval(aside - _EYE, y + 0.16, 0.21, 0.03)] = _DARK
        brow = front & _oval(aside - _EYE - 0.02, y + 0.3, 0.25, 0.05)
        lit[brow] = np.array(look.hair) * 0.7 + skin * 0.1
        return np.ones(facing.shape, np.bool_), lit

    return texture


def _oval(x: Floats, y: Floats, half_x: float, half_y: float) -> Mask:
    return (x / half_x) ** 2 + (y / half_y) ** 2 < 1


def _strands(share: Floats, across: Floats) -> Floats:
    """A factor on hair: dark and light strands along it."""
    return (0.86 + 0.12 * _wave(across * 2.6 + share * 0.6))[..., np.newaxis]


def _wave(x: Floats) -> Floats:
    """A smooth wave of period 1 between -1 and 1, from parabolas: a sine is not the same on every machine."""
    phase = x - np.floor(x)
    half: Floats = 2 * np.mod(phase, 0.5)
    return np.where(phase < 0.5, 4.0, -4.0) * half * (1 - half)
