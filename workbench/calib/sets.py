"""Which files a recipe's `calibration.pictures` means: the drawn people, a folder, a glob or a COCO json."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from workbench.calib import people
from workbench.engine.progress import Progress
from workbench.errors import RecipeError

AT = ("calibration", "pictures")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_LARGEST_JSON = 1_000_000_000  # bytes; COCO's largest keypoint file has 0.24 GB


@dataclass(frozen=True)
class PictureSet:
    """The pictures a recipe names.

    Attributes:
        root: the folder names are relative to.
        paths: the files, sorted by name, not opened yet.
        origin: where they come from, for people and manifests; no absolute path.
    """

    root: Path
    paths: tuple[Path, ...]
    origin: str


def find_pictures(
    pictures: str, base: Path, *, cache: Path | None = None, progress: Progress | None = None
) -> PictureSet:
    """The pictures that `pictures` means.

    Args:
        pictures: ``people``; a folder (searched with the folders below it, links to folders not followed); a glob; or a
            COCO json, whose ``images[].file_name`` are relative to it.
        base: the recipe's folder, which relative paths start from.
        cache: where the people are drawn when the repository's ``calib_data/people`` is not beside the package.
        progress: told about drawing.

    Raises:
        RecipeError: nothing is there, no picture is in it, or the json is not a COCO file or names a file outside.
    """
    if pictures == "people":
        folder = people.drawn_set(cache, progress)
        return PictureSet(folder, people.picture_files(folder), "people drawn by workbench calib synth")
    try:
        target = base / pictures
        if target.is_dir():
            return _some(PictureSet(target, tuple(sorted(_below(target))), pictures), "no picture")
        if target.is_file():
            return _coco(target, pictures)
        if glob.has_magic(pictures):
            pattern = str(Path(glob.escape(str(base))) / pictures)
            found = (Path(name) for name in glob.glob(pattern, recursive=True))  # noqa: PTH207  pathlib refuses absolute ones
            return _some(PictureSet(base, tuple(sorted(_pictures(found))), pictures), "no picture matches")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise RecipeError(f"cannot look for pictures in {pictures!r}: {error}", fix="check the path", at=AT) from error
    raise RecipeError(
        f"no pictures: {pictures!r} is neither a folder nor a file",
        fix=f"paths start from the recipe's folder, {base}; or write people, a glob, or a COCO json",
        at=AT,
    )


def _some(found: PictureSet, problem: str) -> PictureSet:
    if not found.paths:
        known = ", ".join(sorted(SUFFIXES))
        raise RecipeError(f"{problem}: {found.origin!r}", fix=f"pictures are files that end in {known}", at=AT)
    return found


def _below(folder: Path) -> Iterable[Path]:
    for here, _, names in os.walk(folder, followlinks=False):
        yield from _pictures(Path(here) / name for name in names)


def _pictures(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir():
            yield path


def _coco(file: Path, pictures: str) -> PictureSet:
    """The pictures of a COCO json, each once."""
    if file.suffix.lower() != ".json":
        raise RecipeError(
            f"{pictures!r} is a file, but not a COCO json", fix="name the folder it is in, or a glob", at=AT
        )
    if file.stat().st_size > _LARGEST_JSON:
        raise RecipeError(f"{pictures!r} is larger than a COCO json can be", fix="name the folder instead", at=AT)
    try:
        images = json.loads(file.read_bytes())["images"]
        names = [image["file_name"] for image in images]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecipeError(
            f"{pictures!r} is not a COCO json ({type(error).__name__}: {error})",
            fix='it needs {"images": [{"file_name": "..."}, ...]}',
            at=AT,
        ) from error
    outside = [name for name in names if not _inside(name)]
    if outside:
        raise RecipeError(
            f"{pictures!r} names a file outside its folder: {outside[0]!r}",
            fix="file names are relative to the json, without '..'",
            at=AT,
        )
    paths = sorted({file.parent / name for name in names})
    return _some(PictureSet(file.parent, tuple(paths), pictures), "no image is listed in")


def _inside(name: object) -> bool:
    """Whether a file name of a json stays in its folder, read as either system would."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return not (posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts))
