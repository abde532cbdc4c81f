"""What the stand-in says: log lines in the vendor's form, and exceptions that print as the vendor's do."""

from __future__ import annotations

import enum
import itertools

VERSION, COMMIT = "7.0-standin", "0000standin"
LABEL = "stand-in for Pulsar2: compiled by no toolchain, runs on no chip"

_lines = itertools.count()


class ErrorCode(enum.Enum):
    """Only the number of NPUBackendError is known."""

    NPUBackendError = 8


class CodeException(Exception):  # noqa: N818 -- the vendor's name
    """What tracebacks of the tool end in."""


CodeException.__module__ = "yamain.common.error"


class ParseError(Exception):
    """What the configuration's parser raises."""


ParseError.__module__ = "google.protobuf.json_format"


def log(place: str, text: str, level: str = "INFO") -> None:
    """Print one line. Its time is counted, not read off a clock, so that two runs print the same."""
    number = next(_lines)
    stamp = f"2026-01-01 00:{number // 60 % 60:02}:{number % 60:02}.000"
    print(f"{stamp} | {level:<8} | yamain.{place} - {text}", flush=True)


def bar(what: str, total: int) -> None:
    """Print a progress bar as it looks in a log file: every state, carriage returns between."""
    for done in range(total + 1):
        filled = "█" * (10 * done // max(total, 1))
        print(f"\r{what}: {100 * done // max(total, 1):3d}%|{filled:<10}| {done}/{total} [00:00<00:00]", end="")
    print(flush=True)
