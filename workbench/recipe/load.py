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
from workbench.recipe import agreement, complaints, yaml_marks
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

    def complain(error: ValidationError, model: Any, at: At, owner: str = "") -> None:
        errors.extend(complaints.from_pydantic(error, model, at, marks, owner))

    filled = dict(data)
    for key, read in (("source", _source), ("surgery", _surgery), ("targets", _targets)):
        if key in data:
            filled[key] = read(data[key], complain, errors, marks)
    recipe = None
    try:
        recipe = Recipe.model_validate(filled)
    except ValidationError as error:
        complain(error, Recipe, ())
    if recipe is not None:
        errors.extend(agreement.across_keys(recipe, marks))
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
        complain(error, model, at, name)
        return _NOTHING


def _source(raw: Any, complain: Any, errors: list[RecipeError], marks: Marks) -> Call:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("kind"), str):
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
    if raw is None:
        return ()
    if not isinstance(raw, Mapping):
        errors.append(
            RecipeError(
                "targets: should be a mapping (key: value)",
                where=marks.where(("targets",)),
                fix=f"write {{onnx: {{}}}}, or another of: {', '.join(catalog.names('target'))}",
            )
        )
        return (_NOTHING,)
    calls = []
    for name, options in raw.items():
        try:
            calls.append(_call("target", name, options, ("targets", name), complain))
        except RecipeError as error:
            errors.append(complaints.placed(error, ("targets", name), marks, key=True))
            calls.append(_NOTHING)
    return tuple(calls)


_STEP = re.compile(r"([A-Za-z0-9_]+)|\[([0-9]{1,6})\]")


def _override(data: dict[str, Any], marks: Marks, override: str) -> None:
    """Write one ``--set`` into the data, and its own text as the mark of what it wrote."""
    path, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+|\[[0-9]{1,6}\])*", path):
        raise RecipeError(
            "not an override", where=where, fix="write key.key[0]=VALUE, e.g. targets.tflite.variants=[fp32]"
        )
    steps: list[str | int] = [name if name else int(index) for name, index in _STEP.findall(path)]
    try:
        value = yaml_marks.value(text)
    except RecipeError as error:
        raise RecipeError(error.what, where=where, fix=error.fix) from error
    here: Any = data
    made: At | None = None  # the outermost thing that this override creates
    for depth, step in enumerate(steps):
        _enter(here, tuple(steps[:depth]), step, where, text)
        if depth == len(steps) - 1:
            here[step] = value
        elif isinstance(step, str) and here.get(step) is None:
            made = made or tuple(steps[: depth + 1])
            here[step] = {}
        here = here[step]
    marks.override(made or tuple(steps), where)


def _enter(here: Any, at: At, step: str | int, where: str, text: str) -> None:
    """Check that `here`, which stands at `at`, can have the entry `step`.

    Raises:
        RecipeError: it cannot.
    """
    shown = complaints.dotted(at)
    if isinstance(here, list):
        if isinstance(step, str):
            raise RecipeError(f"{shown} is not a mapping", where=where, fix="write an index, e.g. inputs[0].fit=pad")
        if step >= len(here):
            what = f"{shown} has {len(here)} entries"
            raise RecipeError(what, where=where, fix="count from 0; an override adds none")
    elif not isinstance(here, dict):
        raise RecipeError(f"{shown} is a plain value", where=where, fix=f"set it whole: {shown}={text}")
    elif isinstance(step, int):
        raise RecipeError(f"{shown} is not a list", where=where, fix=f"write a key, e.g. {shown}.key=VALUE")


def _line(error: RecipeError) -> tuple[int, int, str]:
    numbers = re.search(r":(\d+):(\d+)$", error.where)
    return (int(numbers[1]), int(numbers[2]), "") if numbers else (0, 0, error.where)
