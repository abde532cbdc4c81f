"""The drawn people: a calibration set that owes nobody anything, with exact keypoints, the same on every run."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workbench.calib import png
from workbench.calib.people_picture import Picture, draw_picture
from workbench.engine.progress import Progress, Silent, track
from workbench.errors import RecipeError, ToolError
from workbench.pose.skeletons import COCO17

GENERATOR = 1  # raised whenever the same seed would mean other pixels
SEED = 8
COUNT = 32
ORIGIN = "drawn by workbench calib synth"
LICENCE = "CC0-1.0"
_DRAW = "draw them: workbench calib synth --out FOLDER"
_MANIFEST, _KEYPOINTS = "manifest.json", "keypoints.json"
_REPOSITORY = Path(__file__).resolve().parents[2] / "calib_data" / "people"


def draw_people(folder: Path, count: int = COUNT, seed: int = SEED, progress: Progress | None = None) -> None:
    """Draw `count` pictures of people into `folder`: ``000.png``, ..., ``keypoints.json`` and ``manifest.json``.

    Everything is written aside and renamed, an earlier output is replaced. ``keypoints.json`` is COCO style;
    ``manifest.json`` has the sha256 of every file, and of every picture's decoded pixels (RGB bytes, row by row): those
    are the same everywhere, while a PNG's bytes may differ between versions of zlib.

    Raises:
        RecipeError: `folder` holds something else than an earlier output, or `count` or `seed` is out of range.
        ToolError: it cannot be written.
    """
    if not 1 <= count <= 10_000 or not 0 <= seed < 2**32:
        raise RecipeError(f"cannot draw {count} pictures from seed {seed}", fix="1..10000 pictures, seed 0..4294967295")
    try:
        _refuse_others(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            aside, before = Path(scratch) / "new", Path(scratch) / "old"
            aside.mkdir()
            _draw_into(aside, count, seed, progress or Silent())
            if folder.exists():
                folder.rename(before)
            try:
                aside.rename(folder)
            except OSError:
                if before.exists():
                    before.rename(folder)
                raise
    except OSError as error:
        raise ToolError(
            f"cannot write the pictures: {error.strerror}", where=str(folder), fix="check the disk and the permissions"
        ) from error


def drawn_set(cache: Path | None = None, progress: Progress | None = None) -> Path:
    """The folder of the drawn set: the repository's own when it is beside the package, else drawn once into `cache`.

    Raises:
        ToolError: the repository's set is damaged, or there is neither a repository nor a cache.
    """
    if (_REPOSITORY / _MANIFEST).is_file():
        problems = check_set(_REPOSITORY)
        if problems:
            raise ToolError(
                f"the drawn people are damaged: {'; '.join(problems[:3])}",
                where=str(_REPOSITORY),
                fix=f"draw them again: workbench calib synth --out {_REPOSITORY}",
            )
        return _REPOSITORY
    if cache is None:
        raise ToolError("the drawn people are not beside the package", fix=_DRAW)
    folder = cache / f"people-{GENERATOR}-{SEED}-{COUNT}"
    if not folder.exists() or check_set(folder):
        shutil.rmtree(folder, ignore_errors=True)  # ours alone, and damaged
        draw_people(folder, progress=progress)
    return folder


def picture_files(folder: Path) -> tuple[Path, ...]:
    """The pictures of a drawn set, in order; other files that lie there are not among them."""
    names = [name for name in _listed(folder) if name.endswith(".png")]
    return tuple(folder / name for name in sorted(names, key=lambda name: int(name[:-4])))


def check_set(folder: Path) -> list[str]:
    """What is wrong with a drawn set: files that are missing or not those of its manifest; empty when all is well."""
    try:
        listed = _listed(folder)
    except ToolError as error:
        return [error.what]
    problems = []
    for name, entry in sorted(listed.items()):
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != entry.get("sha256"):
            problems.append(f"{name} was changed")
    return problems


def _draw_into(folder: Path, count: int, seed: int, progress: Progress) -> None:
    listed: dict[str, dict[str, Any]] = {}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in track(range(count), progress, "pictures drawn"):
        picture = draw_picture(seed, number)
        name = f"{number:03d}.png"
        height, width, _ = picture.pixels.shape
        data = png.encode(picture.pixels, level=9)
        (folder / name).write_bytes(data)
        pixels = hashlib.sha256(picture.pixels.tobytes()).hexdigest()
        listed[name] = _entry(data) | {"pixels_sha256": pixels, "width": width, "height": height}
        images.append({"id": number + 1, "file_name": name, "width": width, "height": height, "license": 1})
        annotations += _annotations(picture, number + 1, len(annotations) + 1)
    coco = {
        "info": {"description": f"People {ORIGIN}, generator {GENERATOR}, seed {seed}"},
        "licenses": [{"id": 1, "name": LICENCE, "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "categories": [_category()],
        "images": images,
        "annotations": annotations,
    }
    data = _json(coco)
    (folder / _KEYPOINTS).write_bytes(data)
    manifest = {"origin": ORIGIN, "licence": LICENCE, "generator": GENERATOR, "seed": seed, "count": count}
    (folder / _MANIFEST).write_bytes(_json(manifest | {"files": listed | {_KEYPOINTS: _entry(data)}}))


def _annotations(picture: Picture, image: int, first: int) -> Iterable[dict[str, Any]]:
    for number, person in enumerate(picture.people, first):
        yield {
            "id": number,
            "image_id": image,
            "category_id": 1,
            "iscrowd": 0,
            "area": person.area,
            "bbox": list(person.box),
            "num_keypoints": sum(seen > 0 for _, _, seen in person.keypoints),
            "keypoints": [value for point in person.keypoints for value in point],
        }


def _category() -> dict[str, Any]:
    long = {"l": "left", "r": "right"}
    names = ["_".join(long.get(part, part) for part in joint.split("_")) for joint in COCO17.joints]
    bones = [[start + 1, end + 1] for start, end in COCO17.limbs]  # COCO counts joints from 1
    return {"id": 1, "name": "person", "supercategory": "person", "keypoints": names, "skeleton": bones}


def _entry(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _json(document: Mapping[str, Any]) -> bytes:
    """`document` with one line for each item of its lists and mappings, so that a change can be seen."""

    def lines(value: Any) -> str:
        if isinstance(value, list):
            return "[\n  " + ",\n  ".join(json.dumps(item) for item in value) + "\n ]"
        if isinstance(value, dict):
            pairs = (f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items())
            return "{\n  " + ",\n  ".join(pairs) + "\n }"
        return json.dumps(value)

    return ("{\n " + ",\n ".join(f"{json.dumps(k)}: {lines(v)}" for k, v in document.items()) + "\n}\n").encode()


def _listed(folder: Path) -> dict[str, dict[str, Any]]:
    """The files of a drawn set's manifest; ToolError when it has none that can be believed."""
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        ours = manifest["origin"] == ORIGIN
        files = {str(name): dict(entry) for name, entry in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ToolError("no manifest of drawn people", where=str(path), fix=_DRAW) from error
    if not ours or not all(re.fullmatch(r"\d{3,4}\.png|keypoints\.json", name) for name in files):
        raise ToolError("not a manifest of drawn people", where=str(path), fix=_DRAW)
    return files


def _refuse_others(folder: Path) -> None:
    """Refuse to replace anything but an earlier output or an empty folder."""
    if not folder.exists() and not folder.is_symlink():
        return
    held = {entry.name for entry in folder.iterdir()} if folder.is_dir() and not folder.is_symlink() else {folder.name}
    if not held:
        return
    try:
        known = {_MANIFEST, *_listed(folder)}
    except ToolError:
        known = set()
    if held - known:
        raise RecipeError(
            f"will not replace what is there: {', '.join(sorted(held - known)[:3])}",
            where=str(folder),
            fix="name a new folder, or one that workbench calib synth wrote",
        )
