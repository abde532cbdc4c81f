"""What two sets of people in one picture have in common: who was missed or invented, and how far every joint moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
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
        reattached=sum(_reattached(person, reference, skeleton) for person in other),
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
        summed[field.name] = sum(values, start=() if field.name in _WAYS else 0)
    return Agreement(**summed)


def matched(reference: Sequence[Person], other: Sequence[Person], skeleton: Skeleton) -> list[tuple[int, int]]:
    """Who is whom: places in both lists, from the most alike pair down, nobody twice."""
    alike = np.array([[likeness(one, two, skeleton) for two in other] for one in reference]).reshape(
        len(reference), len(other)
    )
    pairs: list[tuple[int, int]] = []
    for place in np.argsort(-alike, axis=None, kind="stable"):
        row, column = divmod(int(place), len(other))
        if alike[row, column] < _SAME:
            break
        if not any(row == a or column == b for a, b in pairs):
            pairs.append((row, column))
    return sorted(pairs)


def likeness(one: Person, two: Person, skeleton: Skeleton) -> float:
    """0..1: how much of `one`'s joints `two` has in the same places; a joint half a torso away counts 0.6, one 0.14."""
    both = one.found & two.found
    if not both.any():
        return 0.0
    way = np.hypot(*(one.joints[both] - two.joints[both]).T) / torso(one, skeleton)
    return float(np.exp(-2 * way**2).sum() / max(one.found.sum(), 1))


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


def _reattached(person: Person, reference: Sequence[Person], skeleton: Skeleton) -> int:
    """Limbs of `person` that join two people of the reference."""
    owners = [_owner(person, joint, reference, skeleton) for joint in range(len(skeleton.joints))]
    return sum(owners[a] is not None and owners[b] is not None and owners[a] != owners[b] for a, b in skeleton.limbs)


def _owner(person: Person, joint: int, reference: Sequence[Person], skeleton: Skeleton) -> int | None:
    """Whose joint it is: the person of the reference that has the same one nearest, when within reach."""
    if not person.found[joint]:
        return None
    near = [
        (float(np.hypot(*(one.joints[joint] - person.joints[joint]))) / torso(one, skeleton), place)
        for place, one in enumerate(reference)
        if one.found[joint]
    ]
    return min(near)[1] if near and min(near)[0] <= _REACH else None
