"""Short questions to programs: a version, a list of images. One that hangs, fails or cannot start is an answer, too."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.runtimes.pulsar2_tool.signatures import recognize

PROBE_SECONDS = 60.0  # the tool loads half of Python before it says its version
ENGINE_SECONDS = 3.0


@dataclass(frozen=True)
class Answer:
    """What a program said: `text` on stdout; `trouble` in words when it is not `ok`."""

    ok: bool
    text: str
    trouble: str


def ask(command: Sequence[str], seconds: float) -> Answer:
    """Run a short question."""
    try:
        done = subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return Answer(False, "", f"no answer within {seconds:g} s")
    except OSError as error:
        return Answer(False, "", f"{error.strerror}")
    text = done.stdout.decode("utf-8", "replace")
    said = done.stderr.decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    trouble = (lines[-1] if lines else f"exit code {done.returncode}")[:200]
    known = recognize(said)
    if known is not None:
        trouble = f"{known.cause} ({known.cure}); it says: {trouble}"
    return Answer(done.returncode == 0, text, trouble)


def version_in(text: str) -> tuple[str, str] | None:
    """Version and commit in what ``pulsar2 version`` prints; None when it is not Pulsar2's answer."""
    version = re.search(r"^\s*version:\s*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    commit = re.search(r"^\s*commit:\s*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return (version[1], commit[1] if commit else "") if version else None
