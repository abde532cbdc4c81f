"""Find AXera's Pulsar2, which nobody may redistribute: on PATH, in PULSAR2_HOME, or in a container.

`PULSAR2_IMAGE` names one image and is then the only place looked at; that it cannot be used is an error. Otherwise the
first that answers is taken: ``pulsar2`` on PATH; ``$PULSAR2_HOME/bin/pulsar2``; the newest ``pulsar2:<version>`` image
of docker or podman. An image whose tag is no version is asked for it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

from workbench.errors import ToolError
from workbench.runtimes.pulsar2_tool import asking, container
from workbench.runtimes.pulsar2_tool.choice import Choice, of_environment
from workbench.runtimes.pulsar2_tool.toolchain import Toolchain

ENGINES = ("docker", "podman")
MISSING = "no Pulsar2 toolchain"
FIX = "put pulsar2 on PATH, set PULSAR2_HOME, or load a pulsar2:* image; see toolchain/README.md"

_Look = Iterator[tuple[str, Toolchain | None]]


def find() -> Toolchain | None:
    """The toolchain to use, or None. Takes milliseconds when there is nothing to find.

    Raises:
        ToolError: PULSAR2_IMAGE names an image that cannot be used.
        RecipeError: a PULSAR2_* variable cannot be read.
    """
    choice = of_environment()
    looked: list[str] = []
    for line, found in _look(choice):
        if found is not None:
            return found
        looked.append(line)
    if choice.image:
        raise _listed(f"the image {choice.image} cannot be used", looked, "load it, or name another; workbench doctor")
    return None


def search_report() -> list[str]:
    """Every place that is looked at and what is there, one line each; ``->`` marks the one that is used."""
    lines, used = [], False
    for line, found in _look(of_environment()):
        lines.append(f"{'->' if found is not None and not used else '  '} {line}")
        used = used or found is not None
    return lines


def missing(why: str = "") -> ToolError:
    """The error of those who need a toolchain where there is none: every place that was looked at, and what is there.

    Args:
        why: what it is needed for, after a comma.
    """
    looked = [line for line, _ in _look(of_environment())]
    return _listed(f"{MISSING}{f', {why}' if why else ''}", looked, FIX)


def engines(choice: Choice) -> list[str]:
    """Programs of the container engines to ask, those that are here."""
    names = (choice.engine,) if choice.engine else ENGINES
    return [program for program in map(_which, names) if program]


def _listed(what: str, looked: list[str], fix: str) -> ToolError:
    return ToolError("\n    ".join([what, *looked]), fix=fix)


def _look(choice: Choice) -> _Look:
    """Places in the order of preference: what is there, in words, and the toolchain if it can be used."""
    if choice.image:
        yield from _named_image(choice)
        return
    program = _which("pulsar2")
    yield _probe("path", program, choice) if program else ("pulsar2: not on PATH", None)
    if not choice.home:
        yield "PULSAR2_HOME: not set", None
    else:
        inside = Path(choice.home).expanduser().absolute() / "bin" / "pulsar2"
        usable = os.access(inside, os.X_OK) and inside.is_file()
        yield _probe("package", str(inside), choice) if usable else (f"PULSAR2_HOME: no program {inside}", None)
    yield from _images(choice)


def _probe(kind: Literal["path", "package"], program: str, choice: Choice) -> tuple[str, Toolchain | None]:
    try:
        seen = Path(program).stat()
    except OSError as error:
        return f"{program}: cannot be used: {error.strerror}", None
    answer = _version(program, seen.st_mtime_ns, seen.st_size)
    if not answer.ok:
        return f"{program}: cannot be used: {answer.trouble}", None
    said = asking.version_in(answer.text)
    if said is None:
        return f"{program}: does not say its version, so it is not Pulsar2", None
    found = Toolchain(kind, said[0], said[1], program, choice=choice)
    return f"{program}: version {found.version}, commit {found.build or 'unknown'}", found


def _named_image(choice: Choice) -> _Look:
    for program, absent in _programs(choice):
        if not program:
            yield absent, None
            continue
        engine, image = Path(program).name, choice.image
        answer = asking.ask(
            [program, *choice.engine_options, "image", "inspect", "--format", "{{.Id}}", image], asking.ENGINE_SECONDS
        )
        if not answer.ok:
            yield f"{engine}: PULSAR2_IMAGE {image} cannot be used: {answer.trouble}", None
            continue
        yield _identified(Toolchain("container", _tag(image), _id(answer.text), program, image, choice))


def _images(choice: Choice) -> _Look:
    """Both engines are asked before the newest image is offered."""
    found: list[Toolchain] = []
    for program, absent in _programs(choice):
        if not program:
            yield absent, None
            continue
        engine = Path(program).name
        answer = asking.ask(
            [program, *choice.engine_options, "images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"],
            asking.ENGINE_SECONDS,
        )
        if not answer.ok:
            yield f"{engine}: {answer.trouble}", None
            continue
        here = []
        for line in answer.text.splitlines():
            image, _, number = line.strip().partition(" ")
            if is_named_so(image) and not image.endswith(":<none>"):
                here.append(Toolchain("container", _tag(image), _id(number), program, image, choice))
        found += here
        yield f"{engine}: {', '.join(sorted(one.image for one in here)) or 'no pulsar2:* image'}", None
    if found:
        newest = max(found, key=lambda one: (age(one.version), one.program.endswith("docker"), one.image))
        line, known = _identified(newest)
        yield line.replace(f"{Path(newest.program).name}: ", "newest image: ", 1), known


def _programs(choice: Choice) -> Iterator[tuple[str, str]]:
    """The program of every engine to ask; where it is absent, the line that says so."""
    for name in (choice.engine,) if choice.engine else ENGINES:
        yield _which(name), f"{name}: not on PATH"


def _which(name: str) -> str:
    """The program's whole path, for it is started elsewhere; empty where there is none."""
    found = shutil.which(name)
    return str(Path(found).absolute()) if found else ""


def _identified(tool: Toolchain) -> tuple[str, Toolchain | None]:
    """The toolchain with its version: the tag where that is one and the image is called pulsar2, else what it says."""
    engine = Path(tool.program).name
    if age(tool.version)[0] and is_named_so(tool.image):
        return f"{engine}: {tool.image}", tool
    answer = _version_inside(tool.program, tool.image, tool.build, tool.choice)
    said = asking.version_in(answer.text)
    if said is None:
        why = "it does not say its version, so it is not Pulsar2" if answer.ok else answer.trouble
        return f"{engine}: {tool.image} cannot be used: {why}", None
    # The id stays the build: what was added to an image is not seen in the commit of the tool inside.
    found = Toolchain("container", said[0], tool.build, tool.program, tool.image, tool.choice)
    return f"{engine}: {tool.image}, which says version {said[0]}, commit {said[1] or 'unknown'}", found


@cache
def _version(program: str, mtime: int, size: int) -> asking.Answer:  # noqa: ARG001 -- a changed program is asked again
    return asking.ask([program, "version"], asking.PROBE_SECONDS)


@cache
def _version_inside(program: str, image: str, build: str, choice: Choice) -> asking.Answer:  # noqa: ARG001 -- likewise
    name = f"workbench-pulsar2-{os.getpid()}-{secrets.token_hex(4)}"
    script = f"{container.PATHS}\nexec pulsar2 version"
    answer = asking.ask(container.ask_command(program, image, name, script, choice), asking.PROBE_SECONDS)
    if not answer.ok:
        container.remove(program, name, choice)
    return answer


def is_named_so(image: str) -> bool:
    """Whether the image is called pulsar2, in whatever registry."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0] == "pulsar2"


def _id(text: str) -> str:
    return text.strip().removeprefix("sha256:")[:12]


def _tag(image: str) -> str:
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    return tag or "latest"


def age(tag: str) -> tuple[tuple[int, ...], bool, tuple[int, ...]]:
    """Orders tags: 6.0 < 7.0-rc1 < 7.0 < 7.0-patch1 < 7.1; one that is no version is older than all."""
    match = re.match(r"[vV]?(\d+(?:\.\d+)*)(.*)", tag)
    if match is None:
        return (), False, ()
    early = re.search(r"rc|alpha|beta|temp|dirty|dev", match[2], re.IGNORECASE) is not None
    return tuple(map(int, match[1].split("."))), not early, tuple(map(int, re.findall(r"\d+", match[2])))
