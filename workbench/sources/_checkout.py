"""A network's own code: a folder or a git commit, fetched once, imported without leaving traces."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import RecipeError, SourceError, ToolError

_PATIENCE = 900.0  # seconds for one git command
_MOST_FILES = 2000
_LARGEST = 200_000_000  # bytes in all files; hashed before every run


def fetch(repository: str, commit: str, cache: Path) -> Path:
    """The files of `commit`, in a folder below `cache`; git is asked only once.

    Args:
        repository: an https address (or a local path, for tests).
        commit: 40 hex digits.
        cache: written aside and renamed, so a half-fetched commit is never used.

    Raises:
        SourceError: git or the network failed, or what came is not that commit.
        ToolError: the git program is missing, or the cache cannot be written.
    """
    final = cache / commit
    if final.is_dir():
        _verify(final, commit, repository)
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=".part-") as scratch:
            aside = Path(scratch) / "tree"
            aside.mkdir()
            _git(aside, "init", "--quiet")
            _git(aside, "fetch", "--quiet", "--depth", "1", "--no-tags", "--", repository, commit, about=repository)
            _git(aside, "checkout", "--quiet", "--detach", "FETCH_HEAD", "--")
            _verify(aside, commit, repository)
            if not final.is_dir():  # another process may have been faster; the content is the same
                aside.replace(final)
    except OSError as error:
        raise ToolError(
            f"cannot write the cache: {error.strerror}", where=str(final), fix="free some space, or set WORKBENCH_HOME"
        ) from error
    return final


def _verify(folder: Path, commit: str, repository: str) -> None:
    head = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if head != commit or changed:
        what = f"is at {head[:12]}" if head != commit else "was changed"
        raise SourceError(
            f"the checkout of commit {commit[:12]} {what}",
            where=str(folder),
            fix=f"delete that folder; it will be fetched from {repository} again",
        )


def _git(folder: Path, *arguments: str, about: str = "") -> str:
    scheme = about.partition("://")[0] if "://" in about else "file"
    safe = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "advice.detachedHead=false")
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": scheme, "LC_ALL": "C"}
    outer = {
        key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    }
    try:
        done = subprocess.run(
            ["git", *safe, *arguments],
            cwd=folder,
            env=outer | quiet,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolError("the git program is missing", fix="install git, or use source.checkout") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError("git did not answer in time", where=about, fix="try again, or use source.checkout") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise SourceError(
            f"git {arguments[0]} failed: {lines[-1].strip() if lines else f'exit code {done.returncode}'}",
            where=about or str(folder),
            fix="check source.repository, source.commit and the connection, or use source.checkout",
        )
    return done.stdout.strip()


def digest(folder: Path) -> str:
    """A SHA-256 over the names and contents of all files in `folder`: a network may be built from a json beside it.

    Hidden folders and bytecode are left out. A link counts by where it points to, not by what is there.

    Raises:
        RecipeError: there are too many files, or too large ones, to hash them before every run.
        SourceError: a file cannot be read.
    """
    total = hashlib.sha256()
    try:
        for path in _files(folder):
            if path.is_symlink():
                content = f"-> {path.readlink()}"
            else:
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(folder).as_posix()
            total.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise SourceError(
            f"cannot read the checkout: {error.strerror}",
            where=str(error.filename or folder),
            fix="make its files readable",
        ) from error
    return total.hexdigest()


def _files(folder: Path) -> list[Path]:
    """What `digest` hashes, sorted: regular files and links."""
    found, size = [], 0
    for parent, folders, names in os.walk(folder, onerror=_raise):
        inner = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        links = [name for name in inner if Path(parent, name).is_symlink()]  # os.walk lists them, and does not enter
        folders[:] = [name for name in inner if name not in links]
        for path in (Path(parent, name) for name in (*names, *links)):
            facts = path.lstat()
            if not (stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)):
                continue  # a pipe would block
            found.append(path)
            size += facts.st_size
            if len(found) > _MOST_FILES or size > _LARGEST:
                raise RecipeError(
                    f"the checkout has more than {_MOST_FILES} files or {_LARGEST // 1_000_000} MB",
                    where=str(folder),
                    fix="name a smaller folder, one that holds the network's code and not its data or results",
                    at=("source", "checkout"),
                )
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def python_files(folder: Path) -> list[Path]:
    """The Python files below `folder`, sorted; hidden folders are left out."""
    found = (path for path in folder.rglob("*.py") if path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


@contextlib.contextmanager
def importable(root: Path, module: str) -> Iterator[None]:
    """Let `module` be imported from `root` during the block, and forget everything that came from there afterwards.

    Two recipes may each have a package called ``models``; neither may see the other's.
    """
    top = module.partition(".")[0]
    shelved = {name: sys.modules.pop(name) for name in list(sys.modules) if name == top or name.startswith(f"{top}.")}
    before = set(sys.modules)
    bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a checkout is the user's folder, or must stay as its commit has it
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        # Before the path goes: a package without __init__ looks for its places anew whenever sys.path has changed, and
        # finds another folder of its name.
        for name in set(sys.modules) - before:
            if lies_in(sys.modules[name], root):
                del sys.modules[name]
        sys.path.remove(str(root))
        sys.modules.update(shelved)


def lies_in(module: Any, root: Path) -> bool:
    """Whether an imported module or package comes from `root`."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(place is not None and Path(place).resolve().is_relative_to(root.resolve()) for place in places)
