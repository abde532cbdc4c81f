"""OpenPose's heatmaps and part affinity fields as any number of people.

Every peak of a heatmap is a joint that may belong to anybody. For each limb all pairs of its two joints are rated by
the field along the straight line between them; pairs are then taken from the best down, as long as nobody gets a joint
twice. Cao et al., "Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields", 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.errors import ToolError
from workbench.pose.person import Person, pixels
from workbench.pose.skeletons import Skeleton

PRESENT = 0.1  # lowest peak that is a joint
_SAMPLES = 10  # along a limb
_ALONG = 0.05  # a sample of the field below this does not speak for the limb
_SHARE = 0.8  # of the samples that have to
_LEAST_JOINTS, _LEAST_SCORE = 3, 0.2  # of a person, or it is no person
_MOST_PEAKS = 200  # a channel; a broken heatmap has thousands, whose pairs would fill the memory

Maps = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]


def decode(
    heatmaps: Maps, pafs: Maps, skeleton: Skeleton, stride: tuple[float, float], present: float = PRESENT
) -> list[Person]:
    """The people in one picture, the most certain first.

    Args:
        heatmaps: (J, H, W), background left out.
        pafs: (C, H, W), the unit vector of a limb where the limb is; `skeleton.paf` has its two channels.
        skeleton: whose joints the heatmaps are.
        stride: input pixels a cell, across and down.
        present: the lowest peak that is a joint.

    Raises:
        ValueError: the maps do not fit the skeleton.
        ToolError: a value is not finite.
    """
    joints = len(skeleton.joints)
    channels = 1 + max((max(pair) for pair in skeleton.paf), default=-1)
    if not skeleton.paf or len(heatmaps) != joints or len(pafs) < channels or heatmaps.shape[1:] != pafs.shape[1:]:
        raise ValueError(f"heatmaps {heatmaps.shape} and fields {pafs.shape} are not those of {skeleton.name}")
    for name, maps in (("heatmap", heatmaps), ("paf", pafs)):
        if not np.isfinite(maps).all():
            raise ToolError(
                f"the {name} output holds values that are not finite",
                fix="the network that made it is broken; compare its layers with workbench parity",
            )
    peaks = [_peaks(channel, present) for channel in np.asarray(heatmaps, np.float64)]
    pairs = [
        pair
        for (start, end), (x, y) in zip(skeleton.limbs, skeleton.paf, strict=True)
        for pair in _pairs(start, end, peaks, np.stack([pafs[x], pafs[y]]).astype(np.float64))
    ]
    people = _people(pairs, joints)
    found = [_person(group, peaks, stride) for group in people]
    kept = [one for one in found if one.found.sum() >= _LEAST_JOINTS and one.score >= _LEAST_SCORE]
    return sorted(kept, key=lambda one: (-one.score * int(one.found.sum()), tuple(np.nan_to_num(one.joints[:, 0]))))


def _peaks(channel: Floats, present: float) -> Floats:
    """The local maxima of one heatmap (H, W): (N, 3), x and y in cells between their centres, and the value.

    A maximum is refined by the parabola through it and its neighbours. Of equal neighbours the first in row order is
    the maximum.
    """
    around = np.pad(channel, 1, constant_values=-np.inf)
    before = [around[:-2, :-2], around[:-2, 1:-1], around[:-2, 2:], around[1:-1, :-2]]
    after = [around[1:-1, 2:], around[2:, :-2], around[2:, 1:-1], around[2:, 2:]]
    highest = (channel >= present) & (channel > np.max(before, axis=0)) & (channel >= np.max(after, axis=0))
    rows, columns = np.nonzero(highest)
    value = channel[rows, columns]
    order = np.argsort(-value, kind="stable")[:_MOST_PEAKS]
    rows, columns, value = rows[order], columns[order], value[order]
    edged = np.pad(channel, 1, mode="edge")
    x = columns + _vertex(edged[rows + 1, columns], value, edged[rows + 1, columns + 2])
    y = rows + _vertex(edged[rows, columns + 1], value, edged[rows + 2, columns + 1])
    return np.stack([x, y, value], axis=1)


def _vertex(before: Floats, middle: Floats, after: Floats) -> Floats:
    """Where between -0.5 and 0.5 the parabola through three neighbours is highest."""
    bend = before - 2 * middle + after
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.where(bend < 0, (before - after) / (2 * bend), 0.0)
    return np.asarray(np.clip(np.nan_to_num(place), -0.5, 0.5))


@dataclass(frozen=True)
class _Pair:
    """Two joints that the field joins: (kind, place among the peaks of that kind) each, and how well."""

    score: float
    start: tuple[int, int]
    end: tuple[int, int]


def _pairs(start: int, end: int, peaks: Sequence[Floats], field: Floats) -> list[_Pair]:
    """The limbs of one kind: from the best pair down, no joint twice."""
    a, b = peaks[start], peaks[end]
    if not len(a) or not len(b):
        return []
    way = b[None, :, :2] - a[:, None, :2]
    length = np.hypot(way[..., 0], way[..., 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.where(length[..., None] > 0, way / length[..., None], 0.0)
    steps = np.linspace(0, 1, _SAMPLES)[:, None, None, None]
    along = _bilinear(field, a[None, :, None, :2] + steps * way)  # (2, samples, len(a), len(b))
    rated = along[0] * unit[..., 0] + along[1] * unit[..., 1]
    # Two joints of one limb may share a cell in a small person: a field has no say there, and neither has the line.
    agree = ((rated > _ALONG).mean(axis=0) >= _SHARE) & (length > 0)
    # A limb longer than half the picture is unlikely; the penalty is that of the authors.
    score = rated.mean(axis=0) + np.minimum(0, 0.5 * field.shape[1] / np.maximum(length, 1e-6) - 1)
    rows, columns = np.nonzero(agree & (score > 0))
    order = np.argsort(-score[rows, columns], kind="stable")
    taken: list[_Pair] = []
    used_a, used_b = set[int](), set[int]()
    for place in order:
        i, j = int(rows[place]), int(columns[place])
        if i not in used_a and j not in used_b:
            used_a.add(i)
            used_b.add(j)
            taken.append(_Pair(float(score[i, j]), (start, i), (end, j)))
    return taken


def _bilinear(field: Floats, points: Floats) -> Floats:
    """The field (2, H, W) at points (..., 2) in cells, between the four nearest cells; held at the border."""
    _, height, width = field.shape
    x, y = np.clip(points[..., 0], 0, width - 1), np.clip(points[..., 1], 0, height - 1)
    left, top = np.minimum(x.astype(int), max(width - 2, 0)), np.minimum(y.astype(int), max(height - 2, 0))
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = x - left, y - top
    upper = field[:, top, left] * (1 - across) + field[:, top, right] * across
    lower = field[:, bottom, left] * (1 - across) + field[:, bottom, right] * across
    return np.asarray(upper * (1 - down) + lower * down)


def _people(pairs: Sequence[_Pair], joints: int) -> list[dict[int, int]]:
    """Joints joined into people, from the best pair down: {kind of joint: place}; two of a kind are never joined."""
    owner: dict[tuple[int, int], int] = {}
    groups: dict[int, dict[int, int]] = {}
    for pair in sorted(pairs, key=lambda one: (-one.score, one.start, one.end)):
        numbers = []
        for joint in (pair.start, pair.end):
            if joint not in owner:
                owner[joint] = len(owner) + joints
                groups[owner[joint]] = {joint[0]: joint[1]}
            numbers.append(owner[joint])
        first, second = sorted(numbers)
        if first == second or groups[first].keys() & groups[second].keys():
            continue
        groups[first] |= groups.pop(second)
        owner.update(dict.fromkeys(groups[first].items(), first))
    return list(groups.values())


def _person(group: dict[int, int], peaks: Sequence[Floats], stride: tuple[float, float]) -> Person:
    places = np.full((len(peaks), 2), np.nan)
    confidence = np.zeros(len(peaks))
    for kind, place in group.items():
        places[kind] = pixels(peaks[kind][place, :2], stride)
        confidence[kind] = peaks[kind][place, 2]
    return Person(places, confidence)
