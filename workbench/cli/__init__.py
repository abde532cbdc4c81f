"""The command line: one command a file, found by file name; one boundary turns errors into text and exit codes."""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from workbench.cli._problems import say
from workbench.errors import WorkbenchError


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

            near = did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(f"{error.message} {near[0].upper()}{near[1:]}", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what a user can mend is printed in three parts, anything else keeps its traceback."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show must not end the run
                stream.reconfigure(errors="backslashreplace")
        try:
            with _ended_politely():
                return super().invoke(ctx)
        except WorkbenchError as error:
            say(str(error))
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort) as error:
            say("interrupted, nothing half-written is left\n  fix: run it again: finished stages are kept")
            ctx.exit(128 + (error.args[0] if error.args and isinstance(error.args[0], int) else signal.SIGINT))
        except BrokenPipeError:  # the reader of a pipe (head, less) went away, which is no failure
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except OSError as error:
            from workbench.engine.store import disk_error, is_disk_error

            if not is_disk_error(error):
                raise
            say(str(disk_error(error, "output")))
            ctx.exit(3)


@contextmanager
def _ended_politely() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: children stopped, scratch folders removed."""

    def stop(number: int, frame: object) -> None:  # noqa: ARG001 -- the signature of a handler
        raise KeyboardInterrupt(number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        names = []
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@click.command(cls=Cli, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="pose-workbench", prog_name="workbench")
def main() -> None:
    """Convert and quantize human-pose networks for edge chips, and prove what came out.

    A recipe names a network; `workbench convert recipes/lw_openpose.yaml` leaves checked ONNX and TFLite files, and
    with AXera's toolchain a .axmodel, in dist/lw_openpose/.

    Exit codes: 2 the recipe or the command line is wrong, 3 a tool, file or source is missing or failed, 4 the numbers
    moved further than the recipe allows.
    """
