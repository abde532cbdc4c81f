"""How long work tells what it is doing: a protocol the command line implements, and a silent stand-in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """What a stage may say while it runs."""

    def step(self, done: int, total: int | None, what: str) -> None:
        """`done` of `total` units of `what` are finished; total None means the end is not known."""

    def note(self, text: str) -> None:
        """A fact worth a line: something was left alone, reverted or counted."""

    def warn(self, text: str) -> None:
        """Something the user must not overlook; it is also kept in the manifest."""


class Silent:
    """Says nothing; the default of library calls and tests."""

    def step(self, done: int, total: int | None, what: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""


def track(items: Iterable[T], progress: Progress, what: str) -> Iterator[T]:
    """Yield `items` and report each one done."""
    total = len(items) if isinstance(items, Sized) else None
    progress.step(0, total, what)
    for done, item in enumerate(items, 1):
        yield item
        progress.step(done, total, what)
