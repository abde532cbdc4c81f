"""`workbench doctor`: is everything here?"""

from __future__ import annotations

import click

from workbench.cli import _options


@click.command()
@_options.as_json
def command(as_json: bool) -> None:
    """Show versions, the Pulsar2 toolchain, runners for .axmodel, folders and free disk space.

    Exits with 3 when something that `convert` needs is missing.
    """
    import json
    import platform
    import shutil

    from workbench import pipeline
    from workbench.engine.stage import tool_version
    from workbench.runtimes.pulsar2_tool import search_report
    from workbench.stages.publish import TOOLS

    home = pipeline.store_of_environment().home
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    versions = {tool: tool_version(tool) for tool in TOOLS}
    if "absent" in (versions["tensorflow"], versions["tensorflow-cpu"]):  # one of the two is enough
        versions = {
            tool: version
            for tool, version in versions.items()
            if version != "absent" or not tool.startswith("tensorflow")
        } or versions
    report = {
        "python": platform.python_version(),
        "versions": versions,
        "pulsar2": search_report(),
        "cache": str(home),
        "free_gb": round(free / 1e9, 1),
        "mirrors": [str(folder) for folder in pipeline.mirrors_of_environment()],
    }
    missing = [tool for tool, version in versions.items() if version == "absent"]
    if not any(tool.startswith("tensorflow") for tool in versions):
        missing.append("tensorflow")
    report["missing"] = missing
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(f"python      {report['python']}")
        for tool, version in versions.items():
            click.echo(f"{tool:<11} {version}")
        for line in report["pulsar2"]:
            click.echo(f"pulsar2     {line}")
        click.echo(f"cache       {home} ({report['free_gb']} GB free)")
        for folder in report["mirrors"] or ["none (set WORKBENCH_MIRROR)"]:
            click.echo(f"mirror      {folder}")
    if missing:
        from workbench.errors import ToolError

        raise ToolError(f"missing: {', '.join(missing)}", fix="pip install -e . in a fresh virtual environment")
    if free < 5e9:
        click.echo("warning: less than 5 GB free; large recipes may not fit", err=True)
