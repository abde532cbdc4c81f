"""Two networks' people in one picture as things to draw: limbs, joints, and what moved, was lost or was invented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from workbench.pose.agreement import NEAR, Agreement, agreement, matched
from workbench.pose.person import Person
from workbench.pose.skeletons import Skeleton

_MOST_PEOPLE = 30  # of a picture that are drawn; a broken network sees hundreds. Numbers are of all
_MOST_MARKS = 200  # of a kind, likewise


@dataclass(frozen=True)
class Limb:
    """A line between two joints, in pixels of the input."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Spot:
    """A joint at a place, with what to say when it is pointed at."""

    x: float
    y: float
    joint: str
    said: str


@dataclass(frozen=True)
class Drawing:
    """The people of one network: their limbs and joints."""

    limbs: tuple[Limb, ...]
    spots: tuple[Spot, ...]


@dataclass(frozen=True)
class Difference:
    """What sets a network apart from its reference in one picture.

    Attributes:
        moved: joints, where the other has them, that moved by more than 5 % of the picture.
        ways: a line from each joint to where it went.
        lost: joints only the reference has, where it has them; of people that were missed, all.
        gained: joints only the other has.
        numbers: counts and displacements; see `workbench.pose.agreement`.
        worst: name of the joint that moved most; empty when none was compared.
    """

    moved: tuple[Spot, ...]
    ways: tuple[Limb, ...]
    lost: tuple[Spot, ...]
    gained: tuple[Spot, ...]
    numbers: Agreement
    worst: str

    @property
    def line(self) -> str:
        """One sentence for people."""
        said = self.numbers
        if not said.people:
            return "the source network finds nobody here"
        parts = []
        if said.joints:
            mean, most = float(np.mean(said.pixels)), max(said.pixels)
            parts.append(f"{said.near} of {said.joints} joints within 5 %")
            parts.append(f"moved {mean:.1f} px on average, {most:.1f} px at most ({self.worst})")
        for count, one, several, what in (
            (said.missed, "person", "people", "missed"),
            (said.invented, "person", "people", "invented"),
            (said.lost, "joint", "joints", "lost"),
            (said.gained, "joint", "joints", "gained"),
            (said.reattached, "limb", "limbs", "joined to another person"),
        ):
            if count:
                parts.append(f"{count} {one if count == 1 else several} {what}")
        return "; ".join(parts)


def drawing(people: Sequence[Person], skeleton: Skeleton) -> Drawing:
    """What to draw of `people`: the first thirty, who are the most certain."""
    drawn = people[:_MOST_PEOPLE]
    limbs = tuple(
        Limb(*_rounded(*one.joints[a], *one.joints[b]))
        for one in drawn
        for a, b in skeleton.limbs
        if one.found[a] and one.found[b]
    )
    spots = tuple(
        _spot(one, int(index), skeleton, f"confidence {one.confidence[index]:.2f}")
        for one in drawn
        for index in np.flatnonzero(one.found)
    )
    return Drawing(limbs, spots)


def difference(
    reference: Sequence[Person], other: Sequence[Person], skeleton: Skeleton, size: tuple[int, int]
) -> Difference:
    """Compare the people of one picture of `size` (width, height)."""
    pairs = matched(reference, other, skeleton)
    moved: list[Spot] = []
    ways: list[Limb] = []
    lost: list[Spot] = []
    gained: list[Spot] = []
    worst = (-1.0, "")
    for one, same in pairs:
        before, after = reference[one], other[same]
        for joint in np.flatnonzero(before.found | after.found):
            if not after.found[joint]:
                lost.append(_spot(before, int(joint), skeleton, "lost"))
            elif not before.found[joint]:
                gained.append(_spot(after, int(joint), skeleton, "gained"))
            else:
                x, y = after.joints[joint] - before.joints[joint]
                pixels = float(np.hypot(x, y))
                worst = max(worst, (pixels, skeleton.joints[joint]))
                ways.append(Limb(*_rounded(*before.joints[joint], *after.joints[joint])))
                if np.hypot(x / size[0], y / size[1]) > NEAR:
                    moved.append(_spot(after, int(joint), skeleton, f"moved by {pixels:.1f} px"))
    for people, taken, spots, said in (
        (reference, {one for one, _ in pairs}, lost, "of a person that was missed"),
        (other, {same for _, same in pairs}, gained, "of a person that is not there"),
    ):
        for index, person in enumerate(people):
            if index not in taken:
                spots += [_spot(person, int(joint), skeleton, said) for joint in np.flatnonzero(person.found)]
    numbers = agreement(reference, other, skeleton, size)
    marks = [tuple(spots[:_MOST_MARKS]) for spots in (moved, lost, gained)]
    return Difference(marks[0], tuple(ways[:_MOST_MARKS]), marks[1], marks[2], numbers, worst[1])


def row(numbers: Agreement) -> dict[str, Any]:
    """Counts and displacements over pictures as plain data: mean and largest way instead of every one."""
    plain = asdict(numbers)
    for key in ("pixels", "shares", "torsos"):
        ways = plain.pop(key)
        plain[f"mean_{key}"] = round(float(np.mean(ways)), 4) if ways else None
        plain[f"worst_{key}"] = round(float(max(ways)), 4) if ways else None
    return plain


def _spot(person: Person, joint: int, skeleton: Skeleton, said: str) -> Spot:
    x, y = _rounded(*person.joints[joint])
    return Spot(x, y, skeleton.joints[joint], said)


def _rounded(*values: float) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in values)
