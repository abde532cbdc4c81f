"""Finding and running Pulsar2, against stand-ins for the tool and for the container engine."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from pathlib import Path

import pytest

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.runtimes import pulsar2_tool
from workbench.runtimes.pulsar2_tool import Toolchain, find, search_report


@pytest.fixture
def engine(programs, tmp_path, monkeypatch):
    """A stand-in docker with one old and one new image, and pulsar2 inside its containers only."""
    state = tmp_path / "engine"
    (state / "root").mkdir(parents=True)
    (state / "images").write_text("pulsar2:6.0 aaaa\nlocalhost/pulsar2:7.0 bbbb\nother:9 cccc\npulsar2:latest dddd\n")
    monkeypatch.setenv("STANDIN_DOCKER", str(state))
    programs("docker")
    return state


def calls(state: Path) -> list[list[str]]:
    """The arguments of every call of the stand-in engine."""
    return [json.loads(line) for line in (state / "calls.jsonl").read_text().splitlines()]


def test_nothing_is_found_quickly_and_the_report_says_where_it_looked(programs):
    """Without any toolchain `find` is None, and the report has a line for every place."""
    assert find() is None
    assert [line.strip() for line in search_report()] == [
        "pulsar2: not on PATH",
        "PULSAR2_HOME: not set",
        "docker: not on PATH",
        "podman: not on PATH",
    ]


def test_on_path(programs):
    """A pulsar2 on PATH is asked for its version and commit."""
    program = programs("pulsar2")
    assert find() == Toolchain("path", "7.0-standin", "0000standin", str(program))
    assert search_report()[0] == f"-> {program}: version 7.0-standin, commit 0000standin"


def test_in_a_package(programs, tmp_path, monkeypatch):
    """PULSAR2_HOME/bin/pulsar2 is found; a folder without it is reported."""
    monkeypatch.setenv("PULSAR2_HOME", str(tmp_path / "package"))
    assert find() is None
    assert f"PULSAR2_HOME: no program {tmp_path}/package/bin/pulsar2" in search_report()[1]
    program = programs("pulsar2", tmp_path / "package" / "bin")
    assert find() == Toolchain("package", "7.0-standin", "0000standin", str(program))


def test_path_comes_before_the_package(programs, tmp_path, monkeypatch):
    """With both, the program on PATH is used."""
    programs("pulsar2", tmp_path / "package" / "bin")
    monkeypatch.setenv("PULSAR2_HOME", str(tmp_path / "package"))
    programs("pulsar2")
    found = find()
    assert found is not None
    assert found.kind == "path"


def test_another_program_of_that_name_is_not_taken(programs, tmp_path):
    """A pulsar2 that does not say its version is passed over, and the report says why."""
    program = programs("pulsar2")
    program.write_text("#!/bin/sh\necho hello\n")
    assert find() is None
    assert "does not say its version, so it is not Pulsar2" in search_report()[0]


def test_a_program_that_cannot_start_is_reported(programs):
    """A pulsar2 for another machine is passed over, and the report says why."""
    programs("pulsar2").write_bytes(b"\x7fELF nonsense")
    assert find() is None
    assert "cannot be used: Exec format error" in search_report()[0]


def test_a_hanging_engine_is_passed_over(programs, monkeypatch):
    """An engine that does not answer costs its time limit, no more."""
    monkeypatch.setattr(pulsar2_tool, "_ENGINE_SECONDS", 0.3)
    program = programs("docker")
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    assert find() is None
    assert "docker: no answer within 0.3 s" in search_report()[2]


def test_the_newest_image_is_chosen(engine):
    """Of the engine's pulsar2 images the highest version is used; other images and `latest` are not."""
    found = find()
    assert found is not None
    assert (found.kind, found.version, found.build, found.image) == (
        "container",
        "7.0",
        "bbbb",
        "localhost/pulsar2:7.0",
    )
    assert found.identity == "7.0 bbbb"
    assert any("docker: localhost/pulsar2:7.0, pulsar2:6.0, pulsar2:latest" in line for line in search_report())


def test_a_named_image_beats_everything(engine, programs, monkeypatch):
    """PULSAR2_IMAGE is the only place looked at, even with pulsar2 on PATH."""
    programs("pulsar2")
    monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:6.0")
    found = find()
    assert found is not None
    assert (found.version, found.build) == ("6.0", "aaaa")
    monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:8.0")
    assert find() is None
    assert "PULSAR2_IMAGE pulsar2:8.0 cannot be used: Error: no such thing" in search_report()[0]


@pytest.mark.parametrize(
    ("older", "newer"),
    [("6.0", "7.0"), ("9.0", "10.0"), ("7.0-rc1", "7.0"), ("7.0", "7.0-patch1"), ("latest", "3.0"), ("7.0", "7.0.1")],
)
def test_versions_are_numbers(older, newer):
    """Tags are ordered by their numbers, with early versions before and patches after."""
    assert pulsar2_tool._age(older) < pulsar2_tool._age(newer)


def test_a_failure_shows_the_telling_lines(programs, tmp_path):
    """A failed run is a ToolError with the log's last telling lines and its path."""
    programs("pulsar2").write_text(
        "#!/bin/sh\ncase $1 in version) echo version: 7.0;; *) echo loading; echo; "
        "echo \"KeyError('dont support LRN opr in AXOPS/ONNXOPS/CUSTOM_OPS')\"; exit 5;; esac\n"
    )
    found = find()
    assert found is not None
    with pytest.raises(ToolError, match="pulsar2 build failed with exit code 5") as caught:
        found.run(["build"], tmp_path, tmp_path / "log", Silent())
    assert "dont support LRN" in caught.value.what
    assert "loading" not in caught.value.what
    assert "the chip lacks this operator" in caught.value.fix
    assert caught.value.where == str(tmp_path / "log")


def test_a_silent_failure_and_a_killed_tool(programs, tmp_path):
    """A tool that says nothing, or is killed, still ends in a sentence."""
    program = programs("pulsar2")
    tool = Toolchain("path", "7.0", "", str(program))
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(ToolError, match="exit code 1 and printed nothing"):
        tool.run(["build"], tmp_path, tmp_path / "log", Silent())
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(ToolError, match="was killed by SIGKILL") as caught:
        tool.run(["build"], tmp_path, tmp_path / "log", Silent())
    assert "memory" in caught.value.fix


def test_container_runs_isolated_with_its_licence(engine, programs, tmp_path):
    """The container has no network, sees only the work folder, starts in it, and gets its licence files first."""
    programs("pulsar2")
    (engine / "root" / "key.v2c").write_text("licence")
    work = tmp_path / "work"
    (work / "a").mkdir(parents=True)
    Toolchain("container", "7.0", "bbbb", str(tmp_path / "programs" / "docker"), "localhost/pulsar2:7.0").run(
        ["version"], work, tmp_path / "log", Silent(), inside="a"
    )
    (call,) = calls(engine)
    assert call[:3] == ["run", "--rm", "--name"]
    pairs = list(itertools.pairwise(call))
    assert ("--network", "none") in pairs
    assert ("--volume", f"{work}:/data") in pairs
    assert ("--workdir", "/data/a") in pairs
    assert ("--entrypoint", "/bin/sh") in pairs
    assert call[-3:] == ["sh", "pulsar2", "version"]
    assert (engine / "root/.hasplm/installed/32434/key.v2c").read_text() == "licence"
    assert "version: 7.0-standin" in (tmp_path / "log").read_text()


def test_a_container_passes_the_exit_code_on(engine, programs, tmp_path):
    """What fails inside the container fails outside."""
    programs("pulsar2").write_text("#!/bin/sh\necho 'Error: Sentinel key not found (H0007)'; exit 8\n")
    tool = Toolchain("container", "7.0", "bbbb", str(tmp_path / "programs" / "docker"), "localhost/pulsar2:7.0")
    with pytest.raises(ToolError, match="exit code 8") as caught:
        tool.run(["build"], tmp_path, tmp_path / "log", Silent())
    assert "licence" in caught.value.fix


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_a_container_writes_belongs_to_the_caller(engine, programs, tmp_path):
    """After the run every file has the owner of the work folder."""
    programs("pulsar2").write_text("#!/bin/sh\nmkdir out; echo made > out/file\n")
    work = tmp_path / "work"
    work.mkdir()
    os.chown(work, 1234, 4321)
    tool = Toolchain("container", "7.0", "bbbb", str(tmp_path / "programs" / "docker"), "localhost/pulsar2:7.0")
    tool.run(["build"], work, tmp_path / "log", Silent())
    made = (work / "out" / "file").stat()
    assert (made.st_uid, made.st_gid) == (1234, 4321)


def test_a_hanging_container_is_stopped_through_the_engine(engine, programs, tmp_path):
    """At the time limit the engine is told to stop the container, and its tool gets the signal."""
    programs("pulsar2").write_text("#!/bin/sh\ntrap 'echo ended > ended; exit 9' TERM\nwhile :; do sleep 0.1; done\n")
    tool = Toolchain("container", "7.0", "bbbb", str(tmp_path / "programs" / "docker"), "localhost/pulsar2:7.0")
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(ToolError, match="did not finish within 2 s"):
        tool.run(["build"], work, tmp_path / "log", Silent(), timeout=2.0)
    run, stop = calls(engine)
    assert stop == ["stop", "-t", "5", run[run.index("--name") + 1]]
    end = time.monotonic() + 10
    while not (work / "ended").exists() and time.monotonic() < end:
        threading.Event().wait(0.05)
    assert (work / "ended").exists()


def test_a_folder_that_cannot_be_mounted(tmp_path):
    """A colon in the path would be read as a mount option, so it is refused."""
    folder = tmp_path / "a:b"
    folder.mkdir()
    with pytest.raises(ToolError, match="cannot mount a folder with ':'"):
        Toolchain("container", "7.0", "", "docker", "pulsar2:7.0").run(["build"], folder, tmp_path / "log", Silent())


def test_the_wrapped_image_starts_as_workbench_does():
    """The entry point in toolchain/ holds exactly the lines that are given to plain vendor images."""
    text = (Path(__file__).resolve().parents[2] / "toolchain" / "entrypoint.sh").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert "\n".join(lines) + "\n" == pulsar2_tool.CONTAINER_SCRIPT
