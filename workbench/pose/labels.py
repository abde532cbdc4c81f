"""Labels of people from a COCO-style json, joints in the order of a skeleton; the file is judged as hostile input."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from workbench.errors import RecipeError
from workbench.pose.person import Person
from workbench.pose.skeletons import Skeleton

LARGEST = 500_000_000  # bytes of a file; the largest of COCO has 240 MB
_FARTHEST = 1e6  # pixels; more is no place in a picture
_MOST_JOINTS = 1024
_SHOWN = 3
_SIDES = {"left": "l", "right": "r"}
_ALIASES = {"top_head": "head_top", "headtop": "head_top", "top_of_head": "head_top"}


@dataclass(frozen=True, eq=False)
class Label:
    """One labelled person.

    Attributes:
        person: joints in pixels of the picture, NaN and confidence 0 where there is no label.
        box: left, top, width and height; around the labelled joints where the file has none.
        area: of the person in square pixels; of the box where the file has none.
        crowd: stands for several people, none of whom is expected to be found.
    """

    person: Person
    box: tuple[float, float, float, float]
    area: float
    crowd: bool = False


@dataclass(frozen=True)
class Labels:
    """What a file says.

    Attributes:
        skeleton: whose order the joints have.
        joints: the names of it that the file has labels for.
        people: {file name of a picture: its people}, as the file has the names.
        sizes: {file name: width and height}, where the file has them.
    """

    skeleton: Skeleton
    joints: tuple[str, ...]
    people: Mapping[str, tuple[Label, ...]]
    sizes: Mapping[str, tuple[int, int]]


def read(path: Path, skeleton: Skeleton) -> Labels:
    """The labels in `path`: ``images``, ``annotations`` and ``categories`` as COCO has them.

    ``left_`` and ``right_`` are `l_` and `r_` here. Keypoints with visibility 0 are not labelled; joints that the
    skeleton has not are left out. Annotations without keypoints are no people.

    Raises:
        RecipeError: the file cannot be read, is none of that kind, contradicts itself or knows no joint of `skeleton`.
    """
    data = _load(path)
    images, annotations, categories = (_list(data, key, path) for key in ("images", "annotations", "categories"))
    orders = _orders(categories, path)
    known = [name for name in skeleton.joints if any(name in order for order in orders.values())]
    if not known:
        _refuse(
            path,
            f"it labels none of the joints of {skeleton.name}",
            f'write their names into {{"categories": [{{"id": 1, "keypoints": ["{skeleton.joints[0]}", ...]}}]}}',
        )
    names: dict[int, str] = {}
    people: dict[str, list[Label]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for place, image in enumerate(images):
        at = f"images[{place}]"
        number, name = _integer(image, "id", at, path), _get(image, "file_name", at, path)
        if not isinstance(name, str) or not name or len(name) > 4096:
            _refuse(path, f"{at}.file_name is no file name")
        if number in names or name in people:
            _refuse(path, f"{at}: picture {name!r} or its id {number} is there twice", "list each picture once")
        names[number], people[name] = name, []
        if "width" in image and "height" in image:
            sizes[name] = _integer(image, "width", at, path), _integer(image, "height", at, path)
    for place, annotation in enumerate(annotations):
        at = f"annotations[{place}]"
        number = _integer(annotation, "image_id", at, path)
        if number not in names:
            _refuse(path, f"{at} is about image {number}, which is not among its images", "list it under images")
        if "keypoints" in annotation:
            people[names[number]].append(_label(annotation, at, orders, skeleton, path))
    return Labels(skeleton, tuple(known), {name: tuple(found) for name, found in people.items()}, sizes)


def of_pictures(labels: Labels, pictures: Sequence[str], where: str) -> dict[str, tuple[Label, ...]]:
    """The people in each of `pictures`; a picture that the file does not list is missing in the answer.

    Args:
        labels: of some pictures.
        pictures: names relative to their folder, with ``/``; the file may have them so, or the last part alone.
        where: the file, for the message.

    Raises:
        RecipeError: the file lists pictures that are not there, or none that is, or does not say which it means.
    """
    found: dict[str, tuple[Label, ...]] = {}
    last: dict[str, list[str]] = {}
    for name in pictures:
        last.setdefault(PurePosixPath(name).name, []).append(name)
    there, strangers = set(pictures), []
    for name, people in labels.people.items():
        plain = PurePosixPath(name.replace("\\", "/"))
        meant = [plain.as_posix()] if plain.as_posix() in there else last.get(plain.name, [])
        if not meant:
            strangers.append(name)
        elif len(meant) > 1 or meant[0] in found:
            raise RecipeError(
                f"picture {name!r} could be any of {', '.join([*meant, *found][:_SHOWN])}",
                where=where,
                fix="write the file names as they are below the folder of pictures",
            )
        else:
            found[meant[0]] = people
    if strangers:
        more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
        raise RecipeError(
            f"it is about other pictures: {', '.join(map(repr, strangers[:_SHOWN]))}{more} are not in the folder",
            where=where,
            fix="give the folder that the labels belong to, or take those pictures out of the file",
        )
    if not found:
        raise RecipeError("it lists no pictures", where=where, fix='it needs {"images": [{"file_name": ...}]}')
    return found


def joint_name(told: str) -> str:
    """What a skeleton here calls the joint that a file calls `told`: ``Left Shoulder`` is ``l_shoulder``."""
    words = told.strip().lower().replace("-", "_").replace(" ", "_").split("_")
    name = "_".join(_SIDES.get(word, word) for word in words)
    return _ALIASES.get(name, name)


def _load(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():  # a pipe would block the run
            raise RecipeError("no such file", where=str(path), fix="check the path of --annotations")
        if path.stat().st_size > LARGEST:
            _refuse(path, "it is larger than labels can be", "cut it to the pictures that are evaluated")
        data = json.loads(path.read_bytes(), parse_constant=_no_number)
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=str(path), fix="check its permissions") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RecipeError(f"it is no json: {reason}", where=str(path), fix="write it with a json library") from error
    if not isinstance(data, dict):
        _refuse(path, "it is no COCO-style json")
    return data


def _no_number(told: str) -> NoReturn:
    raise ValueError(f"{told} is no number")


def _orders(categories: Sequence[Mapping[str, Any]], path: Path) -> dict[int, tuple[str, ...]]:
    """Per category with keypoints, the names of its joints."""
    orders: dict[int, tuple[str, ...]] = {}
    for place, category in enumerate(categories):
        if "keypoints" not in category:
            continue
        at, told = f"categories[{place}]", category["keypoints"]
        if not isinstance(told, list) or not all(isinstance(name, str) for name in told) or len(told) > _MOST_JOINTS:
            _refuse(path, f"{at}.keypoints are no names of joints")
        names = tuple(joint_name(name) for name in told)
        if len(set(names)) != len(names):
            _refuse(path, f"{at}.keypoints name a joint twice")
        orders[_integer(category, "id", at, path)] = names
    return orders


def _label(
    annotation: Mapping[str, Any], at: str, orders: Mapping[int, Sequence[str]], skeleton: Skeleton, path: Path
) -> Label:
    order = orders.get(_integer(annotation, "category_id", at, path))
    if order is None:
        _refuse(path, f"{at}: no category of that id names its keypoints", "write their names into categories")
    values = _numbers(annotation["keypoints"], f"{at}.keypoints", path)
    if len(values) != 3 * len(order):
        _refuse(path, f"{at}.keypoints are {len(values)} numbers, not 3 for each of {len(order)} joints")
    told = dict(zip(order, values.reshape(-1, 3), strict=True))
    joints = np.full((len(skeleton.joints), 2), np.nan)
    for place, name in enumerate(skeleton.joints):
        if name in told and told[name][2] > 0:
            joints[place] = told[name][:2]
    labelled = np.isfinite(joints).all(axis=1)
    if "bbox" in annotation:
        box = _numbers(annotation["bbox"], f"{at}.bbox", path)
        if len(box) != 4 or (box[2:] < 0).any():
            _refuse(path, f"{at}.bbox is not left, top, width and height")
    else:
        corner = np.nanmin(joints, axis=0) if labelled.any() else np.zeros(2)
        other = np.nanmax(joints, axis=0) if labelled.any() else np.zeros(2)
        box = np.concatenate([corner, other - corner])
    left, top, width, height = (float(value) for value in box)
    area = float(_numbers([annotation["area"]], f"{at}.area", path)[0]) if "area" in annotation else width * height
    person = Person(joints, labelled.astype(np.float64))
    return Label(person, (left, top, width, height), area, annotation.get("iscrowd", 0) == 1)


def _numbers(told: Any, at: str, path: Path) -> npt.NDArray[np.float64]:
    """A list of numbers within reason."""
    plain = isinstance(told, list) and len(told) <= 3 * _MOST_JOINTS
    most = _FARTHEST**2 if at.endswith("area") else _FARTHEST
    if not plain or not all(type(value) in (int, float) and abs(value) <= most for value in told):
        _refuse(path, f"{at} are not numbers of pixels")
    return np.array(told, np.float64)


def _list(data: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    found = data.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        _refuse(path, f"{key} is no list of objects")
    return found


def _get(told: Mapping[str, Any], key: str, at: str, path: Path) -> Any:
    if key not in told:
        _refuse(path, f"{at} has no {key}")
    return told[key]


def _integer(told: Mapping[str, Any], key: str, at: str, path: Path) -> int:
    found = _get(told, key, at, path)
    if type(found) is not int or abs(found) > 2**63:
        _refuse(path, f"{at}.{key} is no whole number")
    return int(found)


def _refuse(path: Path, what: str, fix: str = "") -> NoReturn:
    need = '{"images": [{"id", "file_name"}], "annotations": [{"image_id", "category_id", "keypoints"}], "categories"}'
    raise RecipeError(what, where=str(path), fix=fix or f"COCO keypoints are {need}")
