"""Maps as a perfect network would answer them, rendered from the true joints of drawn people."""

import json
from pathlib import Path

import numpy as np

from workbench.pose.skeletons import AI_CHALLENGER14, COCO17, COCO18

PEOPLE = Path(__file__).resolve().parents[2] / "calib_data" / "people" / "keypoints.json"


def pictures():
    """Per picture its size (width, height) and its people: (P, 17, 3) COCO keypoints x, y, visibility."""
    told = json.loads(PEOPLE.read_text("utf-8"))
    found = []
    for image in told["images"]:
        people = [one["keypoints"] for one in told["annotations"] if one["image_id"] == image["id"]]
        found.append(((image["width"], image["height"]), np.array(people, np.float64).reshape(-1, 17, 3)))
    return found


def as_skeleton(people, skeleton):
    """COCO keypoints (P, 17, 3) as joints (P, J, 2) of another skeleton, NaN where there is none."""
    places = np.where(people[..., 2:] > 0, people[..., :2], np.nan)
    named = {name: places[:, COCO17.index(name)] for name in COCO17.joints}
    named["neck"] = (named["l_shoulder"] + named["r_shoulder"]) / 2
    named["head_top"] = named["nose"] + (named["nose"] - named["neck"])
    return np.stack([named[name] for name in skeleton.joints], axis=1)


def heatmaps(joints, size, stride, sigma=1.0):
    """(J, H, W): the highest of all people's Gaussians; `joints` (P, J, 2) in input pixels, `size` (H, W) in cells."""
    y, x = ((np.arange(length) + 0.5) * stride for length in size)
    maps = np.zeros((joints.shape[1], *size))
    for person in joints:
        for channel, (px, py) in enumerate(person):
            if np.isfinite(px):
                spot = np.exp(-((x[None, :] - px) ** 2 + (y[:, None] - py) ** 2) / (2 * (sigma * stride) ** 2))
                maps[channel] = np.maximum(maps[channel], spot)
    return maps


def pafs(joints, skeleton, size, stride, width=1.0):
    """(C, H, W): along each limb its unit vector, the mean where limbs of several people cross."""
    y, x = ((np.arange(length) + 0.5) * stride for length in size)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    channels = 1 + max(max(pair) for pair in skeleton.paf)
    total, count = np.zeros((channels, *size)), np.zeros((channels, *size))
    for person in joints:
        for (start, end), pair in zip(skeleton.limbs, skeleton.paf, strict=True):
            a, b = person[start], person[end]
            length = np.hypot(*(b - a))
            if not np.isfinite(length) or length == 0:
                continue
            unit = (b - a) / length
            along = (grid - a) @ unit
            aside = np.abs((grid - a) @ np.array([-unit[1], unit[0]]))
            there = (along >= -stride / 2) & (along <= length + stride / 2) & (aside <= width * stride)
            for channel, value in zip(pair, unit, strict=True):
                total[channel] += np.where(there, value, 0)
                count[channel] += there
    return total / np.maximum(count, 1)


def crowd(number, size=(368, 656), seed=0):
    """`number` drawn people side by side and in two rows, as COCO keypoints (P, 17, 3) inside `size` (H, W) pixels."""
    random = np.random.default_rng(seed)
    drawn = [person for _, people in pictures() for person in people if (person[:, 2] > 0).all()]
    columns = (number + 1) // 2
    cell = size[1] / columns, size[0] / 2
    people = []
    for place in range(number):
        person = drawn[int(random.integers(len(drawn)))].copy()
        low, high = person[:, :2].min(axis=0), person[:, :2].max(axis=0)
        scale = min(0.9 * cell[0] / (high[0] - low[0]), 0.9 * cell[1] / (high[1] - low[1]))
        corner = np.array([place % columns * cell[0], place // columns * cell[1]]) + 0.05 * np.array(cell)
        person[:, :2] = (person[:, :2] - low) * scale + corner
        people.append(person)
    return np.array(people)


__all__ = ["AI_CHALLENGER14", "COCO17", "COCO18", "as_skeleton", "crowd", "heatmaps", "pafs", "pictures"]
