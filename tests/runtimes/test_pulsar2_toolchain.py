"""Running Pulsar2: as a program and in a container, against stand-ins for both."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from _pulsar2 import calls, engine, fake  # noqa: F401 -- engine is a fixture

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.runtimes.pulsar2_tool import Choice, Toolchain, container


class Telling(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int | None, str]] = []
        self.notes: list[str] = []

    def step(self, done: int, total: int | None, what: str) -> None:
        self.steps.append((done, total, what))

    def note(self, text: str) -> None:
        self.notes.append(text)


def in_container(tmp_path: Path, **choice: object) -> Toolchain:
    """A toolchain in the stand-in engine."""
    docker = str(tmp_path / "programs" / "docker")
    return Toolchain("container", "7.0", "bbbb", docker, "localhost/pulsar2:7.0", Choice(**choice))


def gone(pid_file: Path) -> bool:
    """Whether the process that wrote its id there has ended (a zombie counts)."""
    stat = Path("/proc") / pid_file.read_text().strip() / "stat"
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_phases_are_told_while_it_runs(tmp_path):
    """What the log shows arrives as progress: the phase, and the counts of a progress bar."""
    tool = fake(
        tmp_path / "pulsar2",
        "echo 'Building onnx ━━━━ 100% 0:00:00'\n"
        "printf 'Calibration Progress(Phase 1):  38%%|███▊      | 12/32 [00:00<00:01, 14.20it/s]\\r'\nsleep 0.3\n"
        "echo 'tiling op...   ━━━━━━━━━━━━━━━━ 68/68 0:00:00'\nsleep 0.3\n",
    )
    told = Telling()
    Toolchain("path", "7.0", "", str(tool)).run(["build"], tmp_path, tmp_path / "log", told)
    assert (12, 32, "quant: Calibration Progress(Phase 1)") in told.steps
    assert (68, 68, "compile: tiling op") in told.steps


def test_what_runs_where_a_limit_was_asked_for(tmp_path):
    """Without a container --memory limits the address space, --cpus the processors."""
    tool, mine = fake(tmp_path / "pulsar2", "ulimit -v; nproc"), os.sched_getaffinity(0)
    toolchain = Toolchain("path", "7.0", "", str(tool), choice=Choice(memory=2**30, cpus=0.5))
    toolchain.run(["build"], tmp_path, tmp_path / "log", Silent())
    assert (tmp_path / "log").read_text().split() == [str(2**20), "1"]
    assert os.sched_getaffinity(0) == mine, "this process keeps its own"


def test_more_memory_than_allowed(tmp_path):
    """A tool that runs into its limit is an error that names memory and the option."""
    tool = fake(tmp_path / "pulsar2", f"exec {sys.executable} -c 'x = bytearray(2 ** 31)'")
    with pytest.raises(ToolError, match="failed with exit code 1: memory was short") as caught:
        Toolchain("path", "7.0", "", str(tool), choice=Choice(memory=2**29)).run(
            ["build"], tmp_path, tmp_path / "log", Silent()
        )
    assert "--memory" in caught.value.fix


def test_limits_change_neither_equality_nor_key():
    """Two toolchains that differ in limits only are the same toolchain."""
    one, other = Toolchain("path", "7.0", "c", "p"), Toolchain("path", "7.0", "c", "p", choice=Choice(memory=2**30))
    assert one == other
    assert one.identity == other.identity


def test_container_runs_isolated_with_its_licence(engine, programs, tmp_path):  # noqa: F811
    """The container has no network, pulls nothing, sees only the work folder, and gets its licence files first."""
    programs("pulsar2")
    (engine / "root" / "key.v2c").write_text("licence")
    work = tmp_path / "work"
    (work / "a").mkdir(parents=True)
    in_container(tmp_path).run(["version"], work, tmp_path / "log", Silent(), inside="a")
    (call,) = calls(engine)
    assert call[:3] == ["run", "--rm", "--name"]
    pairs = list(itertools.pairwise(call))
    for pair in (
        ("--network", "none"),
        ("--pull", "never"),
        ("--security-opt", "no-new-privileges"),
        ("--volume", f"{work}:/data"),
        ("--workdir", "/data/a"),
        ("--entrypoint", "/bin/sh"),
    ):
        assert pair in pairs
    assert call.count("--volume") == 1 or container.LICENCES.is_dir()
    assert call[-3:] == ["sh", "pulsar2", "version"]
    assert (engine / "root/.hasplm/installed/32434/key.v2c").read_text() == "licence"
    assert "version: 7.0-standin" in (tmp_path / "log").read_text()


def test_limits_and_options_of_a_container(tmp_path):
    """Limits are the engine's; the user's own options come after ours, and a network of theirs replaces none."""
    choice = Choice(
        engine_options=("--runtime", "runc"), run_options=("--network", "host", "--gpus", "all"), memory=2**30, cpus=1.5
    )
    command = container.run_command("podman", "pulsar2:7.0", "n", ["build"], tmp_path, choice)
    assert command[:4] == ["podman", "--runtime", "runc", "run"]
    pairs = list(itertools.pairwise(command))
    assert ("--memory", "1073741824b") in pairs
    assert ("--memory-swap", "1073741824b") in pairs
    assert ("--cpus", "1.5") in pairs
    assert ("--network", "none") not in pairs
    assert command.index("--gpus") < command.index("pulsar2:7.0")


def test_licence_files_of_the_users_own(engine, programs, tmp_path):  # noqa: F811
    """PULSAR2_LICENCE is mounted read-only and copied; a folder that is none is an error."""
    programs("pulsar2")
    licence = tmp_path / "licence"
    licence.mkdir()
    command = container.run_command("docker", "i", "n", ["version"], tmp_path, Choice(licence=str(licence)))
    assert f"{licence}:/licence:ro" in command
    assert "cp -R /licence/. /root/.hasplm/" in command[command.index("-c") + 1]
    with pytest.raises(ToolError, match="PULSAR2_LICENCE is not a folder"):
        container.run_command("docker", "i", "n", [], tmp_path, Choice(licence=str(tmp_path / "absent")))


def test_a_container_passes_the_exit_code_on(engine, programs, tmp_path):  # noqa: F811
    """What fails inside the container fails outside, with the phase and the cause."""
    fake(programs("pulsar2"), "echo 'schedule npu subgraph [0]'; echo 'Error: Sentinel key not found (H0007)'; exit 8")
    with pytest.raises(ToolError, match="exit code 8 while compiling for the NPU: the licence is not") as caught:
        in_container(tmp_path).run(["build"], tmp_path, tmp_path / "log", Silent())
    assert "'licence' in toolchain/README.md" in caught.value.fix


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_a_container_writes_belongs_to_the_caller(engine, programs, tmp_path):  # noqa: F811
    """After the run every file has the owner of the work folder."""
    fake(programs("pulsar2"), "mkdir out; echo made > out/file")
    work = tmp_path / "work"
    work.mkdir()
    os.chown(work, 1234, 4321)
    in_container(tmp_path).run(["build"], work, tmp_path / "log", Silent())
    made = (work / "out" / "file").stat()
    assert (made.st_uid, made.st_gid) == (1234, 4321)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_a_killed_container_wrote_is_handed_back(engine, programs, tmp_path):  # noqa: F811
    """A container that died before it could give its files away is followed by one that does."""
    programs("pulsar2")
    docker = tmp_path / "programs" / "docker"
    real = docker.rename(tmp_path / "programs" / "engine")
    fake(docker, f'case "$*" in *pulsar2\\ build*) mkdir out; echo made > out/file; exit 137;; esac\nexec {real} "$@"')
    work = tmp_path / "work"
    work.mkdir()
    os.chown(work, 1234, 4321)
    with pytest.raises(ToolError, match=r"was killed by SIGKILL: was memory short\?"):
        in_container(tmp_path).run(["build"], work, tmp_path / "log", Silent())
    assert (work / "out" / "file").stat().st_uid == 1234
    (owner,) = calls(engine)
    assert owner[owner.index("-c") + 1].startswith("chown -hR --reference=")


def test_a_hanging_container_is_stopped_through_the_engine(engine, programs, tmp_path):  # noqa: F811
    """At the time limit the engine is told to stop the container and to remove it, and its tool gets the signal."""
    fake(programs("pulsar2"), "trap 'echo ended > ended; exit 9' TERM\nwhile :; do sleep 0.1; done")
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(ToolError, match="pulsar2 build did not finish within 2 s and was stopped"):
        in_container(tmp_path).run(["build"], work, tmp_path / "log", Silent(), timeout=2.0)
    run, stop, remove = calls(engine)
    name = run[run.index("--name") + 1]
    assert stop == ["stop", "-t", "5", name]
    assert remove == ["rm", "-f", name]
    end = time.monotonic() + 10
    while not (work / "ended").exists() and time.monotonic() < end:
        threading.Event().wait(0.05)
    assert (work / "ended").exists()


def test_ctrl_c_leaves_no_container(engine, programs, tmp_path):  # noqa: F811
    """KeyboardInterrupt stops and removes the container, and a second Ctrl-C does not disturb that."""
    fake(programs("pulsar2"), "echo $$ > pid; echo ready; while :; do sleep 0.1; done")
    work, log = tmp_path / "work", tmp_path / "log"
    work.mkdir()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        end = time.monotonic() + 10
        while not (log.exists() and b"ready" in log.read_bytes()) and time.monotonic() < end:
            time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGINT)
        while ["stop"] not in [call[:1] for call in calls(engine)] and time.monotonic() < end:
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        in_container(tmp_path).run(["build"], work, log, Silent(), timeout=30.0)
    helper.join()
    assert [call[0] for call in calls(engine)] == ["run", "stop", "rm"]
    assert gone(work / "pid")


def test_a_folder_that_cannot_be_mounted(tmp_path):
    """A colon in the path would be read as a mount option, so it is refused."""
    folder = tmp_path / "a:b"
    folder.mkdir()
    with pytest.raises(ToolError, match="cannot mount a folder with ':'"):
        Toolchain("container", "7.0", "", "docker", "pulsar2:7.0").run(["build"], folder, tmp_path / "log", Silent())


@pytest.mark.parametrize(
    ("said", "told", "fix"),
    [
        ("Unable to find image 'pulsar2:7.0' locally", "the image is not loaded", "docker load"),
        ("Cannot connect to the Docker daemon at unix:///x. Is it?", "engine is not running", "systemctl"),
        ("exec /bin/sh: exec format error", "program for x86-64", "x86-64 machine"),
        ("unknown flag: --pull", "too old for --pull", "20.10"),
        ("write /var/lib/docker/tmp: no space left on device", "could not run it", "whole log"),
        ("Error: runc: runc create failed: operation not permitted", "cannot start a container here", "RUN_OPTIONS"),
    ],
)
def test_an_engine_that_fails_itself(tmp_path, said, told, fix):
    """Exit codes 125 to 127 are the engine's: the error names it, its reason and the log."""
    docker = fake(tmp_path / "docker", f'echo "{said}" >&2; exit 125')
    with pytest.raises(ToolError, match=r"docker could not run it \(exit code 125\)") as caught:
        Toolchain("container", "7.0", "", str(docker), "pulsar2:7.0").run(
            ["build"], tmp_path, tmp_path / "log", Silent()
        )
    assert told in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.where == str(tmp_path / "log")
