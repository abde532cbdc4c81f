"""`workbench targets`: what a recipe can be built for."""

from __future__ import annotations

import click

from workbench.cli import _options


@click.command(short_help="List the targets and their options.")
@_options.as_json
def command(as_json: bool) -> None:
    """List the targets with their options and what this machine has for them."""
    import json

    from workbench import catalog

    listed = []
    for name in catalog.names("target"):
        module = catalog.load("target", name)
        options = module.Options.model_json_schema().get("properties", {})
        look = getattr(module, "environment", None)
        listed.append(
            {
                "name": name,
                "about": (module.__doc__ or "").strip().splitlines()[0],
                "options": {
                    key: {"default": field.get("default"), "about": field.get("description", "")}
                    for key, field in options.items()
                },
                "here": look(module.Options()) if look else {},
            }
        )
    if as_json:
        click.echo(json.dumps(listed, indent=2))
        return
    for entry in listed:
        click.echo(f"{click.style(entry['name'], bold=True)}\n    {entry['about']}")
        for key, option in entry["options"].items():
            click.echo(f"    {key}: {option['about']} (default {json.dumps(option['default'])})")
        for key, found in entry["here"].items():
            click.echo(f"    here: {key} {found}")
