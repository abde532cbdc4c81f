"""What two sets of people in one picture have in common: who was missed or invented, and how far every joint moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.pose.person import Person
from workbench.pose.skeletons import Skeleton

NEAR = 0.05  # of the picture: a joint that moved by no more is where it was
_SAME = 0.3  # lowest likeness of two people that are one
_WAYS = ("pixels", "shares", "torsos")
_REACH = 0.5  # torsos within which a joint is taken to be somebody's

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Counts over pictures; agreements of several pictures are added with `total`.

    Attributes:
        people: in the reference.
        missed: of these, not in the other.
        invented: in the other and not in the reference.
        joints: of people found by both, the joints that both found.
        near: of these, moved by at most 5 % of the picture: ``hypot(dx / width, dy / height)``.
        lost: joints of people found by both that only the reference has.
        gained: that only the other has.
        reattached: limbs of the other whose two ends are joints of different people of the reference.
        pixels: way of every joint of `joints`, in pixels of the picture.
        shares: the same as a share of the picture.
        torsos: the same in torsos (middle of the shoulders to middle of the hips) of the person in the reference.
    """

    people: int
    missed: int
    invented: int
    joints: int
    near: int
    lost: int
    gained: int
    reattached: int
    pixels: tuple[float, ...]
    shares: tuple[float, ...]
    torsos: tuple[float, ...]


def agreement(
    reference: Sequence[Person], other: Sequence[Person], skeleton: Skeleton, size: tuple[int, int]
) -> Agreement:
    """Compare the people that two networks see in one picture.

    Args:
        reference: places in pixels of the picture.
        other: likewise.
        skeleton: of both.
        size: width and height of the picture.
    """
    pairs = matched(reference, other, skeleton)
    ways: list[tuple[float, float, float]] = []
    lost = gained = 0
    for one, same in pairs:
        before, after = reference[one], other[same]
        both = before.found & after.found
        lost += int((before.found & ~after.found).sum())
        gained += int((after.found & ~before.found).sum())
        moved = after.joints[both] - before.joints[both]
        unit = torso(before, skeleton)
        ways += [
            (float(np.hypot(x, y)), float(np.hypot(x / size[0], y / size[1])), float(np.hypot(x, y) / unit))
            for x, y in moved
        ]
    pixels, shares, torsos = zip(*ways, strict=True) if ways else ((), (), ())
    return Agreement(
        people=len(reference),
        missed=len(reference) - len(pairs),
        invented=len(other) - len(pairs),
        joints=len(ways),
        near=sum(share <= NEAR for share in shares),
        lost=lost,
        gained=gained,
        reattached=_reattached(reference, other, skeleton),
        pixels=pixels,
        shares=shares,
        torsos=torsos,
    )


def total(parts: Iterable[Agreement]) -> Agreement:
    """The sum over several pictures."""
    listed = list(parts)
    summed: dict[str, Any] = {}
    for field in fields(Agreement):
        values = [getattr(part, field.name) for part in listed]
        summed[field.name] = tuple(chain.from_iterable(values)) if field.name in _WAYS else sum(values)
    return Agreement(**summed)


def matched(reference: Sequence[Person], other: Sequence[Person], skeleton: Skeleton) -> list[tuple[int, int]]:
    """Who is whom: places in both lists, from the most alike pair down, nobody twice."""
    alike = likenesses(reference, other, skeleton)
    pairs: dict[int, int] = {}
    taken = set[int]()
    for place in np.argsort(-alike, axis=None, kind="stable"):
        row, column = divmod(int(place), len(other))
        if alike[row, column] < _SAME:
            break
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return sorted(pairs.items())


def likeness(one: Person, two: Person, skeleton: Skeleton) -> float:
    """0..1: how much of `one`'s joints `two` has in the same places; a joint half a torso away counts 0.6, one 0.14."""
    return float(likenesses([one], [two], skeleton)[0, 0])


def likenesses(ones: Sequence[Person], twos: Sequence[Person], skeleton: Skeleton) -> Floats:
    """(P, Q): `likeness` of each of `ones` to each of `twos`; a network that answers noise sees hundreds of people."""
    if not ones or not twos:
        return np.zeros((len(ones), len(twos)))
    near = np.exp(-2 * _torsos_apart(ones, twos, skeleton) ** 2).sum(axis=2)  # a joint that one has not: exp(-inf)
    found = np.array([one.found.sum() for one in ones])
    return np.asarray(near / np.maximum(found, 1)[:, None])


def _torsos_apart(ones: Sequence[Person], twos: Sequence[Person], skeleton: Skeleton) -> Floats:
    """(P, Q, J): the way between equal joints in torsos of the first; infinite where one of both was not found."""
    here, there = (np.stack([one.joints for one in people]) for people in (ones, twos))
    unit = np.array([torso(one, skeleton) for one in ones])[:, None, None]
    apart = here[:, None] - there[None]
    way = np.hypot(apart[..., 0], apart[..., 1]) / unit
    return np.asarray(np.where(np.isnan(way), np.inf, way))


def torso(person: Person, skeleton: Skeleton) -> float:
    """From the middle of the shoulders to the middle of the hips, in the unit of the joints; more than 0.

    Where one of these was not found: 0.3 of the diagonal around the joints that were, about what a standing person has.
    """
    ends = []
    for part in ("shoulder", "hip"):
        sides = person.joints[[skeleton.index(f"l_{part}"), skeleton.index(f"r_{part}")]]
        sides = sides[np.isfinite(sides).all(axis=1)]
        if len(sides):
            ends.append(sides.mean(axis=0))
    found = person.joints[person.found]
    if len(ends) == 2:
        length = float(np.hypot(*(ends[1] - ends[0])))
    elif len(found):
        length = 0.3 * float(np.hypot(*(found.max(axis=0) - found.min(axis=0))))
    else:
        length = 0.0
    return max(length, 1.0)


def _reattached(reference: Sequence[Person], other: Sequence[Person], skeleton: Skeleton) -> int:
    """Limbs of `other` that join two people of the reference."""
    if not reference or not other or not skeleton.limbs:
        return 0
    # Whose joint it is: the person of the reference that has the same one nearest, when within reach.
    way = _torsos_apart(reference, other, skeleton)
    owner = np.where(way.min(axis=0) <= _REACH, way.argmin(axis=0), -1)
    starts, ends = np.array(skeleton.limbs).T
    a, b = owner[:, starts], owner[:, ends]
    return int(((a != b) & (a >= 0) & (b >= 0)).sum())
