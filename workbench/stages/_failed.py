"""Keep what a failed stage left for a look, its log above all, where the next run does not sweep it away."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from workbench.engine.progress import Progress
from workbench.engine.store import Store, sha256_file
from workbench.errors import ToolError, WorkbenchError
from workbench.stages._swap import File, replace

_BUNDLE = "workbench pulsar2 bundle"


def keep(error: WorkbenchError, recipe: str, store: Store, dist: Path, progress: Progress) -> None:
    """If `error` names a log in a stage's scratch folder, or a file beside one, publish that stage's files.

    They go to ``<dist>/<recipe>.failed``, without models that were compiled before the failure. `error` then names the
    file there; a cure that advises ``workbench pulsar2 bundle`` gets the folder to call it with.
    A disk that refuses leaves the error as it is: the scratch folder stays until the next run.
    """
    named = Path(error.where)
    scratch = store.home / "scratch"
    if not named.is_relative_to(scratch) or not named.is_file() or not any(named.parent.glob("*.log")):
        return
    root = scratch / named.relative_to(scratch).parts[0] / "files"
    if not named.is_relative_to(root):
        return
    folder = dist / f"{recipe}.failed"
    with suppress(OSError, ToolError):
        files = {
            path.relative_to(root).as_posix(): _file(path) for path in sorted(root.rglob("*")) if _ours(path, root)
        }
        manifest = {
            "recipe": recipe,
            "deployable": False,
            "not_deployable_because": [error.what.partition("\n")[0]],
            "keys": {},
            "files": [
                {"path": path, "bytes": file.size, "sha256": file.sha256, "precision": None, "parity": None}
                for path, file in files.items()
            ],
        }
        replace(folder, manifest, files, progress)
        kept = folder / named.relative_to(root)
        error.where = str(kept)
        error.fix = error.fix.replace(_BUNDLE, f"{_BUNDLE} {kept.parent}")


def _ours(path: Path, root: Path) -> bool:
    """A plain file that the stage wrote on purpose, and no artifact: what begins with a dot is its own scratch."""
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.is_file() and not path.is_symlink() and not hidden and path.suffix != ".axmodel"


def _file(path: Path) -> File:
    return File(path, path.stat().st_size, sha256_file(path), None, "")
