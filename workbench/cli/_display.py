"""What a person sees while stages run: bars on a terminal, plain lines in a pipe; both on stderr."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from workbench.engine.runner import Done

PIPE_WIDTH = 160  # a pipe has no width: a table there must not be folded to 80 columns


def output() -> Console:
    """The console results are printed to: stdout."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


class Display:
    """Hears of stages and steps and shows them; a context manager, so that a bar never outlives its command."""

    def __init__(self, recipe: str, *, heading: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._recipe = recipe
        self._heading = heading
        self._task: TaskID | None = None
        self._bar: Progress | None = None
        if self._console.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[count]}"),
                TimeElapsedColumn(),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)

    def __enter__(self) -> Self:
        """Start drawing; with several recipes, each has its heading."""
        if self._heading:
            self._line(f"== {self._recipe}")
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        if self._bar is not None:
            self._bar.stop()

    def begin(self, stage: str) -> None:
        """A stage starts."""
        if self._bar is not None:
            self._drop()
            self._task = self._bar.add_task(f"{self._recipe} {stage}", total=None, count="")

    def end(self, done: Done) -> None:
        """A stage is finished, or was not needed."""
        self._drop()
        if done.ran:
            self._line(f".  {done.step.name:<10} {done.seconds:6.1f} s")
        else:
            self._line(f"-- {done.step.name:<10} unchanged")
            for warning in done.warnings:
                self.warn(warning)

    def step(self, done: int, total: int | None, what: str) -> None:
        """Move the bar."""
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self._recipe, total=None, count="")
            count = f"{done}/{total} {what}" if total else f"{done} {what}"
            self._bar.update(self._task, completed=done, total=total, count=count)

    def note(self, text: str) -> None:
        """A fact worth a line."""
        self._line(f"     {text}")

    def warn(self, text: str) -> None:
        """Something that must not be overlooked."""
        self._console.print(f"[yellow]warning[/]: {escape(text)}")

    def _line(self, text: str) -> None:
        self._console.print(escape(text))

    def _drop(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


def table(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> Table:
    """A table; a column is (heading, justify), and a cell that is a string may hold markup."""
    drawn = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, justify in columns:
        drawn.add_column(heading, justify=justify, overflow="fold", no_wrap=justify == "right")  # type: ignore[arg-type]
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    return drawn
