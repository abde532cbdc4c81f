"""Turn validation failures into errors with a line, the key's dotted path and a fix that names the near miss."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError
from workbench.recipe.schema import FieldError
from workbench.recipe.yaml_marks import At, Marks

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")
_LISTS = ("tuple_type", "list_type", "frozen_set_type", "set_type")
# What pydantic says of a type in Python's words, by its code for the failure.
_WORDS = {
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type", "dataclass_exact_type"),
        "should be a mapping (key: value)",
    ),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "should be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "should be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "should be true or false"),
    "string_type": "should be text",
}


def dotted(at: At) -> str:
    """``("inputs", 0, "shape")`` as ``inputs[0].shape``."""
    text = ""
    for step in at:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "recipe"


def placed(error: RecipeError, at: At, marks: Marks, *, key: bool = False) -> RecipeError:
    """`error` with the place and dotted path of `at`."""
    return RecipeError(f"{dotted(at)}: {error.what}", where=marks.where(at, key=key), fix=error.fix, at=at)


def from_pydantic(error: ValidationError, model: Any, prefix: At, marks: Marks, owner: str = "") -> list[RecipeError]:
    """One error for each failure in `error`, which came from validating `model` at `prefix`.

    `owner` is what has the options that `model` declares, in a user's words; the last step of `prefix` when empty.
    """
    owner = owner or dotted(prefix[-1:])
    failures = error.errors(include_url=False)
    # An item that fails is not counted, so its list is also called too short: that says nothing new.
    inside = {failure["loc"][:depth] for failure in failures for depth in range(len(failure["loc"]))}
    return [
        _one(dict(failure), model, prefix, marks, owner)
        for failure in failures
        if not (failure["type"] == "too_short" and failure["loc"] in inside)
    ]


def _one(failure: dict[str, Any], model: Any, prefix: At, marks: Marks, owner: str) -> RecipeError:
    loc: At = tuple(failure["loc"])
    kind: str = failure["type"]
    is_key = kind in _UNKNOWN or loc[-1:] == ("[key]",)
    if loc[-1:] == ("[key]",):
        loc = loc[:-1]
    raised = failure.get("ctx", {}).get("error")
    if isinstance(raised, FieldError):
        loc = (*loc, *raised.key)
    at = (*prefix, *loc)
    name = loc[-1] if loc else ""
    about = _about(model, loc)
    if isinstance(raised, FieldError):
        what, fix = raised.what, raised.fix
    elif kind in _UNKNOWN:
        known = _fields(_model_at(model, loc[:-1]))
        what = f"unknown key {name!r}"
        fix = did_you_mean(str(name), known) if known else f"remove it: {owner} has no options"
    elif kind in _MISSING:
        what = f"value {name + 1} is missing" if isinstance(name, int) else f"key {name!r} is missing"
        fix = f"add it: {about}" if about else "add it"
    elif kind == "literal_error":
        allowed = [part.strip().strip("'") for part in failure["ctx"]["expected"].replace(" or ", ", ").split(",")]
        what, fix = f"{_shown(failure['input'])} is not allowed", did_you_mean(str(failure["input"]), allowed)
        if "one of" not in fix:
            fix += f" (one of: {', '.join(allowed)})"
    else:
        what, fix = _in_words(failure), about or "see workbench schema"
        if kind == "string_pattern_mismatch" and not about:
            fix = f"write what matches {failure['ctx']['pattern']}"
        if not loc:
            options = ", ".join(sorted(_fields(model)))
            fix = f"it may have: {options}" if options else f"remove it: {owner} has no options"
    return RecipeError(f"{dotted(at)}: {what}", where=marks.where(at, key=is_key), fix=fix, at=at)


def _in_words(failure: dict[str, Any]) -> str:
    """A failure of type, size or pattern without Python's names for things."""
    kind: str = failure["type"]
    shown = _shown(failure["input"])
    if kind in _LISTS:
        plain = isinstance(failure["input"], str | int | float) and len(shown) <= 40
        example = f", e.g. [{failure['input'] if isinstance(failure['input'], str) else shown}]" if plain else ""
        return f"should be a list in brackets{example}, got {shown}"
    if kind == "string_pattern_mismatch":
        return f"{shown} is not as it should be"
    if kind in ("too_short", "too_long"):
        bound = failure["ctx"]["min_length" if kind == "too_short" else "max_length"]
        entries = "entry" if bound == 1 else "entries"
        return f"should have at {'least' if kind == 'too_short' else 'most'} {bound} {entries}, got {shown}"
    message = _WORDS.get(kind, failure["msg"].removeprefix("Value error, ").removeprefix("Input "))
    return f"{message[:1].lower()}{message[1:]}, got {shown}"


def _shown(value: Any) -> str:
    """`value` as a recipe writes it, cut where it is long."""
    text = (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )
    return text if len(text) <= 60 else f"{text[:57]}..."


def _model_at(model: Any, loc: At) -> Any:
    """The model class that a location inside `model` speaks of, or None."""
    for step in loc:
        if isinstance(step, int):
            continue
        annotation = _annotations(model).get(step)
        if annotation is None and model is not None and not _annotations(model):
            return None
        if annotation is not None:
            model = _inner(annotation)
    return model


def _about(model: Any, loc: At) -> str:
    """What the key at `loc`, or the key whose list it is in, is for: ``shape: static shape in the source's layout``."""
    while loc and isinstance(loc[-1], int):
        loc = loc[:-1]
    description = _fields(_model_at(model, loc[:-1])).get(str(loc[-1]), "") if loc else ""
    return f"{loc[-1]}: {description}" if description else ""


def _annotations(model: Any) -> dict[str, Any]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    if isinstance(model, type) and dataclasses.is_dataclass(model):
        hints = typing.get_type_hints(model, include_extras=True)  # of class variables too, which nobody can set
        return {field.name: hints[field.name] for field in dataclasses.fields(model)}
    return {}


def _inner(annotation: Any) -> Any:
    """The model class inside ``tuple[X, ...]``, ``dict[str, X]`` or ``X | None``; or itself."""
    if _annotations(annotation):
        return annotation
    inside = [found for part in get_args(annotation) if (found := _inner(part)) is not None]
    return inside[-1] if inside else None


def _fields(model: Any) -> dict[str, str]:
    """Field names of a model with their descriptions."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        fields: dict[str, FieldInfo] = model.model_fields
        return {(field.alias or name): field.description or "" for name, field in fields.items()}
    pydantic_fields = getattr(model, "__pydantic_fields__", None)
    if pydantic_fields:
        return {(field.alias or name): field.description or "" for name, field in pydantic_fields.items()}
    return {name: _description(annotation) for name, annotation in _annotations(model).items()}


def _description(annotation: Any) -> str:
    """What ``Annotated[X, Field(description=...)]`` says."""
    told = (part.description for part in getattr(annotation, "__metadata__", ()) if isinstance(part, FieldInfo))
    return next((text for text in told if text), "")
