"""`workbench passes`: the graph surgery a recipe can ask for."""

from __future__ import annotations

import click

from workbench.cli import _options


@click.command(short_help="List the surgery passes and their options.")
@_options.as_json
def command(as_json: bool) -> None:
    """List the surgery passes with what they do, their options and an example line."""
    import json

    from pydantic import TypeAdapter

    from workbench import catalog

    listed = []
    for name in catalog.names("pass"):
        step = catalog.load("pass", name).PASS
        options = {
            key: field.get("description") or field.get("type", "")
            for key, field in TypeAdapter(step).json_schema().get("properties", {}).items()
        }
        listed.append({"name": name, "about": step.summary(), "options": options, "example": step.example_line()})
    if as_json:
        click.echo(json.dumps(listed, indent=2))
        return
    for entry in listed:
        click.echo(f"{click.style(entry['name'], bold=True)}\n    {entry['about']}")
        for key, about in entry["options"].items():
            click.echo(f"    {key}: {about}")
        click.echo(f"    example: {entry['example']}")
