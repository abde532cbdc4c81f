"""The tool in a container: what is started in it, what it may touch, how it is ended, and whose its results are.

A container sees a copy of the files of its job and nothing else: no network, no pull, no new privileges. Its root is
the engine's root, so results are handed to the owner of the mounted folder: by the script at its end, and once more
from outside when the container died before that.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from workbench.errors import ToolError
from workbench.runtimes.pulsar2_tool.choice import Choice

LICENCES = Path("/var/hasplm")  # some 7.0 set-ups keep licence state here; handed to the container when it exists
LICENCE_INSIDE = "/licence"
PATHS = "PATH=/usr/local/bin/.venv/bin:/opt/pulsar2:$PATH; export PATH"

# What the container runs, with the tool's arguments as "$@". The image's own programs first; licence files in place, or
# assembly ends with H0007; TERM goes on to the tool, as a shell that is process 1 would swallow it; at last everything
# gets the owner of the mounted folder (as seen inside, so it is right in rootless engines, too).
CONTAINER_SCRIPT = f"""\
{PATHS}
mkdir -p /root/.hasplm/installed/32434
for file in /root/*.v2c; do [ ! -e "$file" ] || cp "$file" /root/.hasplm/installed/32434/; done
pass_on() {{ kill -TERM "$tool" 2>/dev/null; }}
trap pass_on TERM INT
"$@" & tool=$!
wait "$tool"; status=$?
while kill -0 "$tool" 2>/dev/null; do wait "$tool"; status=$?; done
chown -hR --reference=/data /data || :
exit "$status"
"""

_NETWORK = ("--net", "--network")
_CHOWN = "chown -hR --reference=/data /data"
_STOP_SECONDS = 5
_ENGINE_SECONDS = 20.0


def run_command(
    program: str, image: str, name: str, args: Sequence[str], folder: Path, choice: Choice, inside: str = "."
) -> list[str]:
    """The engine's command line that runs ``pulsar2 ARGS`` in `image`.

    Args:
        program: docker or podman.
        image: its name; it must be here, nothing is pulled.
        name: of the container.
        args: of pulsar2.
        folder: becomes /data.
        choice: limits, and the user's own options.
        inside: sub-folder of /data to start in.

    Raises:
        ToolError: the folder cannot be mounted.
    """
    extra = ["--volume", f"{LICENCES}:{LICENCES}"] if LICENCES.is_dir() else []
    script = CONTAINER_SCRIPT
    if choice.licence:
        extra += ["--volume", f"{_licence(choice.licence)}:{LICENCE_INSIDE}:ro"]
        script = f"mkdir -p /root/.hasplm\ncp -R {LICENCE_INSIDE}/. /root/.hasplm/\n{script}"
    workdir = f"/data/{inside}" if inside != "." else "/data"
    return [
        *_started(program, name, folder, choice),
        *extra,
        *("--workdir", workdir, "--env", "PYTHONUNBUFFERED=1", *choice.run_options),
        *("--entrypoint", "/bin/sh", image, "-c", script, "sh", "pulsar2", *args),
    ]


def ask_command(program: str, image: str, name: str, script: str, choice: Choice) -> list[str]:
    """The command line that runs a short `script` in `image` with nothing mounted."""
    return [
        *_started(program, name, None, choice),
        *(*choice.run_options, "--entrypoint", "/bin/sh", image, "-c", script),
    ]


def _started(program: str, name: str, folder: Path | None, choice: Choice) -> list[str]:
    command = [program, *choice.engine_options, "run", "--rm", "--name", name, "--pull", "never"]
    if not any(option.startswith(("--net=", "--network=")) or option in _NETWORK for option in choice.run_options):
        command += ["--network", "none"]
    command += ["--security-opt", "no-new-privileges"]
    if choice.memory is not None:
        command += ["--memory", f"{choice.memory}b", "--memory-swap", f"{choice.memory}b"]
    if choice.cpus is not None:
        command += ["--cpus", f"{choice.cpus:g}"]
    return command if folder is None else [*command, "--volume", f"{_mountable(folder)}:/data"]


def stop(program: str, name: str, choice: Choice) -> None:
    """Ask the engine to end the container: killing its client would leave it running."""
    _quietly([program, *choice.engine_options, "stop", "-t", str(_STOP_SECONDS), name])


def remove(program: str, name: str, choice: Choice) -> None:
    """See to it that nothing is left of a container that may have been between its making and its start."""
    _quietly(removal(program, name, choice))


def removal(program: str, name: str, choice: Choice) -> list[str]:
    """The command that ends and removes a container."""
    return [program, *choice.engine_options, "rm", "-f", name]


def hand_back(program: str, image: str, name: str, folder: Path, choice: Choice) -> None:
    """Give what is in `folder` to its owner, where a container that was killed could not."""
    owner = folder.stat().st_uid
    if all(path.lstat().st_uid == owner for path in folder.rglob("*")):
        return
    command = [*_started(program, name, folder, choice), "--workdir", "/data", *choice.run_options]
    _quietly([*command, "--entrypoint", "/bin/sh", image, "-c", _CHOWN])


def _licence(folder: str) -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ToolError("PULSAR2_LICENCE is not a folder", where=folder, fix="name the folder of the licence files")
    return _mountable(path)


def _mountable(folder: Path) -> Path:
    path = folder.resolve()
    if ":" in str(path):
        raise ToolError("a container cannot mount a folder with ':' in its path", where=str(path), fix="work elsewhere")
    return path


def _quietly(command: Sequence[str]) -> None:
    """Run an engine's command whose failure changes nothing: what it should end or remove may be gone already."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(list(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=_ENGINE_SECONDS)
