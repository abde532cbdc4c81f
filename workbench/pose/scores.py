"""How good found people are by labels: PCK, PCKh as the authors of CPM count it, and COCO's average precision."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.pose.agreement import likenesses
from workbench.pose.labels import Label
from workbench.pose.person import Person
from workbench.pose.skeletons import COCO17, Skeleton

WITHIN = (0.05, 0.1, 0.2)  # of the longer side of a person's box
_FAR = -1e6  # where COCO's measure, which wants a place for every joint, looks for one that was not found

Found = Sequence[Sequence[Person]]
Truth = Sequence[Sequence[Label]]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of one network, over all labelled pictures; None where the labels leave it open.

    Attributes:
        people: labelled ones with a joint of the skeleton, crowds left out.
        joints: of these.
        pck: {share: joints found within that share of the longer side of the person's box} (Yang and Ramanan, 2013).
        pckh: of each person with both labels, the share of its joints found within the way from head top to neck; the
            mean over people, as the benchmark of PoseEstimationForMobile has it (a joint not found counts as wrong).
        pckh_half: the same within half of that way.
        ap: average precision of object keypoint similarity, mean over thresholds 0.5 to 0.95; joints that COCO has.
        ap50: at 0.5.
        ap75: at 0.75.
        ar: average recall, mean over the same thresholds.
    """

    people: int
    joints: int
    pck: Mapping[float, float]
    pckh: float | None
    pckh_half: float | None
    ap: float | None
    ap50: float | None
    ap75: float | None
    ar: float | None


def scores(found: Found, truth: Truth, skeleton: Skeleton) -> Scores | None:
    """Judge what was found in each picture by its labels; None when nobody is labelled.

    Args:
        found: people, in pixels of the pictures.
        truth: labels of the same pictures.
        skeleton: of both.
    """
    ways: list[npt.NDArray[np.float64]] = []
    sides: list[float] = []
    heads: list[float] = []
    for people, labels in zip(found, truth, strict=True):
        meant = [label for label in labels if not label.crowd and label.person.found.any()]
        for label, person in zip(meant, _whose(meant, people, skeleton), strict=True):
            ways.append(_ways(label, person))
            sides.append(max(label.box[2:]))
            heads.append(_head(label.person, skeleton))
    if not ways:
        return None
    pck = {share: _mean([way <= share * side for way, side in zip(ways, sides, strict=True)]) for share in WITHIN}
    ap, ap50, ap75, ar = average_precision(found, truth, skeleton)
    return Scores(
        people=len(ways),
        joints=sum(len(way) for way in ways),
        pck=pck,
        pckh=_pckh(ways, heads, 1.0),
        pckh_half=_pckh(ways, heads, 0.5),
        ap=ap,
        ap50=ap50,
        ap75=ap75,
        ar=ar,
    )


def average_precision(found: Found, truth: Truth, skeleton: Skeleton) -> tuple[float | None, ...]:
    """AP, AP at 0.5, AP at 0.75 and AR of object keypoint similarity by pycocotools; None where nobody is labelled.

    Only joints that COCO-17 has count. A person's score is the mean confidence of its joints; COCO takes the best 20 of
    a picture.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    shared = [(COCO17.index(name), place) for place, name in enumerate(skeleton.joints) if name in COCO17.joints]
    labels: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for image, (seen, meant) in enumerate(zip(found, truth, strict=True), 1):
        for label in meant:
            keypoints = _keypoints(label.person, shared, 0.0)
            labels.append(
                {
                    "id": len(labels) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                    "bbox": list(label.box),
                    "area": label.area,
                    "iscrowd": int(label.crowd),
                }
            )
        for person in seen:
            keypoints = _keypoints(person, shared, _FAR)
            low, high = np.nanmin(person.joints, axis=0), np.nanmax(person.joints, axis=0)
            people.append(
                {
                    "id": len(people) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "keypoints": keypoints.ravel().tolist(),
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "area": float(np.prod(high - low)),
                    "score": person.score,
                }
            )
    if not any(one["num_keypoints"] and not one["iscrowd"] for one in labels):
        return (None,) * 4
    images = [{"id": image} for image in range(1, len(found) + 1)]
    with contextlib.redirect_stdout(io.StringIO()):  # it announces every step
        sides = []
        for listed in (labels, people):
            side = COCO()
            side.dataset = {"images": images, "categories": [{"id": 1}], "annotations": listed}
            side.createIndex()
            sides.append(side)
        judge = COCOeval(*sides, iouType="keypoints")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return tuple(float(judge.stats[place]) for place in (0, 1, 2, 5))


def _whose(labels: Sequence[Label], people: Sequence[Person], skeleton: Skeleton) -> list[Person | None]:
    """For each label the found person that is most like it, nobody twice; None where there are not enough."""
    alike = likenesses([label.person for label in labels], people, skeleton)
    whose: list[Person | None] = [None] * len(labels)
    taken = set[int]()
    for place in np.argsort(-alike, axis=None, kind="stable"):
        row, column = divmod(int(place), len(people))
        if whose[row] is None and column not in taken:
            whose[row] = people[column]
            taken.add(column)
    return whose


def _ways(label: Label, person: Person | None) -> npt.NDArray[np.float64]:
    """From each labelled joint to the found one in pixels, infinite where it was not found."""
    labelled = label.person.found
    if person is None:
        return np.full(int(labelled.sum()), np.inf)
    way = np.hypot(*(person.joints[labelled] - label.person.joints[labelled]).T)
    return np.asarray(np.where(np.isnan(way), np.inf, way))


def _head(person: Person, skeleton: Skeleton) -> float:
    """From the head's top to the neck in pixels; NaN where one of them is not known."""
    if not {"head_top", "neck"} <= set(skeleton.joints):
        return float("nan")
    top, neck = (person.joints[skeleton.index(name)] for name in ("head_top", "neck"))
    return float(np.hypot(*(top - neck)))


def _pckh(ways: Sequence[npt.NDArray[np.float64]], heads: Sequence[float], share: float) -> float | None:
    right = [float((way <= share * head).mean()) for way, head in zip(ways, heads, strict=True) if np.isfinite(head)]
    return float(np.mean(right)) if right else None


def _mean(right: Sequence[npt.NDArray[np.bool_]]) -> float:
    return float(np.concatenate(right).mean())


def _keypoints(person: Person, shared: Sequence[tuple[int, int]], missing: float) -> npt.NDArray[np.float64]:
    """(17, 3) x, y and visibility in COCO's order; a joint that is not found is at `missing`."""
    rows = np.zeros((len(COCO17.joints), 3))
    rows[:, :2] = missing
    for place, joint in shared:
        if person.found[joint]:
            rows[place] = [*person.joints[joint], 2]
    return rows
