"""`workbench doctor`: is everything here?"""

from __future__ import annotations

from typing import Any

import click

from workbench.cli import _options


@click.command(short_help="Show versions, toolchain, runners, disk.")
@_options.toolchain
@_options.as_json
def command(as_json: bool) -> None:
    """Show versions, the Pulsar2 toolchain with its engine and licence, folders and free disk space.

    Exits with 3 when something that `convert` needs is missing.
    """
    import json
    import platform
    import shutil

    from workbench import pipeline
    from workbench.engine.stage import tool_version
    from workbench.stages.publish import TOOLS

    home = pipeline.store_of_environment().home
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    versions = {tool: tool_version(tool) for tool in TOOLS}
    tensorflow = {tool: version for tool, version in versions.items() if tool.startswith("tensorflow")}
    if any(version != "absent" for version in tensorflow.values()):  # one of its two distributions is enough
        for tool in [tool for tool, version in tensorflow.items() if version == "absent"]:
            del versions[tool]
    missing = [tool for tool, version in versions.items() if version == "absent"]
    pulsar2 = _pulsar2()
    mirrors = [str(folder) for folder in pipeline.mirrors_of_environment()]
    report = {
        "python": platform.python_version(),
        "versions": versions,
        "missing": missing,
        "pulsar2": pulsar2,
        "cache": str(home),
        "free_gb": round(free / 1e9, 1),
        "mirrors": mirrors,
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(f"python      {report['python']}")
        for tool, version in versions.items():
            click.echo(f"{tool:<11} {version}")
        for line in pulsar2["looked"]:
            click.echo(f"pulsar2     {line}")
        for engine in pulsar2["engines"]:
            click.echo(f"engine      {engine['text']}")
        for line in pulsar2["licence"]:
            click.echo(f"licence     {line}")
        for limit, value in pulsar2["limits"].items():
            click.echo(f"limit       {limit} {value}")
        click.echo(f"cache       {home} ({report['free_gb']} GB free)")
        for folder in mirrors or ["none (set WORKBENCH_MIRROR)"]:
            click.echo(f"mirror      {folder}")
    if missing:
        from workbench.errors import ToolError

        raise ToolError(f"missing: {', '.join(missing)}", fix="pip install -e . in a fresh virtual environment")
    if free < 5e9:
        click.echo("warning: less than 5 GB free; large recipes may not fit", err=True)


def _pulsar2() -> dict[str, Any]:
    """Where the toolchain was looked for, the engines, the licence of what was found, and the limits it gets."""
    from workbench.errors import ToolError
    from workbench.runtimes.pulsar2_tool import find, of_environment, search_report
    from workbench.runtimes.pulsar2_tool.survey import licence, survey

    choice = of_environment()
    try:
        found = find()
    except ToolError:  # a named image that cannot be used: the lines say why, and the rest is worth seeing, too
        found = None
    limits = {"memory": choice.memory and f"{choice.memory} bytes", "cpus": choice.cpus and f"{choice.cpus:g}"}
    return {
        "looked": search_report(),
        "version": found.version if found else None,
        "build": found.build if found else None,
        "kind": found.kind if found else None,
        "image": found.image if found else None,
        "engines": [
            {"name": one.name, "version": one.version, "rootless": one.rootless, "text": str(one)}
            for one in survey(choice)
        ],
        "licence": licence(found) if found else [],
        "limits": {name: value for name, value in limits.items() if value},
    }
