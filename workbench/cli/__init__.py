"""The command line: one command a file, found by file name; one boundary turns errors into text and exit codes."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from typing import Any

import click

from workbench.cli._problems import say
from workbench.errors import WorkbenchError

INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C


class Cli(click.Group):
    """A group whose commands are the files of this folder, imported when they are called or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Every file without a leading underscore."""
        return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The object ``command`` in the file of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does, and the near miss of a misspelt command is named."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from workbench.catalog import did_you_mean

            raise click.UsageError(f"{error.message} {did_you_mean(args[0], self.list_commands(ctx))}", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what a user can mend is printed in three parts, anything else keeps its traceback."""
        try:
            return super().invoke(ctx)
        except WorkbenchError as error:
            say(str(error))
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            say(
                "interrupted: nothing half-written is left\n  fix: run the same command again; finished stages are kept"
            )
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # the reader of a pipe (head, less) went away, which is no failure
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:
            from pathlib import Path

            from workbench.engine.store import disk_error

            say(str(disk_error(error, Path())))
            ctx.exit(3)


@click.command(cls=Cli, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pose-workbench", prog_name="workbench")
def main() -> None:
    """Convert and quantize human-pose networks for edge chips, and prove what came out.

    A recipe names a network; `workbench convert recipes/lw_openpose.yaml` leaves checked ONNX and TFLite files, and
    with AXera's toolchain a .axmodel, in dist/lw_openpose/.

    Exit codes: 2 the recipe or the command line is wrong, 3 a tool, file or source is missing or failed, 4 the numbers
    moved further than the recipe allows.
    """
