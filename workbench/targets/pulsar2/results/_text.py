"""The text of a file that the vendor's tool wrote: a plain file of a sensible size, or an error."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import ToolError

_LARGEST = 64 * 2**20  # bytes; a network of a thousand layers has under one


def read(path: Path, *, largest: int = _LARGEST) -> str:
    """The content of `path`; bytes that are no UTF-8 become replacement characters.

    Raises:
        ToolError: it is missing, a link, too large, or cannot be read.
    """
    if path.is_symlink() or not path.is_file():
        raise ToolError("no such plain file", where=str(path), fix="was the tool asked to write it?")
    try:
        size = path.stat().st_size
        if size > largest:
            raise ToolError(
                f"{size / 1e6:.0f} MB, too large for what it is", where=str(path), fix="compile again, or look at it"
            )
        return path.read_text("utf-8", "replace")
    except OSError as error:
        raise ToolError(f"cannot read: {error.strerror}", where=str(path), fix="check its permissions") from error
