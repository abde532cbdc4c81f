"""Find AXera's Pulsar2, which nobody may redistribute, and run it: on PATH, in PULSAR2_HOME, or in a container.

`PULSAR2_IMAGE` names one image and is then the only place looked at. Otherwise the first that answers is taken:
``pulsar2`` on PATH; ``$PULSAR2_HOME/bin/pulsar2``; the newest ``pulsar2:<version>`` image of docker or podman.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from workbench.engine.progress import Progress
from workbench.errors import ToolError
from workbench.runtimes._process import run_logged, tail

ENGINES = ("docker", "podman")
MISSING = "no Pulsar2 toolchain"
FIX = "put pulsar2 on PATH, set PULSAR2_HOME, or load a pulsar2:* image; see toolchain/README.md"
LICENCES = Path("/var/hasplm")  # some 7.0 set-ups keep licence state here; handed to the container when it exists

# What the container runs, with the tool's arguments as "$@". The image's own programs first; licence files in place, or
# assembly ends with H0007; TERM goes on to the tool, as a shell that is process 1 would swallow it; at last everything
# gets the owner of the mounted folder (as seen inside, so it is right in rootless engines, too).
CONTAINER_SCRIPT = """\
PATH=/usr/local/bin/.venv/bin:/opt/pulsar2:$PATH; export PATH
mkdir -p /root/.hasplm/installed/32434
for file in /root/*.v2c; do [ ! -e "$file" ] || cp "$file" /root/.hasplm/installed/32434/; done
pass_on() { kill -TERM "$tool" 2>/dev/null; }
trap pass_on TERM INT
"$@" & tool=$!
wait "$tool"; status=$?
while kill -0 "$tool" 2>/dev/null; do wait "$tool"; status=$?; done
chown -hR --reference=/data /data || :
exit "$status"
"""

_PROBE_SECONDS = 60.0  # the tool loads half of Python before it says its version
_ENGINE_SECONDS = 3.0
_SHOWN = 6
_TELLING = re.compile(
    r"error|exception|failed|fatal|not support|dont support|\bH\d{4}\b|killed|no space", re.IGNORECASE
)
_CURES = (
    (re.compile(r"H0007|Sentinel key not found"), "the licence is not in place: see 'licence' in toolchain/README.md"),
    (re.compile(r"dont support (\w+)"), "the chip lacks this operator: rewrite it, or cut the graph before it"),
    (re.compile(r"No space left on device"), "free some disk space"),
)


@dataclass(frozen=True)
class Toolchain:
    """A Pulsar2 that answered.

    Attributes:
        version: what it says of itself; for an image, its tag.
        build: tells two builds of one version apart: the commit, or the image's id.
        program: the pulsar2 program, or the container engine.
        image: the image's name; empty when there is no container.
    """

    kind: Literal["path", "package", "container"]
    version: str
    build: str
    program: str
    image: str = ""

    def __str__(self) -> str:
        return f"Pulsar2 {self.version} ({self.image or self.program})"

    @property
    def identity(self) -> str:
        """Version and build, the same on every machine that has this toolchain: for cache keys and the manifest."""
        return f"{self.version} {self.build}".strip()

    def run(
        self,
        args: Sequence[str],
        workdir: Path,
        log: Path,
        progress: Progress,
        timeout: float | None = None,
        *,
        inside: str = ".",
    ) -> None:
        """Run ``pulsar2 ARGS``; what it writes belongs to the caller.

        Args:
            args: ``("build", "--config", "config.json", ...)``; relative paths start from `inside`.
            workdir: holds everything the tool reads and writes; a container sees nothing else.
            log: receives all that the tool prints.
            progress: told how many lines the log has.
            timeout: seconds.
            inside: sub-folder of `workdir` to start in, with forward slashes.

        Raises:
            ToolError: it cannot be started, does not finish in time, or fails; with the telling lines of its log.
        """
        if self.kind == "container":
            name = f"workbench-pulsar2-{os.getpid()}-{secrets.token_hex(4)}"
            command = self._container(name, args, workdir, inside)
            code = run_logged(
                command, cwd=workdir, log=log, progress=progress, timeout=timeout, stop=lambda: self._stop(name)
            )
        else:
            env = {**os.environ, "PYTHONUNBUFFERED": "1"}  # so that the log grows while it works
            command = [self.program, *args]
            code = run_logged(command, cwd=workdir / inside, log=log, progress=progress, timeout=timeout, env=env)
        if code != 0:
            raise _failure(args, code, log)

    def _container(self, name: str, args: Sequence[str], workdir: Path, inside: str) -> list[str]:
        folder = workdir.resolve()
        if ":" in str(folder):
            raise ToolError(
                "a container cannot mount a folder with ':' in its path", where=str(folder), fix="work elsewhere"
            )
        volumes = ["--volume", f"{folder}:/data"]
        if LICENCES.is_dir():
            volumes += ["--volume", f"{LICENCES}:{LICENCES}"]
        return [
            *(self.program, "run", "--rm", "--name", name, "--network", "none", *volumes),
            *("--workdir", f"/data/{inside}" if inside != "." else "/data"),
            *("--env", "PYTHONUNBUFFERED=1", "--entrypoint", "/bin/sh", self.image),
            *("-c", CONTAINER_SCRIPT, "sh", "pulsar2", *args),
        ]

    def _stop(self, name: str) -> None:
        """Ask the engine to end the container: killing its client would leave it running."""
        try:
            subprocess.run(
                [self.program, "stop", "-t", "5", name], stdin=subprocess.DEVNULL, capture_output=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return  # the client is killed next; `--rm` removes the container once its tool ends


def find() -> Toolchain | None:
    """The toolchain to use, or None. Takes milliseconds when there is nothing to find."""
    return next((found for _, found in _look() if found is not None), None)


def search_report() -> list[str]:
    """Every place that is looked at and what is there, one line each; ``->`` marks the one that is used."""
    lines, used = [], False
    for line, found in _look():
        lines.append(f"{'->' if found is not None and not used else '  '} {line}")
        used = used or found is not None
    return lines


def _look() -> Iterator[tuple[str, Toolchain | None]]:
    """Places in the order of preference: what is there, in words, and the toolchain if it can be used."""
    if image := os.environ.get("PULSAR2_IMAGE"):
        yield from _named_image(image)
        return
    program = shutil.which("pulsar2")
    yield _probe("path", program) if program else ("pulsar2: not on PATH", None)
    home = os.environ.get("PULSAR2_HOME")
    if not home:
        yield "PULSAR2_HOME: not set", None
    else:
        inside = Path(home) / "bin" / "pulsar2"
        usable = os.access(inside, os.X_OK) and inside.is_file()
        yield _probe("package", str(inside)) if usable else (f"PULSAR2_HOME: no program {inside}", None)
    yield from _images()


def _probe(kind: Literal["path", "package"], program: str) -> tuple[str, Toolchain | None]:
    try:
        seen = Path(program).stat()
    except OSError as error:
        return f"{program}: cannot be used: {error.strerror}", None
    answer = _version(program, seen.st_mtime_ns, seen.st_size)
    version = re.search(r"^\s*version:\s*(\S+)", answer.text, re.MULTILINE | re.IGNORECASE)
    commit = re.search(r"^\s*commit:\s*(\S+)", answer.text, re.MULTILINE | re.IGNORECASE)
    if not answer.ok:
        return f"{program}: cannot be used: {answer.trouble}", None
    if version is None:
        return f"{program}: does not say its version, so it is not Pulsar2", None
    found = Toolchain(kind, version[1], commit[1] if commit else "", program)
    return f"{program}: version {found.version}, commit {found.build or 'unknown'}", found


def _named_image(image: str) -> Iterator[tuple[str, Toolchain | None]]:
    for engine in ENGINES:
        program = shutil.which(engine)
        if program is None:
            yield f"{engine}: not on PATH", None
            continue
        answer = _ask([program, "image", "inspect", "--format", "{{.Id}}", image], _ENGINE_SECONDS)
        if answer.ok:
            yield f"{engine}: PULSAR2_IMAGE {image}", Toolchain("container", _tag(image), _id(answer), program, image)
        else:
            yield f"{engine}: PULSAR2_IMAGE {image} cannot be used: {answer.trouble}", None


def _images() -> Iterator[tuple[str, Toolchain | None]]:
    """Both engines are asked before the newest image is offered."""
    found: list[Toolchain] = []
    for engine in ENGINES:
        program = shutil.which(engine)
        if program is None:
            yield f"{engine}: not on PATH", None
            continue
        answer = _ask([program, "images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"], _ENGINE_SECONDS)
        if not answer.ok:
            yield f"{engine}: {answer.trouble}", None
            continue
        here = []
        for line in answer.text.splitlines():
            image, _, number = line.strip().partition(" ")
            repository, _, tag = image.rpartition(":")
            if repository.rpartition("/")[2] == "pulsar2" and tag != "<none>":
                here.append(Toolchain("container", tag, number, program, image))
        found += here
        yield f"{engine}: {', '.join(sorted(one.image for one in here)) or 'no pulsar2:* image'}", None
    if found:
        newest = max(found, key=lambda one: (_age(one.version), one.program.endswith("docker"), one.image))
        yield f"newest image: {newest.image}", newest


@cache
def _version(program: str, mtime: int, size: int) -> _Answer:  # noqa: ARG001 -- a changed program is asked again
    return _ask([program, "version"], _PROBE_SECONDS)


@dataclass(frozen=True)
class _Answer:
    ok: bool
    text: str
    trouble: str


def _ask(command: Sequence[str], seconds: float) -> _Answer:
    """Run a short question; a program that hangs, fails or cannot start is an answer, too."""
    try:
        done = subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return _Answer(False, "", f"no answer within {seconds:g} s")
    except OSError as error:
        return _Answer(False, "", f"{error.strerror}")
    text = done.stdout.decode("utf-8", "replace")
    said = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return _Answer(done.returncode == 0, text, (said[-1] if said else f"exit code {done.returncode}")[:200])


def _id(answer: _Answer) -> str:
    return answer.text.strip().removeprefix("sha256:")[:12]


def _tag(image: str) -> str:
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    return tag or "latest"


def _age(tag: str) -> tuple[tuple[int, ...], bool, tuple[int, ...]]:
    """Orders tags: 6.0 < 7.0-rc1 < 7.0 < 7.0-patch1 < 7.1; one that is no version is older than all."""
    match = re.match(r"[vV]?(\d+(?:\.\d+)*)(.*)", tag)
    if match is None:
        return (), False, ()
    early = re.search(r"rc|alpha|beta|temp|dirty|dev", match[2], re.IGNORECASE) is not None
    return tuple(map(int, match[1].split("."))), not early, tuple(map(int, re.findall(r"\d+", match[2])))


def _failure(args: Sequence[str], code: int, log: Path) -> ToolError:
    """What the log says about a failed run."""
    lines = tail(log)
    ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
    telling = [line for line in lines if _TELLING.search(line)][-_SHOWN:] or lines[-_SHOWN:]
    shown = "".join(f"\n    {line.strip()[:300]}" for line in telling)
    text = "\n".join(lines)
    cure = next((cure for sign, cure in _CURES if sign.search(text)), "")
    if not cure and code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        cure = "was memory short? give the machine or the container more"
    return ToolError(
        f"pulsar2 {args[0]} {ended}{':' + shown if shown else ' and printed nothing'}",
        where=str(log),
        fix=cure or "read the whole log",
    )
