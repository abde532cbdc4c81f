"""Turn validation failures into errors with a line, the key's dotted path and a fix that names the near miss."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError
from workbench.recipe.schema import InputSpec, OutputSpec, Recipe
from workbench.recipe.yaml_marks import At, Marks


def dotted(at: At) -> str:
    """``("inputs", 0, "shape")`` as ``inputs[0].shape``."""
    text = ""
    for step in at:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "recipe"


def placed(error: RecipeError, at: At, marks: Marks, *, key: bool = False) -> RecipeError:
    """`error` with the place and dotted path of `at`."""
    return RecipeError(f"{dotted(at)}: {error.what}", where=marks.where(at, key=key), fix=error.fix, at=at)


def from_pydantic(error: ValidationError, model: Any, prefix: At, marks: Marks) -> list[RecipeError]:
    """One error for each failure in `error`, which came from validating `model` at `prefix`."""
    failures = error.errors(include_url=False)
    # An item that fails is not counted, so its list is also called too short: that says nothing new.
    inside = {failure["loc"][:depth] for failure in failures for depth in range(len(failure["loc"]))}
    return [
        _one(dict(failure), model, prefix, marks)
        for failure in failures
        if not (failure["type"] == "too_short" and failure["loc"] in inside)
    ]


def _one(failure: dict[str, Any], model: Any, prefix: At, marks: Marks) -> RecipeError:
    loc: At = tuple(failure["loc"])
    kind: str = failure["type"]
    is_key = kind == "extra_forbidden" or kind == "unexpected_keyword_argument" or loc[-1:] == ("[key]",)
    if loc[-1:] == ("[key]",):
        loc = loc[:-1]
    at = (*prefix, *loc)
    name = loc[-1] if loc else ""
    about = _about(model, loc)
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _fields(_model_at(model, loc[:-1]))
        what, fix = f"unknown key {name!r}", did_you_mean(str(name), known)
    elif kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        what = f"value {name + 1} is missing" if isinstance(name, int) else f"key {name!r} is missing"
        fix = f"add it: {about}" if about else "add it"
    elif kind == "literal_error":
        allowed = [part.strip().strip("'") for part in failure["ctx"]["expected"].replace(" or ", ", ").split(",")]
        what, fix = f"{failure['input']!r} is not allowed", did_you_mean(str(failure["input"]), allowed)
        if "one of" not in fix:
            fix += f" (one of: {', '.join(allowed)})"
    elif kind == "value_error":
        what, fix = str(failure["ctx"]["error"]), "correct the values there"
    else:
        shown = repr(failure["input"])
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        what = f"{failure['msg'][0].lower()}{failure['msg'][1:]}, got {shown}"
        fix = about or "see workbench schema"
    return RecipeError(f"{dotted(at)}: {what}", where=marks.where(at, key=is_key), fix=fix, at=at)


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
        return typing.get_type_hints(model)
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
    return dict.fromkeys(_annotations(model), "")


def across_keys(recipe: Recipe, marks: Marks) -> list[RecipeError]:
    """What no single key can know: names used twice, parts that need each other."""
    errors = []

    def complain(at: At, what: str, fix: str) -> None:
        errors.append(RecipeError(f"{dotted(at)}: {what}", where=marks.where(at), fix=fix, at=at))

    seen: dict[str, str] = {}
    specs: list[tuple[At, InputSpec | OutputSpec]] = []
    specs += [(("inputs", index), spec) for index, spec in enumerate(recipe.inputs)]
    specs += [(("outputs", index), spec) for index, spec in enumerate(recipe.outputs)]
    for at, spec in specs:
        if spec.name in seen:
            complain((*at, "name"), f"{spec.name!r} is also the name of {seen[spec.name]}", "rename one")
        seen[spec.name] = dotted(at)
    if len({spec.shape[0] for _, spec in specs}) > 1:
        complain(("outputs", 0, "shape"), "inputs and outputs disagree on the batch size", "use one batch size")
    if recipe.source.name != "torch":
        if recipe.weights is None:
            complain(("source", "kind"), f"a {recipe.source.name} graph needs its file", "add a weights section")
        elif recipe.weights.otherwise == "seeded":
            fix = "remove otherwise: seeded"
            complain(("weights", "otherwise"), "only a torch network can be built without its file", fix)
    if recipe.weights is not None and recipe.weights.url is None and recipe.weights.page is None:
        complain(("weights",), "nobody can find this file", "add url, or page where a person downloads it")
    if not recipe.targets:
        complain(("targets",), "no target, so nothing would be written", "add onnx, tflite or pulsar2")
    if recipe.quantization is not None and "int8" not in recipe.parity.limits:
        complain(("parity", "limits"), "the INT8 model has no limit", "add int8: {cosine: 0.98}")
    if "float" not in recipe.parity.limits:
        complain(("parity", "limits"), "the float artifacts have no limit", "add float: {max_abs: 1e-4}")
    return errors
