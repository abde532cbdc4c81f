"""A recipe file becomes a `Recipe`, or every mistake in it at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workbench import catalog
from workbench.errors import RecipeError, RecipeErrors
from workbench.recipe import complaints, yaml_marks
from workbench.recipe.schema import Call, Recipe
from workbench.recipe.yaml_marks import At, Marks


@dataclass(frozen=True)
class LoadedRecipe:
    """A valid recipe, the file it came from and the place of each of its values."""

    recipe: Recipe
    path: Path
    marks: Marks

    @property
    def base(self) -> Path:
        """The folder that relative paths in the recipe start from."""
        return self.path.resolve().parent


def load(path: Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and validate the recipe in `path`.

    Args:
        path: a YAML file.
        overrides: ``a.b[0].c=VALUE`` from the command line, VALUE in YAML; validated as if written in the file.

    Raises:
        RecipeErrors: every mistake found, in the order of the lines.
    """
    data, marks = yaml_marks.read(path)
    for override in overrides:
        _override(data, marks, override)
    errors: list[RecipeError] = []

    def complain(error: ValidationError, model: Any, at: At) -> None:
        errors.extend(complaints.from_pydantic(error, model, at, marks))

    calls = {
        "source": _source(data.get("source"), complain, errors, marks),
        "surgery": _surgery(data.get("surgery"), complain, errors, marks),
        "targets": _targets(data.get("targets"), complain, errors, marks),
    }
    filled = {**data, **{key: call for key, call in calls.items() if key in data}}
    recipe = None
    try:
        recipe = Recipe.model_validate(filled)
    except ValidationError as error:
        complain(error, Recipe, ())
    if recipe is not None:
        errors.extend(complaints.across_keys(recipe, marks))
    if errors or recipe is None:
        raise RecipeErrors(sorted(errors, key=_line))
    return LoadedRecipe(recipe, path, marks)


_NOTHING = Call("", None)  # stands for a call that was already complained about


def _call(kind: catalog.Kind, name: str, options: Any, at: At, complain: Any) -> Call:
    """One validated call.

    Raises:
        RecipeError: no such entry.
    """
    module = catalog.load(kind, name)
    model = module.PASS if kind == "pass" else module.Options
    try:
        return Call(name, TypeAdapter(model).validate_python({} if options is None else options))
    except ValidationError as error:
        complain(error, model, at)
        return _NOTHING


def _source(raw: Any, complain: Any, errors: list[RecipeError], marks: Marks) -> Call:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("kind"), str):
        if raw is not None:
            errors.append(
                RecipeError(
                    "source: 'kind' is missing",
                    where=marks.where(("source",), key=True),
                    fix=f"add kind: {' | '.join(catalog.names('source'))}",
                )
            )
        return _NOTHING
    options = {key: value for key, value in raw.items() if key != "kind"}
    try:
        return _call("source", raw["kind"], options, ("source",), complain)
    except RecipeError as error:
        errors.append(complaints.placed(error, ("source", "kind"), marks))
        return _NOTHING


def _surgery(raw: Any, complain: Any, errors: list[RecipeError], marks: Marks) -> Any:
    if not isinstance(raw, list):
        return raw
    calls = []
    for index, entry in enumerate(raw):
        at: At = ("surgery", index)
        if isinstance(entry, str):
            name, options = entry, None
        elif isinstance(entry, Mapping) and len(entry) == 1:
            name, options = next(iter(entry.items()))
            at = (*at, name)
        else:
            errors.append(
                RecipeError(
                    f"surgery[{index}]: a pass is its name, or its name with options",
                    where=marks.where(at),
                    fix="write '- fold_batchnorm' or '- cut_outputs: {tensors: [heat]}'",
                )
            )
            continue
        try:
            calls.append(_call("pass", name, options, at, complain))
        except RecipeError as error:
            errors.append(complaints.placed(error, ("surgery", index), marks))
    return tuple(calls)


def _targets(raw: Any, complain: Any, errors: list[RecipeError], marks: Marks) -> Any:
    if not isinstance(raw, Mapping):
        return raw
    calls = []
    for name, options in raw.items():
        try:
            calls.append(_call("target", name, options, ("targets", name), complain))
        except RecipeError as error:
            errors.append(complaints.placed(error, ("targets", name), marks, key=True))
    return tuple(calls)


_STEP = re.compile(r"([A-Za-z0-9_]+)|\[(\d+)\]")


def _override(data: dict[str, Any], marks: Marks, override: str) -> None:
    """Write one ``--set`` into the data, and its own text as the mark of what it wrote."""
    path, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+|\[\d+\])*", path):
        raise RecipeError(
            "not an override", where=where, fix="write key.key[0]=VALUE, e.g. targets.tflite.variants=[fp32]"
        )
    steps: list[str | int] = [name if name else int(index) for name, index in _STEP.findall(path)]
    try:
        value = yaml_marks.value(text)
    except RecipeError as error:
        raise RecipeError(error.what, where=where, fix=error.fix) from error
    here: Any = data
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        if isinstance(step, int):
            if not isinstance(here, list) or step >= len(here):
                shown = complaints.dotted(tuple(steps[:depth]))
                size = len(here) if isinstance(here, list) else 0
                raise RecipeError(f"{shown} has {size} entries", where=where, fix="count from 0; an override adds none")
        elif not isinstance(here, dict):
            shown = complaints.dotted(tuple(steps[:depth]))
            raise RecipeError(f"{shown} is not a mapping", where=where, fix="write an index, e.g. inputs[0].fit=pad")
        if last:
            here[step] = value
        elif isinstance(step, int):
            here = here[step]
        else:
            if here.get(step) is None:
                here[step] = {}
            here = here[step]
    marks.override(tuple(steps), where)


def _line(error: RecipeError) -> tuple[int, int, str]:
    numbers = re.search(r":(\d+):(\d+)$", error.where)
    return (int(numbers[1]), int(numbers[2]), "") if numbers else (0, 0, error.where)
