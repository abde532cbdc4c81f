"""Find passes, targets and sources by file name, import them on demand, and guess what a typo meant."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Literal

from workbench.errors import RecipeError

Kind = Literal["pass", "target", "source"]

# The folder of each kind, and the name a file there must offer to be an entry; files beginning with _ never are.
# The last part is the command that lists the kind.
_ROOMS: dict[Kind, tuple[str, str, str]] = {
    "pass": ("workbench.surgery", "PASS", "passes"),
    "target": ("workbench.targets", "Options", "targets"),
    "source": ("workbench.sources", "export", "schema"),
}


@cache
def names(kind: Kind) -> tuple[str, ...]:
    """The names of all entries of `kind`, sorted."""
    package, mark, _ = _ROOMS[kind]
    folder = importlib.import_module(package)
    found = (module.name for module in pkgutil.iter_modules(folder.__path__) if not module.name.startswith("_"))
    return tuple(sorted(name for name in found if hasattr(importlib.import_module(f"{package}.{name}"), mark)))


def load(kind: Kind, name: str) -> ModuleType:
    """The module of entry `name`.

    Raises:
        RecipeError: there is no such entry; the near miss is named.
    """
    if name not in names(kind):
        raise RecipeError(
            f"no {kind} called {name!r}",
            fix=f"{did_you_mean(name, names(kind))} (workbench {_ROOMS[kind][2]} lists them)",
        )
    return importlib.import_module(f"{_ROOMS[kind][0]}.{name}")


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A sentence that names the candidate nearest to `word`, or all of them when none is near."""
    known = sorted(candidates)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not near:  # case alone is a common slip, and difflib counts it as distance
        near = [name for name in known if name.lower() == word.lower()][:1]
    if near:
        return f"did you mean {near[0]!r}?"
    return f"one of: {', '.join(known)}" if known else "there are none"
