"""What an unfinished step keeps: a folder of its own that outlives an interruption, files in it whole or absent.

    <home>/partial/<digest>/      what the step has done so far; <digest> is that of its key
    <home>/partial/<digest>.lock  locked by the process that works on it

A stage with ``resumable=True`` finds the folder as ``inputs["partial"]``, empty or as the last attempt left it, writes
into it what it need not do twice (`write`), and begins by looking for it (`read`). As the folder is the key's, nothing
in it can be out of date. It outlives errors, Ctrl-C and ``kill -9``, and is removed when the step is published, or when
nobody came back for it in a week.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.engine.store import Store, disk_error

ABANDONED = 7 * 24 * 3600
"""Seconds without a change after which a folder that nobody works on is removed."""

_HASH = hashlib.sha256().digest_size


@contextmanager
def kept(store: Store, digest: str) -> Iterator[Path]:
    """The folder of the step with the key `digest`; removed when the body ends without an exception.

    While another process works on the very same step, this one gets an empty folder that is not kept.

    Raises:
        ToolError: the disk refuses.
    """
    folder = _folder(store) / digest
    lock = _lock(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        held = _claim(lock)
    except OSError as error:
        raise disk_error(error, folder) from error
    if held is None:
        with store.scratch("partial") as spare:
            yield spare / "files"
            shutil.rmtree(spare, ignore_errors=True)
        return
    try:
        try:
            folder.mkdir(exist_ok=True)
            os.utime(lock)
        except OSError as error:
            raise disk_error(error, folder) from error
        yield folder
        _remove(folder)
    finally:
        os.close(held)


def sweep(store: Store) -> None:
    """Remove the folders of steps that have a result by now, and those of nobody's, unless a process works on them."""
    for lock in sorted(_folder(store).glob("*.lock")):
        folder = lock.with_suffix("")
        if not store.has(folder.name) and time.time() - _touched(folder) < ABANDONED:
            continue
        with suppress(OSError):  # another user's: it is theirs to remove
            held = _claim(lock)
            if held is not None:
                try:
                    _remove(folder)
                finally:
                    os.close(held)


def write(path: Path, data: bytes) -> None:
    """Write `data` whole or not at all, behind its SHA-256, so that `read` knows damage of any kind."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_bytes(hashlib.sha256(data).digest() + data)
    aside.replace(path)


def read(path: Path) -> bytes | None:
    """What `write` wrote; None when it is not there, or damaged."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    told, data = found[:_HASH], found[_HASH:]
    return data if hashlib.sha256(data).digest() == told else None


def _folder(store: Store) -> Path:
    return store.home / "partial"


def _lock(folder: Path) -> Path:
    return folder.with_suffix(".lock")


def _claim(lock: Path) -> int | None:
    """A descriptor that holds `lock` until it is closed; None when another has it, or the disk knows no locks.

    Raises:
        OSError: the file cannot be made.
    """
    while True:
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(held), lock.stat()):
                return held
        os.close(held)  # its owner removed it between the two calls


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _lock(folder).unlink(missing_ok=True)


def _touched(folder: Path) -> float:
    """When anything in `folder` changed, or a process last claimed it."""
    latest = 0.0
    for path in (_lock(folder), folder, *folder.rglob("*")):
        with suppress(OSError):
            latest = max(latest, path.lstat().st_mtime)
    return latest
