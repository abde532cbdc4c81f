"""Read a model file in a process of its own: one that is damaged or hostile ends that process, not this one.

Parsers are libraries, and a few megabytes can be written so that a parser wants gigabytes, crashes or never ends. The
process may take a few times the file's size and some seconds, and answers in JSON.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from workbench.errors import RecipeError, ToolError
from workbench.inspection.facts import Facts

READERS = {".onnx": "_onnx", ".axmodel": "_axmodel", ".tflite": "_tflite", ".pb": "_graph_def"}
OUT_OF_MEMORY = 3  # exit code of the process
_LARGEST = 2**31  # no format here holds more: two are protobufs, one is a flatbuffer with signed offsets
_SECONDS, _BYTES_A_SECOND = 60.0, 5e6


def describe(path: Path) -> Facts:
    """What the model file in `path` holds, whatever its kind.

    Raises:
        RecipeError: its suffix is of no kind that is known.
        ToolError: there is no such file, or it is damaged, or it breaks or overtaxes its parser.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise ToolError("a folder, not a model file", where=str(path), fix="name a file in it")
    if suffix not in READERS:
        raise RecipeError(
            f"{suffix!r} is no kind of model file" if suffix else "a model file needs a suffix",
            where=str(path),
            fix=f"one of: {', '.join(READERS)}",
        )
    if path.exists() and not path.is_file():
        raise ToolError("not a plain file", where=str(path), fix="name a file on a disk")
    if not path.is_file():
        raise ToolError("no such file", where=str(path), fix="check the path")
    size = path.stat().st_size
    if size > _LARGEST:
        raise ToolError(f"{size / 1e9:.1f} GB, more than any such file holds", where=str(path), fix="is it a model?")
    # Without -P a module in the folder that somebody downloaded the file to would be imported instead of ours.
    command = [sys.executable, "-P", "-m", "workbench.inspection._child", READERS[suffix], str(path)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS + size / _BYTES_A_SECOND,
        )
    except subprocess.TimeoutExpired as error:
        raise _broken(path, "it takes too long to read") from error
    try:
        answer = json.loads(done.stdout)
        if "error" in answer:
            told = answer["error"]
            raise ToolError(told["what"], where=told["where"], fix=told["fix"])
        return replace(Facts.from_json(answer["facts"]), size=size)
    except (ValueError, KeyError, TypeError):
        pass
    if done.returncode in (OUT_OF_MEMORY, -signal.SIGABRT, -signal.SIGKILL):
        raise _broken(path, "it takes many times its own size in memory to read")
    if done.returncode < 0:
        raise _broken(path, f"its parser was ended by {signal.Signals(-done.returncode).name}")
    raise _broken(path, "its parser failed on it")


def _broken(path: Path, reason: str) -> ToolError:
    return ToolError(f"cannot read the model: {reason}", where=str(path), fix="it is damaged, or made to break readers")
