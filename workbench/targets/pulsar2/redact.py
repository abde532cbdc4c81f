"""Take names of people, machines and private folders out of a text that goes to somebody else."""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Mapping
from pathlib import Path

_EVERYBODYS = {"root", "user", "data", "build", "docker", "model", "admin", "test", "localhost", "host"}
_HOMES = re.compile(r"(/(?:home|Users)/)[^/\s'\"`:;,)\]}>]+")


def redacted(text: str, folders: Mapping[str, str] | None = None) -> str:
    """`text` with `folders` (path to what stands for it), home folders, the user's and the machine's name replaced."""
    known = {str(Path.home()): "~", **(folders or {})}
    known.pop("/root", None)  # in a container everybody is root, and what lies there is worth reading
    for path in sorted((path for path in known if len(path) > 1), key=len, reverse=True):
        text = re.sub(re.escape(path) + r"(?![\w.-])", known[path], text)
    text = _HOMES.sub(r"\1user", text)
    for name, stand_in in ((_user(), "user"), (platform.node(), "host"), (platform.node().partition(".")[0], "host")):
        if len(name) > 2 and name.lower() not in _EVERYBODYS:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", stand_in, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
