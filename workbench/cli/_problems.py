"""Do several things, say what went wrong with each, and end with the first one's exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import click

from workbench.errors import WorkbenchError

T = TypeVar("T")
R = TypeVar("R")


def each(
    items: Sequence[T],
    work: Callable[[T], R],
    failed: Callable[[T, WorkbenchError], None] | None = None,
    *,
    all_or_nothing: bool = False,
) -> Iterator[R]:
    """Yield ``work(item)`` for every item that succeeds.

    Args:
        items: what to work on.
        work: may raise a `WorkbenchError`, which is printed; the others go on.
        failed: hears of every error, too.
        all_or_nothing: collect first and yield nothing when one failed.

    Raises:
        WorkbenchError: the only item's error, unchanged.
        click.exceptions.Exit: an item of several failed; each error was printed.
    """
    results: list[R] = []
    code = 0
    for item in items:
        try:
            results.append(work(item))
        except WorkbenchError as error:
            if failed is not None:
                failed(item, error)
            if len(items) == 1:
                raise
            say(str(error))
            code = code or error.exit_code
    if code and all_or_nothing:
        raise click.exceptions.Exit(code)
    yield from results
    if code:
        raise click.exceptions.Exit(code)


def say(text: str) -> None:
    """Print an error on stderr."""
    click.echo(f"{click.style('error', fg='red', bold=True)}: {plain(text)}", err=True)


def plain(text: str) -> str:
    """`text`, which may quote a file, without characters that a terminal obeys; lines stay."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else repr(sign)[1:-1] for sign in text)
