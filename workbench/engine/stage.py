"""A stage is a function with a version; a step is a stage with its settings, placed in a plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from workbench.engine.progress import Progress

Record = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """Work that turns settings and files into files.

    Attributes:
        name: as users see it.
        version: raised when the meaning of the settings changes; the code itself is in the key (see `rooms`).
        run: ``run(settings, inputs, out, progress)``: `inputs` maps the names of earlier steps and outside files to
            paths, `out` is an empty folder. It writes files to `out` and nothing anywhere else.
        tools: distributions whose versions change the result.
        rooms: folders of this package whose code makes the result; an edited pass or operator runs its stage again.
        resumable: `run` finds ``inputs["partial"]``, a folder as its last attempt with the same key left it, and keeps
            there what it need not do twice; see `engine.partial`. The result must not depend on what is found.
    """

    name: str
    version: int
    run: Callable[[Any, Mapping[str, Path], Path, Progress], None]
    tools: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    resumable: bool = False


@dataclass(frozen=True)
class OutsideFile:
    """A file or folder that is no step's result, and the hash of its content."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Step:
    """A stage in a plan.

    Attributes:
        settings: the slice of the recipe that this stage sees; anything JSON can say, so that it can be in the key.
        needs: earlier steps whose folders it reads.
        outside: files it reads that no step made.
    """

    stage: Stage
    settings: Any
    needs: tuple[Step, ...] = ()
    outside: Mapping[str, OutsideFile] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name


def record(step: Step) -> Record:
    """The readable key of `step`: everything its result depends on."""
    return {
        "stage": f"{step.stage.name}@{step.stage.version}",
        "settings": to_jsonable_python(step.settings),
        "inputs": {need.name: digest(need) for need in step.needs},
        "files": {name: file.digest for name, file in sorted(step.outside.items())},
        "tools": {tool: tool_version(tool) for tool in sorted(step.stage.tools)},
        "code": {room: code_digest(room) for room in sorted(step.stage.rooms)},
    }


def digest(step: Step) -> str:
    """The SHA-256 of the key of `step`, its address in the store."""
    text = json.dumps(record(step), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_digest(room: str) -> str:
    """A hash of the source files of a room of this package, ``quant`` or ``targets/tflite``."""
    folder = Path(__file__).resolve().parents[1] / room
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".j2", ".yaml")):
        found.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


@cache
def tool_version(name: str) -> str:
    """The installed version of a distribution, or ``absent``."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def difference(old: Record | None, new: Record) -> list[str]:
    """Why a step must run: what changed between its last key and this one, one line each."""
    if old is None:
        return ["first run"]
    return list(_differences(old, new, ""))


def _differences(old: Any, new: Any, path: str) -> list[str]:
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in sorted({*old, *new}):
            inside = f"{path}.{key}" if path else key
            if key not in old:
                lines.append(f"{inside}: new")
            elif key not in new:
                lines.append(f"{inside}: gone")
            elif path == "inputs":
                lines += [f"{key} changed"] if old[key] != new[key] else []
            else:
                lines += _differences(old[key], new[key], inside)
        return lines
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for i, pair in enumerate(zip(old, new, strict=True)) for line in _differences(*pair, f"{path}[{i}]")
        ]
    return [f"{path}: {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
