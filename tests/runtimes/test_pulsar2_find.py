"""Finding Pulsar2, against stand-ins for the tool and for the container engine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from _pulsar2 import calls, engine, fake  # noqa: F401 -- engine is a fixture

from workbench.engine.progress import Silent
from workbench.errors import RecipeError, ToolError
from workbench.runtimes.pulsar2_tool import Toolchain, asking, find, missing, search_report
from workbench.runtimes.pulsar2_tool.find import age


def test_nothing_is_found_quickly_and_the_report_says_where_it_looked(programs):
    """Without any toolchain `find` is None, and the report has a line for every place."""
    assert find() is None
    assert [line.strip() for line in search_report()] == [
        "pulsar2: not on PATH",
        "PULSAR2_HOME: not set",
        "docker: not on PATH",
        "podman: not on PATH",
    ]


def test_who_needs_one_is_told_every_place(programs):
    """The error of a required toolchain lists what was looked at."""
    error = missing("and --require axmodel was given")
    assert str(error).splitlines()[:2] == [
        "no Pulsar2 toolchain, and --require axmodel was given",
        "    pulsar2: not on PATH",
    ]
    assert "toolchain/README.md" in error.fix


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


def test_a_relative_place_is_found_from_everywhere(programs, tmp_path, monkeypatch):
    """The tool is started in another folder, so its path is made whole; a home folder's sign is understood."""
    program = fake(tmp_path / "package" / "bin" / "pulsar2", "[ $1 != version ] || echo version: 7.1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PULSAR2_HOME", "package")
    found = find()
    assert found is not None
    assert found.program == str(program)
    (tmp_path / "elsewhere").mkdir()
    found.run(["build"], tmp_path / "elsewhere", tmp_path / "build.log", Silent())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PULSAR2_HOME", "~/package")
    assert find() == found
    monkeypatch.delenv("PULSAR2_HOME")
    monkeypatch.setenv("PATH", f"package/bin:{os.environ['PATH']}")
    found = find()
    assert found is not None
    assert found.program == str(program)


def test_a_question_ends_with_all_that_it_started(tmp_path):
    """A program that hangs in a child of its own leaves neither when the time is over."""
    pid = tmp_path / "pid"
    answer = asking.ask(["sh", "-c", 'sleep 60 & echo $! >"$0"; wait', str(pid)], 0.5)
    assert (answer.ok, answer.trouble) == (False, "no answer within 0.5 s")
    status = Path("/proc", pid.read_text().strip(), "status")
    for _ in range(100):  # killed, and gone when its parent or the kernel comes to it
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.1)
    raise AssertionError("the child still runs")


@pytest.mark.parametrize("stream", ["1", "2"])
def test_an_answer_without_an_end_is_none(stream):
    """It is stopped long before the time is over, and long before memory or disk are full."""
    answer = asking.ask(["sh", "-c", f"exec yes >&{stream}"], 60)
    assert (answer.ok, answer.text, answer.trouble) == (False, "", "it prints without an end")


def test_path_comes_before_the_package(programs, tmp_path, monkeypatch):
    """With both, the program on PATH is used."""
    programs("pulsar2", tmp_path / "package" / "bin")
    monkeypatch.setenv("PULSAR2_HOME", str(tmp_path / "package"))
    programs("pulsar2")
    found = find()
    assert found is not None
    assert found.kind == "path"


def test_another_program_of_that_name_is_not_taken(programs):
    """A pulsar2 that does not say its version is passed over, and the report says why."""
    fake(programs("pulsar2"), "echo hello")
    assert find() is None
    assert "does not say its version, so it is not Pulsar2" in search_report()[0]


def test_a_program_that_cannot_start_is_reported(programs):
    """A pulsar2 for another machine is passed over, and the report says why."""
    programs("pulsar2").write_bytes(b"\x7fELF nonsense")
    assert find() is None
    assert "cannot be used: Exec format error" in search_report()[0]


def test_a_hanging_engine_is_passed_over(programs, monkeypatch):
    """An engine that does not answer costs its time limit, no more."""
    monkeypatch.setattr(asking, "ENGINE_SECONDS", 0.3)
    fake(programs("docker"), "exec sleep 60")
    assert find() is None
    assert "docker: no answer within 0.3 s" in search_report()[2]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "you may not use the container engine's socket (join its group",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "the container engine is not running (start it",
        ),
    ],
)
def test_an_engine_that_refuses_is_explained(programs, said, told):
    """Why an engine does not list its images is said with what helps, and in its own words."""
    fake(programs("docker"), f"echo '{said}' >&2; exit 1")
    assert find() is None
    line = search_report()[2]
    assert told in line
    assert said[:60] in line


def test_the_newest_image_is_chosen(engine):  # noqa: F811
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
    assert all("run" not in call for call in calls(engine)), "a tag that is a version is taken at its word"


def test_an_engine_without_the_image(engine):  # noqa: F811
    """An engine that has other images only is no toolchain, and the report says so."""
    (engine / "images").write_text("other:9 cccc\n")
    assert find() is None
    assert "docker: no pulsar2:* image" in search_report()[2]


def test_an_image_of_an_unknown_version_is_asked(engine, programs, tmp_path, monkeypatch):  # noqa: F811
    """A tag that is no version, or an image of another name, is asked for its version, in a container without files."""
    programs("pulsar2")
    (engine / "images").write_text("pulsar2:latest dddd\nmine/wrapped:9.9 eeee\n")
    monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:latest")
    found = find()
    assert found is not None
    assert (found.version, found.build, found.image) == ("7.0-standin", "dddd", "pulsar2:latest")
    assert any("which says version 7.0-standin, commit 0000standin" in line for line in search_report())
    run = next(call for call in calls(engine) if call[0] == "run")
    assert "--volume" not in run
    assert run[run.index("--network") + 1] == "none"
    monkeypatch.setenv("PULSAR2_IMAGE", "mine/wrapped:9.9")
    found = find()
    assert found is not None
    assert found.identity == "7.0-standin eeee"


def test_an_image_that_is_not_pulsar2(engine, programs, monkeypatch):  # noqa: F811
    """An image that does not say a version is refused when it was named, and passed over when it was found."""
    fake(programs("pulsar2"), "echo hello")
    (engine / "images").write_text("pulsar2:custom ffff\n")
    assert find() is None
    assert "pulsar2:custom cannot be used: it does not say its version" in search_report()[-1]
    monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:custom")
    with pytest.raises(ToolError, match="the image pulsar2:custom cannot be used") as caught:
        find()
    assert "so it is not Pulsar2" in caught.value.what


def test_a_named_image_beats_everything(engine, programs, monkeypatch):  # noqa: F811
    """PULSAR2_IMAGE is the only place looked at, even with pulsar2 on PATH; that it is absent is an error."""
    programs("pulsar2")
    monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:6.0")
    found = find()
    assert found is not None
    assert (found.version, found.build) == ("6.0", "aaaa")
    monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:8.0")
    with pytest.raises(ToolError, match=r"the image pulsar2:8\.0 cannot be used") as caught:
        find()
    assert "docker: PULSAR2_IMAGE pulsar2:8.0 cannot be used: Error: no such thing" in caught.value.what
    assert caught.value.exit_code == 3


def test_a_named_image_without_an_engine(programs, monkeypatch):
    """No engine and a named image is an error that says so."""
    monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:7.0")
    with pytest.raises(ToolError, match="docker: not on PATH"):
        find()


def test_only_the_engine_that_was_chosen_is_asked(programs, monkeypatch, tmp_path):
    """PULSAR2_ENGINE names the engine, PULSAR2_ENGINE_OPTIONS go before its command."""
    log = tmp_path / "asked"
    fake(programs("docker"), "exit 9")
    fake(programs("docker", name="podman"), f'echo "$*" >> {log}; echo localhost/pulsar2:7.0 abcd')
    monkeypatch.setenv("PULSAR2_ENGINE", "podman")
    monkeypatch.setenv("PULSAR2_ENGINE_OPTIONS", "--storage-driver 'v fs'")
    found = find()
    assert found is not None
    assert found.program.endswith("/podman")
    assert log.read_text().startswith("--storage-driver v fs images --format")
    assert not any("docker" in line for line in search_report())


def test_options_that_cannot_be_read(programs, monkeypatch):
    """An open quote, and a limit that is none, are errors that name the variable."""
    monkeypatch.setenv("PULSAR2_RUN_OPTIONS", "--label 'a")
    with pytest.raises(RecipeError, match="cannot be split into words") as caught:
        find()
    assert caught.value.where == "PULSAR2_RUN_OPTIONS"


@pytest.mark.parametrize(
    ("older", "newer"),
    [("6.0", "7.0"), ("9.0", "10.0"), ("7.0-rc1", "7.0"), ("7.0", "7.0-patch1"), ("latest", "3.0"), ("7.0", "7.0.1")],
)
def test_versions_are_numbers(older, newer):
    """Tags are ordered by their numbers, with early versions before and patches after."""
    assert age(older) < age(newer)
