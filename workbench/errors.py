"""Every error a user can meet: what happened, where, and how to fix it.

    WorkbenchError            1   never raised itself
    ├── RecipeError           2   the recipe or the command line is wrong
    │   └── RecipeErrors      2   all the mistakes of one recipe at once
    ├── ToolError             3   a tool, a source, a file or the disk is missing or failed
    │   ├── SourceError       3   the source network or its weights
    │   └── UnsupportedError  3   an operator, a format or a chip feature that a target cannot take
    └── ParityError           4   numbers moved further than the recipe allows

The class owns the exit code. Anything else that escapes is a bug of ours and keeps its traceback (exit 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class WorkbenchError(Exception):
    """An error with three parts.

    Args:
        what: one sentence that states what is wrong.
        where: ``file:line:col``, a node, a tensor or a path; empty when `what` already says it.
        fix: what the user can do about it.
        at: path inside the recipe, e.g. ``("inputs", 0, "shape")``, for code that knows the recipe's keys but not its
            lines; the pipeline turns it into `where`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "", at: tuple[str | int, ...] | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix
        self.at = at

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  fix: {self.fix}" if self.fix else head


class RecipeError(WorkbenchError):
    """The recipe, an override or the command line is wrong; nothing was started."""

    exit_code = 2


class RecipeErrors(RecipeError):  # noqa: N818 -- it is many errors
    """All mistakes found in one reading of a recipe, in the order of its lines."""

    def __init__(self, errors: Sequence[RecipeError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))

    def __str__(self) -> str:
        # Not what was joined above: the pipeline writes lines into the errors afterwards.
        return "\n".join(str(error) for error in self.errors)


class ToolError(WorkbenchError):
    """A tool, a file, a runtime or the disk is missing or failed."""

    exit_code = 3


class SourceError(ToolError):
    """The source network cannot be had or is not what the recipe says."""


class UnsupportedError(ToolError):
    """A target, a pass or a runtime cannot take this model; the message names the node."""


class ParityError(WorkbenchError):
    """An artifact's numbers differ from the source network's by more than the recipe's limits."""

    exit_code = 4
