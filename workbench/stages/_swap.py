"""Exchange a folder in dist for a new result by rename, whatever was interrupted before, and keep what is not ours."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.engine.progress import Progress
from workbench.engine.store import disk_error, is_running, sha256_file, write_json
from workbench.errors import ToolError


@dataclass(frozen=True)
class File:
    """A file of the store to publish: `stage` wrote it with this size and hash; `precision` when it is a model."""

    file: Path
    size: int
    sha256: str
    precision: str | None
    stage: str


def is_current(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether `folder` already holds exactly what `manifest` says, by content."""
    old = _old_manifest(folder)
    return old == manifest and all(
        (folder / entry["path"]).is_file()
        and (folder / entry["path"]).stat().st_size == entry["bytes"]
        and sha256_file(folder / entry["path"]) == entry["sha256"]
        for entry in manifest["files"]
    )


def _old_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a former result of ours in `folder`; None when there is none, or it is somebody else's file."""
    try:
        found = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(found, dict) or not found.keys() >= {"recipe", "deployable", "keys", "files"}:
        return None
    files = found["files"]
    ours = isinstance(files, list) and all(
        isinstance(entry, dict) and isinstance(entry.get("path"), str) for entry in files
    )
    return found if ours else None


def withdraw(folder: Path) -> None:
    """Remove a former result from `folder`: our files, and the folders that are empty then."""
    old = _old_manifest(folder)
    if old is None:
        return
    for name in (*(entry["path"] for entry in old["files"]), "manifest.json"):
        path = folder / name
        if path.resolve().is_relative_to(folder.resolve()):  # a manifest is a file anybody may have edited
            path.unlink(missing_ok=True)
    for path in sorted((*folder.rglob("*"), folder), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()


def check(recipe: str, dist: Path) -> None:
    """Find out before the work whether its results can be published.

    Raises:
        ToolError: `dist` cannot be written, or the recipe's folder there is not a former result.
    """
    existing = next(folder for folder in (dist, *dist.absolute().parents) if folder.exists() or folder.is_symlink())
    try:
        with tempfile.TemporaryDirectory(prefix=".workbench-", dir=existing):
            pass
        for name in (recipe, f"{recipe}.failed"):
            _refuse_others(dist / name)
    except OSError as error:
        raise disk_error(OSError(error.errno, error.strerror), existing) from error


def _refuse_others(folder: Path) -> None:
    if folder.exists() and _old_manifest(folder) is None and any(folder.iterdir()):
        raise ToolError(
            "the folder holds something that is not a result of workbench",
            where=str(folder),
            fix="move it away, or publish elsewhere with --dist",
        )


def replace(folder: Path, manifest: Mapping[str, Any], files: Mapping[str, File], progress: Progress) -> None:
    """Write everything aside, then swap folders by rename; files in `folder` that are not ours stay in it."""
    folder = folder.resolve()  # a link keeps pointing to where its owner wants the files
    folder.parent.mkdir(parents=True, exist_ok=True)
    _recover(folder)
    _refuse_others(folder)
    old = _old_manifest(folder)
    aside = folder.parent / f".{folder.name}.part-{os.getpid()}"
    retired = folder.parent / f".{folder.name}.old-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        for done, (path, source) in enumerate(sorted(files.items()), 1):
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            _copy(source, aside / path)
            progress.step(done, len(files), "files published")
        write_json(aside / "manifest.json", manifest)
        if old is not None:
            _keep_strangers(folder, {*(entry["path"] for entry in old.get("files", ())), "manifest.json"}, aside)
        if folder.exists():
            folder.rename(retired)
        aside.rename(folder)
    finally:
        if retired.exists() and not folder.exists():
            retired.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(retired, ignore_errors=True)


def _copy(source: File, to: Path) -> None:
    """Copy a file and prove on the way that it is what the manifest says.

    Raises:
        DamagedError: it is not.
        OSError: naming the file that could not be written, where `shutil` names the one it reads.
    """
    content = hashlib.sha256()
    with source.file.open("rb") as reader:
        try:
            with to.open("wb") as writer:
                while chunk := reader.read(1 << 20):
                    content.update(chunk)
                    writer.write(chunk)
            to.chmod(source.file.stat().st_mode & 0o777)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(to)) from error
    if content.hexdigest() != source.sha256:
        raise DamagedError(source.stage)


class DamagedError(Exception):
    """A cached result is no longer what its stage wrote; the argument names the stage."""


def _recover(folder: Path) -> None:
    """Finish what a killed run left: bring back a result that was moved aside, sweep half-copied ones."""
    for kind in ("old", "part"):
        for remains in sorted(folder.parent.glob(f".{folder.name}.{kind}-*")):
            if is_running(remains.name.rpartition("-")[2]):
                continue
            if kind == "old" and not folder.exists() and _old_manifest(remains) is not None:
                remains.rename(folder)
            else:
                shutil.rmtree(remains, ignore_errors=True)


def _keep_strangers(folder: Path, ours: set[str], aside: Path) -> None:
    """Copy what the user put beside our files: files, links as links, empty folders."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        to = aside / name
        if name in ours or to.exists() or to.is_symlink():
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                to.mkdir(parents=True)
            continue
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, to, follow_symlinks=False)
