"""For a look at a machine: container engines with their versions, whose root they are, and the state of the licence."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from workbench.runtimes.pulsar2_tool import asking, container
from workbench.runtimes.pulsar2_tool.choice import Choice
from workbench.runtimes.pulsar2_tool.find import engines
from workbench.runtimes.pulsar2_tool.toolchain import Toolchain

_FORMATS = {
    "podman": "{{.Version.Version}} {{.Host.Security.Rootless}}",
    "docker": "{{.ServerVersion}} {{.SecurityOptions}}",
}
_COUNT = "n=0; for f in /root/*.v2c; do [ ! -e $f ] || n=$((n+1)); done; echo $n"


@dataclass(frozen=True)
class Engine:
    """A container engine that is installed.

    Attributes:
        name: docker or podman.
        version: empty when it does not answer.
        rootless: whether it runs as the caller, so that its root is nobody on this machine.
        trouble: why it does not answer.
    """

    name: str
    version: str
    rootless: bool
    trouble: str

    def __str__(self) -> str:
        if not self.version:
            return f"{self.name} does not answer: {self.trouble.partition('; it says')[0]}"
        return f"{self.name} {self.version}, {'rootless' if self.rootless else 'as root'}"


def survey(choice: Choice) -> list[Engine]:
    """The engines on this machine."""
    found = []
    for program in engines(choice):
        name = "podman" if "podman" in Path(program).name else "docker"
        command = [program, *choice.engine_options, "info", "--format", _FORMATS[name]]
        answer = asking.ask(command, asking.ENGINE_SECONDS)
        version, _, rest = answer.text.strip().partition(" ")
        ok = answer.ok and version[:1].isdigit()
        rootless = "rootless" in rest or rest == "true"
        found.append(
            Engine(Path(program).name, version if ok else "", ok and rootless, answer.trouble if not ok else "")
        )
    return found


def licence(tool: Toolchain) -> list[str]:
    """What is known about the licence that `tool` will use: files that are there, never what is in them.

    Whether it is accepted is seen only by a build: assembly fails with H0007 without one.
    """
    lines = []
    if tool.kind == "container":
        name = f"workbench-pulsar2-{os.getpid()}-{secrets.token_hex(4)}"
        command = container.ask_command(tool.program, tool.image, name, _COUNT, tool.choice)
        answer = asking.ask(command, asking.PROBE_SECONDS)
        count = answer.text.strip()
        if answer.ok and count.isdigit():
            lines.append(f"{'no' if count == '0' else count} .v2c file{'s' * (count != '1')} in the image")
        else:
            lines.append(f"the image does not say: {answer.trouble}")
            container.remove(tool.program, name, tool.choice)
        if tool.choice.licence:
            lines.append(f"PULSAR2_LICENCE {_files(Path(tool.choice.licence).expanduser())}")
    else:
        lines.append(f"~/.hasplm {_files(Path.home() / '.hasplm')}")
    lines.append(f"{container.LICENCES} {_files(container.LICENCES)}")
    return lines


def _files(folder: Path) -> str:
    if not folder.is_dir():
        return "is not there"
    try:
        count = sum(path.is_file() for path in folder.rglob("*"))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return f"holds {count} file{'s' * (count != 1)}"
