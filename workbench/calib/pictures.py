"""Picture sets: what a recipe's calibration source names, read as hostile input and written fitted to the network."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from workbench.calib import png
from workbench.calib.crops import crops as cut
from workbench.calib.preprocess import fit_picture, upright
from workbench.engine.progress import Progress, Silent, track
from workbench.errors import RecipeError, ToolError
from workbench.recipe.schema import InputSpec

AT = ("calibration", "pictures")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
LARGEST = 100_000_000  # pixels; about four times the largest camera picture, and 400 MB once decoded
_SHOWN = 3  # reasons named in an error

CROP = ", crop "
"""Between the name of a picture and the number of its crop, where both are told together."""


@dataclass(frozen=True)
class Unreadable:
    """A file that was to be a picture and is not, with the reason."""

    path: Path
    reason: str


@dataclass(frozen=True)
class FittedReport:
    """What `write_fitted` did: the pictures used, in order, those left out, and what is in each file, in file order."""

    used: tuple[Path, ...]
    skipped: tuple[Unreadable, ...]
    written: tuple[str, ...]


def choose(paths: Sequence[Path], count: int) -> tuple[Path, ...]:
    """At most `count` of `paths`, evenly spread over their order; the same ones on every run."""
    if count >= len(paths):
        return tuple(paths)
    return tuple(paths[index * len(paths) // count] for index in range(count))


def hold_out(paths: Sequence[Path], samples: int) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The `samples` pictures a network is judged by, and the others, which it may be calibrated on; never both.

    A copy of a picture that judges, under another name, is in neither.
    """
    golden = choose(paths, samples)
    judged = set(golden)
    others = tuple(path for path in paths if path not in judged)
    copies = set(same_content(others, golden))
    return golden, tuple(path for path in others if path not in copies)


def same_content(paths: Sequence[Path], others: Sequence[Path]) -> tuple[Path, ...]:
    """Those of `paths` whose bytes are also those of one of `others`. Only files of equal size are read."""
    sizes = {_size(path) for path in others} - {-1}
    near = [path for path in paths if _size(path) in sizes]
    known = {content(path) for path in others if _size(path) != -1} if near else set()
    return tuple(path for path in near if content(path) in known)


def check_apart(calibrates: Sequence[Path], scores: Sequence[Path]) -> None:
    """Refuse a score that would be measured on what was calibrated with, whatever the files are called.

    Raises:
        RecipeError: a picture is in both; the first three are named.
    """
    both = same_content(scores, calibrates)
    if both:
        more = f" and {len(both) - _SHOWN} more" if len(both) > _SHOWN else ""
        raise RecipeError(
            f"pictures that calibrate cannot score: {', '.join(path.name for path in both[:_SHOWN])}{more}",
            fix="take them out of one of the two sets",
            at=AT,
        )


def open_picture(path: Path) -> Image.Image | Unreadable:
    """The picture in `path`, decoded, upright, in mode RGB, RGBA or L; or why it cannot be read. Never raises."""
    try:
        if not path.is_file():  # a pipe would block the run, a folder has no pixels
            return Unreadable(path, "no such file" if not path.exists() else "not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about sizes and broken metadata; both are judged here
            with Image.open(path, formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > LARGEST:
                    return Unreadable(path, f"{width} x {height} pixels is more than {LARGEST // 1_000_000} megapixels")
                picture.load()
                return upright(picture)
    except Image.DecompressionBombError:
        return Unreadable(path, f"more than {LARGEST // 1_000_000} megapixels")
    except UnidentifiedImageError:
        return Unreadable(path, f"not a picture ({', '.join(FORMATS)} are read)")
    except MemoryError:
        return Unreadable(path, "too large for this machine's memory")
    except Exception as error:  # decoders on hostile bytes raise nearly anything: struct, zlib, Key, Value, Overflow
        return Unreadable(path, " ".join(str(error).split())[:200] or type(error).__name__)


def fingerprint(paths: Sequence[Path], root: Path) -> str:
    """A sha256 over the names (relative to `root`, in order) and the contents of `paths`, for cache keys.

    A file that cannot be read counts as such, so that the key moves when it is mended.
    """
    total = hashlib.sha256()
    for path in paths:
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        total.update(f"{name}\0{content(path)}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def write_fitted(
    paths: Sequence[Path],
    spec: InputSpec,
    folder: Path,
    *,
    count: int,
    minimum: int = 1,
    crops: int = 0,
    progress: Progress | None = None,
) -> FittedReport:
    """Write `choose(paths, count)`, fitted to `spec`, as ``00000.png``, ``00001.png``, ... into `folder`.

    Each picture is followed by `crops` parts of it (see `calib.crops`), so that the first files of a folder are a fair
    sample of it. They are the same for every input, and `count` and `minimum` do not count them. Files are 8-bit RGB
    (grey when `spec.color` is GRAY) without metadata, one picture in memory at a time; equal input gives equal bytes.
    Unreadable pictures are left out, warned about and reported, not replaced.

    Raises:
        RecipeError: fewer than `minimum` could be read.
        ToolError: `folder` cannot be written.
    """
    says = progress or Silent()
    chosen = choose(paths, count)
    used: list[Path] = []
    skipped: list[Unreadable] = []
    written: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in track(chosen, says, "pictures"):
            picture = open_picture(path)
            if isinstance(picture, Unreadable):
                skipped.append(picture)
                continue
            used.append(path)
            for number, part in enumerate(_parts(picture, path, crops)):
                (folder / f"{len(written):05d}.png").write_bytes(png.encode(fit_picture(part, spec)))
                written.append(f"{path.name}{CROP}{number}" if number else path.name)
    except OSError as error:
        raise ToolError(
            f"cannot write the fitted pictures: {error.strerror}",
            where=str(folder),
            fix="check the disk's free space and the folder's permissions",
        ) from error
    if len(used) < minimum:
        raise _too_few(len(chosen), len(used), minimum, skipped)
    for unreadable in skipped[:_SHOWN]:
        says.warn(f"calibration picture {unreadable.path.name} left out: {unreadable.reason}")
    if len(skipped) > _SHOWN:
        says.warn(f"{len(skipped)} of {len(chosen)} calibration pictures could not be read")
    return FittedReport(tuple(used), tuple(skipped), tuple(written))


def read_fitted(folder: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """The pictures `write_fitted` wrote, in its order, one at a time: uint8 (H, W, 3) RGB or (H, W, 1).

    Raises:
        ToolError: one of them is damaged.
    """
    for path in sorted(folder.glob("*.png")):
        picture = open_picture(path)
        if isinstance(picture, Unreadable):
            raise ToolError(picture.reason, where=str(path), fix="it was written by an earlier step: run that again")
        pixels = np.asarray(picture)
        yield pixels.reshape(*pixels.shape[:2], -1)


def _parts(picture: Image.Image, path: Path, crops: int) -> Iterator[Image.Image]:
    """The picture, then its crops."""
    yield picture
    if crops:
        yield from cut(picture, content(path).encode(), crops)


def content(path: Path) -> str:
    """The SHA-256 of a file's content in hexadecimal digits; what is wrong with it when it cannot be read."""
    try:
        if not path.is_file():
            return "missing"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def _too_few(found: int, readable: int, minimum: int, skipped: Sequence[Unreadable]) -> RecipeError:
    reasons = "; ".join(f"{entry.path.name}: {entry.reason}" for entry in skipped[:_SHOWN])
    more = f"; and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    unreadable = f", {len(skipped)} unreadable ({reasons}{more})" if skipped else ""
    return RecipeError(
        f"{found} pictures found{unreadable}: {readable} are too few, {minimum} are needed",
        fix="mend or add pictures, or lower calibration.minimum",
        at=AT,
    )
