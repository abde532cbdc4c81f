"""Find the callable that builds a network: ``package.module:callable``, in the zoo or in a checkout."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError, SourceError
from workbench.sources._checkout import lies_in, python_files

ZOO = "workbench.zoo"
_AT = ("source", "factory")


def zoo_folder() -> Path:
    """The folder of `workbench.zoo`."""
    spec = util.find_spec(ZOO)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{ZOO} is not installed")
    return Path(spec.submodule_search_locations[0])


@cache
def zoo() -> tuple[str, ...]:
    """Every factory of the zoo, sorted; read from the source text, so that torch is not imported."""
    found = []
    for module in pkgutil.iter_modules([str(zoo_folder())]):
        if module.name.startswith("_"):
            continue
        tree = ast.parse((zoo_folder() / f"{module.name}.py").read_bytes())
        names = (node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
        found += [f"{ZOO}.{module.name}:{name}" for name in names if not name.startswith("_")]
    return tuple(sorted(found))


def find(factory: str, root: Path | None) -> Callable[..., Any]:
    """The callable that `factory` names.

    Args:
        factory: as in the recipe.
        root: the checkout that it must come from, already importable; None for the zoo.

    Raises:
        RecipeError: there is no such module or callable; the near miss is named.
        SourceError: importing the module fails.
    """
    name, _, attribute = factory.partition(":")
    where = str(root or "")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise SourceError(
                f"importing {name!r} needs {error.name!r}, which is not installed",
                where=where,
                fix=f"install {error.name} into this environment",
            ) from error
        known = [] if root is None else [_module_name(path, root) for path in python_files(root)]
        raise RecipeError(f"no module called {name!r}", fix=_guess(name, known), at=_AT) from error
    except (Exception, SystemExit) as error:  # the module is the user's: whatever it raises is about their file
        raise SourceError(
            f"importing {name!r} fails: {type(error).__name__}: {error}",
            where=where,
            fix="correct the module, or name the one that only defines the network",
        ) from error
    if root is not None and not lies_in(module, root):
        raise SourceError(
            f"{name!r} was found outside the checkout", where=where, fix="check source.checkout and source.factory"
        )
    found = getattr(module, attribute, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise RecipeError(f"{name!r} has no callable {attribute!r}", fix=_guess(attribute, known), at=_AT)
    made: Callable[..., Any] = found
    return made


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _guess(word: str, known: list[str]) -> str:
    """The near miss, or a few of the names there are; a checkout may have hundreds."""
    near = did_you_mean(word, known)
    return near if near.startswith("did") or len(known) <= 12 else did_you_mean(word, sorted(known)[:12])
