"""Keep other libraries' prints, log lines and warnings off the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Silence Python-level output of the block; what was printed is in the buffer, for an error message."""
    heard = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            warnings.simplefilter("ignore")
            yield heard
    finally:
        logging.disable(before)


@contextlib.contextmanager
def native_quiet() -> Iterator[None]:
    """Drop what native code writes to stderr in the block, past Python's own streams; there is one stderr a process."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
