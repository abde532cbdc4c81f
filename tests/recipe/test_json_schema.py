from workbench import catalog
from workbench.recipe.json_schema import recipe_schema


def test_the_schema_knows_every_entry_and_forbids_the_rest():
    """Editors complete passes, targets, sources and their options."""
    schema = recipe_schema()

    assert schema["additionalProperties"] is False
    assert set(schema["properties"]["targets"]["properties"]) == set(catalog.names("target"))
    passes = schema["properties"]["surgery"]["items"]["oneOf"]
    named = {next(iter(entry["properties"])) for entry in passes if "properties" in entry}
    assert named == set(catalog.names("pass"))
    kinds = {entry["properties"]["kind"]["const"] for entry in schema["properties"]["source"]["oneOf"]}
    assert kinds == set(catalog.names("source"))


def test_every_reference_in_the_schema_resolves():
    """Definitions of catalogue options are moved into the recipe's own."""
    schema = recipe_schema()
    known = set(schema["$defs"])

    def check(part):
        if isinstance(part, dict):
            if "$ref" in part:
                assert part["$ref"].removeprefix("#/$defs/") in known
            for value in part.values():
                check(value)
        elif isinstance(part, list):
            for value in part:
                check(value)

    check(schema)
