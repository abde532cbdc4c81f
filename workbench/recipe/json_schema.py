"""The JSON Schema of recipes, assembled from the fixed keys and the options every catalogue entry declares."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, create_model

from workbench import catalog
from workbench.recipe.schema import Recipe, Strict

Schema = dict[str, Any]


def recipe_schema() -> Schema:
    """The schema as JSON Schema 2020-12."""
    fixed: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in Recipe.model_fields.items()
        if name not in ("source", "surgery", "targets")
    }
    schema: Schema = create_model("Recipe", __base__=Strict, **fixed).model_json_schema()
    definitions: Schema = schema.setdefault("$defs", {})
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Workbench recipe"
    sources = [_source(name, _options("source", name, definitions)) for name in catalog.names("source")]
    passes = [_pass(name, _options("pass", name, definitions)) for name in catalog.names("pass")]
    targets = {name: _options("target", name, definitions) for name in catalog.names("target")}
    properties: Schema = schema["properties"]
    properties["source"] = {"oneOf": sources, "description": "where the network comes from"}
    properties["surgery"] = {"type": "array", "items": {"oneOf": [name for pair in passes for name in pair]}}
    properties["targets"] = {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {name: {"anyOf": [options, {"type": "null"}]} for name, options in targets.items()},
    }
    schema["required"] = sorted({*schema.get("required", ()), "source", "targets"})
    return schema


def _options(kind: catalog.Kind, name: str, definitions: Schema) -> Schema:
    """The schema of an entry's options; its own definitions move to the recipe's."""
    module = catalog.load(kind, name)
    model = module.PASS if kind == "pass" else module.Options
    schema = TypeAdapter(model).json_schema(ref_template=f"#/$defs/{kind}.{name}.{{model}}")
    for key, definition in schema.pop("$defs", {}).items():
        definitions[f"{kind}.{name}.{key}"] = definition
    return schema


def _source(name: str, options: Schema) -> Schema:
    required = sorted({*options.get("required", ()), "kind"})
    return {**options, "properties": {"kind": {"const": name}, **options.get("properties", {})}, "required": required}


def _pass(name: str, options: Schema) -> list[Schema]:
    """A pass with options, and by its bare name when none is required."""
    called: Schema = {
        "type": "object",
        "properties": {name: options},
        "required": [name],
        "additionalProperties": False,
    }
    return (
        [called]
        if options.get("required")
        else [{"const": name, "description": options.get("description", "")}, called]
    )
