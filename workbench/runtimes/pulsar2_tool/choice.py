"""How a user wants the toolchain found and run: an image, an engine, limits; read from the environment in one place.

The command line's options (``--image``, ``--memory``, ``--cpus``) are these variables for the time of one command.

| variable | meaning |
|---|---|
| PULSAR2_IMAGE | this image, and nothing else |
| PULSAR2_ENGINE | docker or podman, or a path to one; both are asked when it is not set |
| PULSAR2_ENGINE_OPTIONS | options of the engine itself, before its command: ``--storage-driver vfs`` |
| PULSAR2_RUN_OPTIONS | options of its ``run``, after ours: ``--gpus all``, ``--ulimit nofile=1024:1024`` |
| PULSAR2_MEMORY, PULSAR2_CPUS | most memory (``8g``) and processors (``4``) that the tool may use |
| PULSAR2_LICENCE | a folder of licence files, copied to the container's /root/.hasplm |
| PULSAR2_HOME | a package: a folder with bin/pulsar2 |
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.errors import RecipeError

_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_LEAST = 2**26  # no compiler runs in less than 64 MB: a number without its unit, 8 for 8g, is a slip


@dataclass(frozen=True)
class Choice:
    """What the environment says; everything may be left out.

    Attributes:
        image: the only image to look at.
        engine: the only engine to look at: docker, podman or a path.
        engine_options: before the engine's command.
        run_options: after its ``run`` and our own options, so that they win.
        memory: bytes.
        cpus: processors.
        licence: folder of licence files.
        home: folder with ``bin/pulsar2``.
    """

    image: str = ""
    engine: str = ""
    engine_options: tuple[str, ...] = ()
    run_options: tuple[str, ...] = ()
    memory: int | None = None
    cpus: float | None = None
    licence: str = ""
    home: str = ""


def of_environment(environment: Mapping[str, str] | None = None) -> Choice:
    """The choice in `environment`; this process's when left out.

    Raises:
        RecipeError: a variable that cannot be read.
    """
    given = os.environ if environment is None else environment
    memory, cpus = given.get("PULSAR2_MEMORY", ""), given.get("PULSAR2_CPUS", "")
    return Choice(
        image=given.get("PULSAR2_IMAGE", ""),
        engine=given.get("PULSAR2_ENGINE", ""),
        engine_options=_words("PULSAR2_ENGINE_OPTIONS", given),
        run_options=_words("PULSAR2_RUN_OPTIONS", given),
        memory=read_memory(memory) if memory else None,
        cpus=read_cpus(cpus) if cpus else None,
        licence=given.get("PULSAR2_LICENCE", ""),
        home=given.get("PULSAR2_HOME", ""),
    )


def read_memory(text: str) -> int:
    """Bytes in ``8g``, ``512m``, ``1.5 GB``: units of 1024.

    Raises:
        RecipeError: no such amount, or less than any compiler needs.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?\s*", text, re.IGNORECASE | re.ASCII)
    size = float(found[1]) * _UNITS[found[2].lower()] if found else 0.0
    if not (_LEAST <= size < 2**60):
        raise RecipeError(
            f"{text!r} is not an amount of memory for a compiler", where="PULSAR2_MEMORY", fix="say 8g or 6000m"
        )
    return int(size)


def read_cpus(text: str) -> float:
    """A number of processors.

    Raises:
        RecipeError: it is none.
    """
    try:
        cpus = float(text)
    except ValueError:
        cpus = math.nan
    if not 0.01 <= cpus <= 4096:
        raise RecipeError(f"{text!r} is not a number of processors", where="PULSAR2_CPUS", fix="say 4, or 0.5")
    return cpus


def _words(name: str, given: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(given.get(name, "")))
    except ValueError as error:
        raise RecipeError(f"cannot be split into words: {error}", where=name, fix="close its quotes") from error
