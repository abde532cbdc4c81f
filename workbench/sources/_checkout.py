"""A network's own code: a folder or a git commit, fetched once, imported without leaving traces."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import SourceError, ToolError

_PATIENCE = 900.0  # seconds for one git command


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
    """A SHA-256 over the names and contents of all Python files in `folder`."""
    total = hashlib.sha256()
    for path in python_files(folder):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


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
        sys.path.remove(str(root))
        sys.dont_write_bytecode = bytecode
        for name in set(sys.modules) - before:
            if lies_in(sys.modules[name], root):
                del sys.modules[name]
        sys.modules.update(shelved)


def lies_in(module: Any, root: Path) -> bool:
    """Whether an imported module or package comes from `root`."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(place is not None and Path(place).resolve().is_relative_to(root.resolve()) for place in places)
