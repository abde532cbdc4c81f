"""Have the weights in hand before anything runs: looked up on this machine, downloaded, or honestly replaced.

Not a step of the store: the cache of downloads is addressed by content itself, and every later key holds the hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from workbench.engine.progress import Progress
from workbench.errors import RecipeError, SourceError, ToolError
from workbench.graph import io
from workbench.recipe.load import LoadedRecipe
from workbench.sources import fetch
from workbench.stages._weights import SEEDED, Weights


def look(
    loaded: LoadedRecipe,
    *,
    given: Path | None,
    mirrors: Sequence[Path],
    home: Path,
    progress: Progress,
    keep: bool = True,
) -> Weights | None:
    """The weights, as far as this machine knows without the network; None when they must be fetched.

    An unpinned file found in a mirror is pinned beside the recipe, unless `keep` is False.

    Raises:
        SourceError: `given` is not the file the recipe pins.
    """
    weights = loaded.recipe.weights
    if weights is None:
        if given is not None:
            raise RecipeError(
                "--weights was given, but the recipe has no weights section that says what the file is",
                where=str(loaded.path),
                fix="add weights: {file: NAME, page: WHERE IT IS FROM} to the recipe",
            )
        return Weights(None, None, "seeded", SEEDED)
    found = fetch.locate(
        weights,
        given=given,
        mirrors=mirrors,
        cache=_cache(home),
        lock=lock_file(loaded),
        progress=progress,
        keep=keep,
    )
    if found is not None:
        pinned = found.origin != "given" or fetch.is_pinned(weights, lock_file(loaded))
        return Weights(found.path, found.sha256, found.origin, _mark(found.path), pinned)
    if weights.otherwise == "seeded" and _tried(loaded, home).is_file():
        return Weights(None, None, "seeded", SEEDED)
    return None


def get(
    loaded: LoadedRecipe,
    *,
    given: Path | None,
    mirrors: Sequence[Path],
    home: Path,
    require: bool,
    progress: Progress,
) -> Weights:
    """The weights, downloaded if need be; random ones when the recipe allows it and the real ones cannot be had.

    An address that failed once is not tried again by every later run (each would wait for the network): `require`,
    which `workbench fetch` sets, tries.

    Raises:
        SourceError: they cannot be had, and the recipe or `require` wants the real ones.
    """
    found = look(loaded, given=given, mirrors=mirrors, home=home, progress=progress)
    weights = loaded.recipe.weights
    if weights is None:
        if require:
            raise SourceError(
                "the recipe names no weights, and --require-weights was given",
                where=str(loaded.path),
                fix="add a weights section",
            )
        progress.warn(f"NOT DEPLOYABLE: {SEEDED}: the recipe names no weights")
        return Weights(None, None, "seeded", SEEDED)
    if found is not None and (found.path is not None or not require):
        if found.path is None:
            reason = _tried(loaded, home).read_text("utf-8").strip()
            again = f"; 'workbench fetch {loaded.path}' tries again" if weights.url else ""
            progress.warn(f"NOT DEPLOYABLE: {SEEDED}: {reason}{again}")
        return found
    try:
        downloaded = fetch.download(weights, cache=_cache(home), lock=lock_file(loaded), progress=progress)
    except SourceError as error:
        if weights.otherwise != "seeded" or require:
            error.where = error.where or loaded.marks.where(("weights",), key=True)
            raise
        note = _tried(loaded, home)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{error.what}\n", "utf-8")
        progress.warn(f"NOT DEPLOYABLE: {SEEDED}: {error.what}")
        return Weights(None, None, "seeded", SEEDED)
    _tried(loaded, home).unlink(missing_ok=True)
    return Weights(downloaded.path, downloaded.sha256, downloaded.origin, _mark(downloaded.path))


def _mark(path: Path) -> str:
    """Why the file itself says that it must not be shipped: an ONNX that Workbench made of random weights is marked."""
    if path.suffix.lower() != ".onnx":
        return ""
    try:
        return io.not_deployable(io.read_proto(path))
    except ToolError:  # the source, which reads it next, says what is wrong with it
        return ""


def lock_file(loaded: LoadedRecipe) -> Path:
    """Where an unpinned file's hash is kept: beside the recipe."""
    return loaded.path.with_suffix(".lock")


def _cache(home: Path) -> Path:
    return home / "downloads"


def _tried(loaded: LoadedRecipe, home: Path) -> Path:
    """The note that the network was tried in vain for exactly this file."""
    weights = loaded.recipe.weights
    identity = weights.model_dump_json() if weights is not None else ""
    return home / "unreachable" / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.txt"
