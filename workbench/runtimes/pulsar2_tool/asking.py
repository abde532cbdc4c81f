"""Short questions to programs: a version, a list of images. One that hangs, fails or cannot start is an answer, too."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from workbench.runtimes._process import ended, reap
from workbench.runtimes.pulsar2_tool.signatures import recognize

PROBE_SECONDS = 60.0  # the tool loads half of Python before it says its version
ENGINE_SECONDS = 3.0
_LONGEST = 1 << 20  # bytes of an answer


@dataclass(frozen=True)
class Answer:
    """What a program said: `text` on stdout; `trouble` in words when it is not `ok`."""

    ok: bool
    text: str
    trouble: str


def ask(command: Sequence[str], seconds: float) -> Answer:
    """Run a short question; nothing that it started outlives the answer."""
    try:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = _run(command, seconds, out, err)
            text, said = _read(out), _read(err)
    except OSError as error:
        return Answer(False, "", f"{error.strerror}")
    if code is None:
        return Answer(False, "", f"no answer within {seconds:g} s")
    if max(len(text), len(said)) > _LONGEST:
        return Answer(False, "", "it prints without an end")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    trouble = (lines[-1] if lines else f"exit code {code}")[:200]
    known = recognize(said)
    if known is not None:
        trouble = f"{known.cause} ({known.cure}); it says: {trouble}"
    return Answer(code == 0, text, trouble)


def _run(command: Sequence[str], seconds: float, out: IO[bytes], err: IO[bytes]) -> int | None:
    """The exit code; None when it has not ended in time. One that prints too much is stopped, too."""
    child = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
    in_time = True
    end = time.monotonic() + seconds
    try:
        while in_time and not ended(child.pid):
            in_time = time.monotonic() < end
            if max(os.fstat(file.fileno()).st_size for file in (out, err)) > _LONGEST:
                break
    finally:
        code = reap(child)
    return code if in_time else None


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_LONGEST + 1).decode("utf-8", "replace")


def version_in(text: str) -> tuple[str, str] | None:
    """Version and commit in what ``pulsar2 version`` prints; None when it is not Pulsar2's answer."""
    version = re.search(r"^\s*version:\s*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    commit = re.search(r"^\s*commit:\s*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return (version[1], commit[1] if commit else "") if version else None
