"""Have the weights: looked up by hash on this machine, or downloaded, and never taken when the hash does not fit.

<cache>/<ab>/<sha256>       whole files, read-only
<cache>/git/<sha1>          the sha256 of a file that is pinned by its git blob SHA-1
<cache>/partial/<key>       downloads that were broken off; the next attempt goes on from there
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.engine.progress import Progress, Silent
from workbench.errors import SourceError, ToolError
from workbench.recipe.schema import Weights
from workbench.sources import _fetch_http as http
from workbench.sources import _fetch_pins as pins
from workbench.sources._fetch_pins import Digest, Pin

_DEEPEST = 3  # folders below a mirror that are searched for the file's name
_MOST_HASHED = 4_000_000_000  # bytes of files with other names that are hashed in one mirror


@dataclass(frozen=True)
class Located:
    """Weights in hand, recognised by their hash (or seen for the first time).

    Attributes:
        detail: the address or file name it came from, for people; no path of this machine.
    """

    path: Path
    sha256: str
    origin: Literal["given", "cache", "mirror", "download"]
    detail: str


def locate(
    weights: Weights,
    *,
    given: Path | None,
    mirrors: Sequence[Path],
    cache: Path,
    lock: Path,
    progress: Progress | None = None,
    keep: bool = True,
) -> Located | None:
    """The file, if it is on this machine: `given`, or in the cache, or in a mirror; None when it is not.

    A mirror is searched for the file's name, down to three folders, and then for its hash among the other files of its
    own level. An unpinned file that a mirror has is pinned in `lock`, unless `keep` is False.

    Raises:
        SourceError: `given` is not there or not the pinned file; the lock file is damaged.
    """
    says = progress or Silent()
    pin = pins.pin(weights, lock)
    if given is not None:
        return _given(weights, pin, given, lock)
    return _cached(weights, pin, cache, says) or _mirrored(weights, pin, mirrors, lock if keep else None, says)


def download(
    weights: Weights, *, cache: Path, lock: Path, progress: Progress, opener: http.Opener | None = None
) -> Located:
    """Download the file into `cache`; pin it in `lock` if nothing else does.

    Two processes that want the same file download it once. Ctrl-C leaves what came so far, for the next attempt.

    Raises:
        SourceError: the file cannot be had; with the ways out. The lock file is damaged.
        ToolError: what came is not the pinned file, or the disk is full. This is no `SourceError`: random weights must
            not take the place of a file that somebody changed.
    """
    if weights.url is None:
        raise unavailable(weights, f"their authors publish them on a page only: {weights.page}")
    key = weights.sha256 or weights.git_blob or hashlib.sha256(weights.url.encode()).hexdigest()
    partial = cache / "partial" / key
    mark = partial.with_name(f"{key}.mark")
    with http.claimed(partial, progress) as file:
        pin = pins.pin(weights, lock)  # only now: a process that was waited for may have pinned it
        ready = _cached(weights, pin, cache, progress)
        if ready is not None:
            return ready
        try:
            http.fill(weights.url, file, None if pin.known else mark, progress, opener or http.opener())
        except http.UnreachableError as error:
            raise unavailable(weights, str(error)) from error
        found = _checked(weights, pin, partial, mark)
        path = _store(partial, pin, found, cache)
        _forget(mark)
        if not pin.known:
            pins.keep(lock, weights.file, found, weights.url, progress)
    return Located(path, found.sha256, "download", weights.url)


def is_pinned(weights: Weights, lock: Path) -> bool:
    """Whether the recipe or its lock file says what the file's content hashes to."""
    return pins.pin(weights, lock).known


def unavailable(weights: Weights, reason: str) -> SourceError:
    """The error for weights that cannot be had, with the three ways out."""
    page = weights.page or weights.url or "its publisher"
    again = f"with a network, run 'workbench fetch': it downloads {weights.url}"
    if weights.url is None:
        again = "add its direct address to the recipe as weights.url"
    return SourceError(
        f"the weights {weights.file} are not on this machine, and {reason}",
        fix=f"one of three ways:\n"
        f"    download it by hand from {page} and pass --weights FILE\n"
        f"    put it into a folder that WORKBENCH_MIRROR names\n"
        f"    {again}",
    )


def _given(weights: Weights, pin: Pin, path: Path, lock: Path) -> Located:
    try:
        if not path.is_file():
            raise SourceError("no such file", where=str(path), fix="check the path given with --weights")
        found = pins.digest(path)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", where=str(path), fix="check its permissions") from error
    if not pin.fits(found):
        pinned = weights.sha256 or weights.git_blob
        place = "the pin in the recipe's weights" if pinned else f"the entry {weights.file} in {lock}"
        raise SourceError(
            f"not the pinned {weights.file}: {pin.difference(found)}",
            where=str(path),
            fix=f"give the pinned file, or change {place} if this one is meant",
        )
    return Located(path, found.sha256, "given", path.name)


def _cached(weights: Weights, pin: Pin, cache: Path, says: Progress) -> Located | None:
    sha256 = pin.sha256 or _by_git_blob(pin, cache)
    if sha256 is None:
        return None
    path = _place(cache, sha256)
    try:
        if not path.is_file():
            return None
        found = pins.digest(path)
        if found.sha256 == sha256 and pin.fits(found):
            return Located(path, sha256, "cache", weights.file)
        if found.sha256 != sha256:
            path.unlink()
            says.note(f"the cached {weights.file} was damaged and is removed")
    except OSError as error:
        says.note(f"the cached {weights.file} cannot be used: {error.strerror}")
    return None


def _mirrored(weights: Weights, pin: Pin, mirrors: Sequence[Path], lock: Path | None, says: Progress) -> Located | None:
    for folder in mirrors:
        if not folder.is_dir():
            says.note(f"mirror {folder} is no folder")
            continue
        for path in _candidates(folder, weights.file, pin):
            try:
                found = pins.digest(path)
            except OSError as error:
                says.note(f"{path} cannot be read: {error.strerror}")
                continue
            if pin.fits(found):
                if not pin.known and lock is not None:
                    pins.keep(lock, weights.file, found, pins.LOCAL, says)
                return Located(path, found.sha256, "mirror", path.name)
            if path.name == weights.file:
                says.note(f"{path} is not the pinned file: {pin.difference(found)}")
    return None


def _candidates(folder: Path, name: str, pin: Pin) -> Iterator[Path]:
    """Files of `folder` that may be the one, likeliest first; only the name tells when nothing is pinned."""
    yield from (path for path in _named(folder, name, _DEEPEST) if _sane(path))
    if not pin.known:
        return
    left = _MOST_HASHED
    for path in _entries(folder):
        if path.name != name and _sane(path, pin.size) and left > 0:
            left -= path.stat().st_size
            yield path


def _named(folder: Path, name: str, deep: int) -> Iterator[Path]:
    entries = _entries(folder)
    yield from (path for path in entries if path.name == name)
    if deep > 0:
        for path in entries:
            if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
                yield from _named(path, name, deep - 1)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # a folder that may not be read holds nothing for us


def _sane(path: Path, expected: int | None = None) -> bool:
    """Whether this is a file of the expected size, or of any that weights may have."""
    try:
        size = path.stat().st_size if path.is_file() else 0
    except OSError:
        return False
    return size == expected if expected is not None else 0 < size <= http.LARGEST


def _checked(weights: Weights, pin: Pin, partial: Path, mark: Path) -> Digest:
    """The digest of a whole download; a file that is not the pinned one is deleted."""
    try:
        found = pins.digest(partial)
    except OSError as error:
        raise http.disk(error, partial) from error
    if found.size == 0:
        raise unavailable(weights, "the address gives an empty file")
    if not pin.fits(found):
        _forget(partial)
        _forget(mark)
        raise ToolError(
            f"what the address gives is not the pinned {weights.file}: {pin.difference(found)}",
            where=weights.url or "",
            fix="try again; if it stays so the publisher changed the file: look at it before you change the pin",
        )
    return found


def _store(partial: Path, pin: Pin, found: Digest, cache: Path) -> Path:
    """Move a checked file to its place."""
    path = _place(cache, found.sha256)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(path)
        path.chmod(0o444)
        if pin.git_blob is not None:
            index = cache / "git" / pin.git_blob
            index.parent.mkdir(parents=True, exist_ok=True)
            aside = index.with_name(f".{index.name}.part")
            aside.write_text(found.sha256, "ascii")
            aside.replace(index)
    except OSError as error:
        raise http.disk(error, path) from error
    return path


def _by_git_blob(pin: Pin, cache: Path) -> str | None:
    """The sha256 that the index names for a git blob; it proves nothing, the content is hashed anyway."""
    if pin.git_blob is None:
        return None
    try:
        text = (cache / "git" / pin.git_blob).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None


def _place(cache: Path, sha256: str) -> Path:
    return cache / sha256[:2] / sha256


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise http.disk(error, path) from error
