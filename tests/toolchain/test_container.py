"""The wrapped image, and Workbench's own use of a plain one, in a real container engine.

`pytest -m container` runs only these, `-m 'not container'` all others.
"""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.runtimes import pulsar2_tool
from workbench.targets.pulsar2 import render
from workbench.targets.pulsar2.options import Options

TOOLCHAIN = Path(__file__).resolve().parents[2] / "toolchain"
NEW, OLD = "99.0", "98.9"
INPUTS = ("--config", "config.json", "--input", "model.onnx")
BUILD = ("build", *INPUTS, "--output_dir", "out", "--target_hardware", "AX650")
pytestmark = pytest.mark.container
if not any(map(shutil.which, ("podman", "docker"))):
    pytest.skip("no container engine: neither podman nor docker is on PATH", allow_module_level=True)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a model, owned by somebody who is not root where we may arrange that."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.onnx").write_text("good\n")
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, 1234, 4321)
    return folder


def owners(folder: Path) -> set[tuple[int, int]]:
    """Owner and group of everything in `folder`."""
    return {(path.lstat().st_uid, path.lstat().st_gid) for path in folder.rglob("*")}


def owner(folder: Path) -> tuple[int, int]:
    """Owner and group of `folder` itself."""
    return folder.stat().st_uid, folder.stat().st_gid


def wrapped(engine, folder: Path, *args: str, options=(), seconds: float = 120.0):
    """Run the wrapped image on `folder`."""
    mount = ["--volume", f"{folder}:/data"]
    image = engine.image(f"wrapped:{NEW}")
    return engine("run", "--rm", "--network", "none", *mount, *options, image, *args, seconds=seconds)


def wait_for(path: Path) -> None:
    """Until a program has written `path`."""
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.05)


def nothing_is_left(engine) -> None:
    """No container of ours, once the engine has tidied up."""
    end = time.monotonic() + 60
    while (left := engine.containers()) and time.monotonic() < end:
        time.sleep(0.2)
    assert left == []


def test_the_dockerfile_builds_on_a_plain_image(engine):
    """The wrapped image starts the entry point as root in /data, whatever command the vendor's image has."""
    (config,) = json.loads(engine.must("image", "inspect", engine.image(f"wrapped:{NEW}")))
    config = config["Config"]
    assert config["Entrypoint"] == ["/bin/sh", "/usr/local/share/workbench/entrypoint.sh"]
    assert not config.get("Cmd")
    assert config["WorkingDir"] == "/data"
    assert "PATH=/usr/local/bin/.venv/bin:/opt/pulsar2:" in " ".join(config["Env"])


def test_buildah_builds_the_same_dockerfile(engine, work):
    """Where no engine may run the steps of a build, buildah with chroot isolation makes the image that podman runs."""
    if engine.name != "podman" or shutil.which("buildah") is None:
        pytest.skip("buildah: not on PATH, or not podman's storage")
    tag = engine.image("by-buildah:1")
    argument = f"PULSAR2_IMAGE={engine.image(f'pulsar2:{NEW}')}"
    made = subprocess.run(
        ["buildah", "bud", "--isolation", "chroot", "--build-arg", argument, "--tag", tag, str(TOOLCHAIN)],
        env={**os.environ, **engine.env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert made.returncode == 0, made.stderr
    said = engine.must("run", "--rm", "--network", "none", "--volume", f"{work}:/data", tag, "version")
    assert said == "version: 7.0-standin\ncommit: 0000standin\n"


def test_the_commands_of_the_readme_work(engine, work):
    """Building and running as toolchain/README.md shows it: only the engine and the images have other names."""
    chip = work / "dist" / "net" / "pulsar2" / "AX650"
    chip.mkdir(parents=True)
    (chip / "config.json").write_text("{}")
    (chip.parent / "model.onnx").write_text("good\n")
    text = (TOOLCHAIN / "README.md").read_text("utf-8").replace("\\\n", " ")
    commands = [line.strip() for line in text.splitlines() if line.startswith("    docker ") and "compose" not in line]
    assert [command.split()[1] for command in commands] == ["build", "run"]
    for command in commands:
        command = command.replace("PULSAR2_IMAGE=pulsar2:7.0", f"PULSAR2_IMAGE={engine.image(f'pulsar2:{NEW}')}")
        command = command.replace("workbench-pulsar2:7.0", engine.image("readme:7.0"))
        words = [word.replace("$PWD", str(work)) for word in shlex.split(command)[1:]]
        words = [str(TOOLCHAIN) if word == "toolchain" else word for word in words]
        engine.must(*words)
    assert (chip / "build" / "compiled.axmodel").read_text() == "stand-in, no model\n"


def test_without_arguments_it_says_how_to_use_it(engine, work):
    """No command is a mistake, with the usage on stderr; asking for help is none."""
    nothing, help_ = wrapped(engine, work), wrapped(engine, work, "--help")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert (help_.returncode, help_.stderr) == (0, "")
    assert nothing.stderr == help_.stdout
    assert "IMAGE build --config config.json" in help_.stdout


def test_a_build_finds_its_licence_and_belongs_to_the_caller(engine, work):
    """The vendor's image alone ends with H0007 and files of root; wrapped, it succeeds and all is the caller's."""
    plain = engine.image(f"pulsar2:{NEW}")
    mount = ("--volume", f"{work}:/data", "--workdir", "/data")
    alone = engine("run", "--rm", "--network", "none", *mount, plain, "/opt/pulsar2/pulsar2", *BUILD)
    assert alone.returncode == 8
    assert "Sentinel key not found (H0007)" in alone.stderr
    if os.geteuid() == 0:
        assert (0, 0) in owners(work)
    engine.must("run", "--rm", "--network", "none", *mount, plain, "rm", "-rf", "/data/out")

    done = wrapped(engine, work, *BUILD)
    assert (done.returncode, done.stderr) == (0, "")
    assert (work / "out" / "compiled.axmodel").read_text() == "stand-in, no model\n"
    assert owners(work) == {owner(work)}
    assert "[info] user: 0\n" in done.stdout


def test_a_bare_command_and_the_whole_one_are_the_same(engine, work):
    """`version` and `pulsar2 version` both reach the tool, and any other program can be run, too."""
    said = "version: 7.0-standin\ncommit: 0000standin\n"
    assert wrapped(engine, work, "version").stdout == said
    assert wrapped(engine, work, "pulsar2", "version").stdout == said
    assert wrapped(engine, work, "sh", "-c", "pwd; id -u").stdout == "/data\n0\n"


def test_a_simulation_reads_and_writes_the_folder(engine, work):
    """`run` gives its tensors to the caller."""
    (work / "in" / "0").mkdir(parents=True)
    (work / "in" / "0" / "image.bin").write_bytes(b"\1\2\3\4")
    done = wrapped(engine, work, "run", "--model", "model.onnx", "--input_dir", "in", "--output_dir", "result")
    assert done.stdout == "write [output] to [result/0/output.bin] successfully\n"
    assert (work / "result" / "0" / "output.bin").read_bytes() == b"\1\2\3\4"
    assert owners(work / "result") == {owner(work)}


def test_there_is_no_network(engine, work):
    """Inside there is the loopback device and nothing else."""
    assert "[info] network: lo \n" in wrapped(engine, work, *BUILD).stdout


def test_only_what_the_tool_wrote_changes_hands(engine, work):
    """Files of others in the folder stay theirs: of another user, and of root from before; links are not followed."""
    if os.geteuid() != 0:
        pytest.skip("only root can make files of others")
    (work / "theirs").write_text("")
    (work / "roots").write_text("")
    os.chown(work / "theirs", 77, 78)
    while time.time() < (work / "roots").stat().st_ctime + 3:
        time.sleep(0.2)
    script = "ln -s /etc/passwd link; mkdir new; echo >new/file; echo >>theirs; stat -c %u /etc/passwd"
    done = wrapped(engine, work, "sh", "-c", f"trap 'stat -c %u /etc/passwd' EXIT; {script}")
    assert (done.returncode, done.stdout) == (0, "0\n0\n")
    assert owner(work / "theirs") == (77, 78)
    assert owner(work / "roots") == (0, 0)
    assert {path.name for path in work.rglob("*") if path.lstat().st_uid == 1234} >= {"link", "new", "file"}
    assert (work / "link").is_symlink()


def test_exit_codes_pass_through(engine, work):
    """The tool's own code, death by a signal, a missing program, a wrong option."""
    (work / "model.onnx").write_text("exit 7\n")
    assert wrapped(engine, work, *BUILD).returncode == 7
    (work / "model.onnx").write_text("signal\n")
    assert wrapped(engine, work, *BUILD).returncode == 128 + signal.SIGKILL
    assert wrapped(engine, work, "no-such-program").returncode == 127
    wrong = wrapped(engine, work, "build", "--no_such_option", "1")
    assert (wrong.returncode, wrong.stderr.splitlines()[-1]) == (
        2,
        "pulsar2 build: error: unrecognized arguments: --no_such_option",
    )
    assert owners(work) == {owner(work)}
    assert engine.containers() == []


def test_another_user_inside_is_refused(engine, work):
    """--user would start the tool without its licence, so it is not started."""
    done = wrapped(engine, work, *BUILD, options=("--user", "1234"))
    assert (done.returncode, done.stderr) == (
        2,
        "workbench: start it without --user and --userns: it is root inside, and you get what it writes\n",
    )


def test_a_missing_licence_is_announced_and_can_be_brought(engine, work, tmp_path):
    """An image without licence files says so before the build, and takes them from /licence."""
    tag = engine.image("unlicensed:1")
    argument = f"PULSAR2_IMAGE={engine.image(f'pulsar2:{OLD}')}"
    engine.must("build", "--build-arg", argument, "--tag", tag, str(TOOLCHAIN))
    mounts = ["--volume", f"{work}:/data"]
    without = engine("run", "--rm", "--network", "none", *mounts, tag, *BUILD)
    assert without.returncode == 8
    assert without.stderr.startswith("workbench: no licence: no /root/*.v2c in the image")
    assert "H0007" in without.stderr.splitlines()[-1]
    key = tmp_path / "licence" / "installed" / "32434" / "mine.v2c"
    key.parent.mkdir(parents=True)
    key.write_text("stand-in for a licence\n")
    mounts += ["--volume", f"{tmp_path}/licence:/licence:ro"]
    brought = engine("run", "--rm", "--network", "none", *mounts, tag, *BUILD)
    assert (brought.returncode, brought.stderr) == (0, "")


@pytest.mark.parametrize(("model", "code"), [("hang", 128 + signal.SIGTERM), ("deaf", 128 + signal.SIGKILL)])
def test_a_stopped_container_ends_by_itself_and_hands_over(engine, work, model, code):
    """TERM reaches the tool and its children; one that ignores it is killed before the engine would kill everything."""
    (work / "model.onnx").write_text(f"{model}\n")
    name = f"{engine.prefix}-{model}"
    mount = ("--network", "none", "--volume", f"{work}:/data")
    engine.must("run", "--detach", "--name", name, *mount, engine.image(f"wrapped:{NEW}"), *BUILD)
    wait_for(work / "out" / "started")
    engine.must("stop", "--time", "60", name, seconds=90)
    state = json.loads(engine.must("inspect", name))[0]["State"]
    engine.must("rm", name)
    assert state["ExitCode"] == code
    assert owners(work) == {owner(work)}  # the engine's own KILL would have left them root's
    assert engine.containers() == []


def test_ctrl_c_ends_it(engine, work):
    """The engine's client passes INT on, and nothing is left."""
    (work / "model.onnx").write_text("hang\n")
    mount = ["--network", "none", "--volume", f"{work}:/data"]
    name = f"{engine.prefix}-interrupted"
    command = [engine.name, "run", "--rm", "--name", name, *mount, engine.image(f"wrapped:{NEW}"), *BUILD]
    quiet = subprocess.DEVNULL
    client = subprocess.Popen(
        command, env={**os.environ, **engine.env}, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        wait_for(work / "out" / "started")
        os.killpg(client.pid, signal.SIGINT)
        # 143 is the tool's, 130 docker's client's, 1 rootless podman's, whose two processes pass the signal on twice
        assert client.wait(60) in (128 + signal.SIGTERM, 128 + signal.SIGINT, 1)
        nothing_is_left(engine)
    finally:
        client.kill()
    assert owners(work) == {owner(work)}


def test_a_shell_can_be_typed_into(engine, work):
    """With a terminal, a shell reads what is typed, and what it leaves is handed over as well."""
    ours, theirs = pty.openpty()
    mount = ["--network", "none", "--volume", f"{work}:/data"]
    command = [engine.name, "run", "--rm", "-it", *mount, engine.image(f"wrapped:{NEW}"), "bash"]
    try:
        os.write(ours, b"test -t 0 && echo made >typed; exit 3\n")
        done = subprocess.run(
            command, env={**os.environ, **engine.env}, stdin=theirs, stdout=theirs, stderr=theirs, timeout=60
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 3
    assert (work / "typed").read_text() == "made\n"
    assert owners(work) == {owner(work)}


def test_a_full_disk_fails_and_is_named(engine, work):
    """On a volume of half a megabyte the build fails, and says why."""
    (work / "model.onnx").write_text("disk\n")
    volume = ("--tmpfs", "/data/out:size=512k")
    done = wrapped(engine, work, *BUILD, options=volume)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_workbench_finds_the_newest_image(workbench_engine, monkeypatch, tmp_path):
    """Of all images called pulsar2 the newest is taken; its id tells two builds of one version apart."""
    engine = workbench_engine
    monkeypatch.delenv("PULSAR2_IMAGE")
    program = shutil.which(engine.name)
    assert program is not None
    (tmp_path / engine.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = pulsar2_tool.find()
    assert found is not None
    assert (found.kind, found.version, found.image) == ("container", NEW, engine.image(f"pulsar2:{NEW}"))
    identity = json.loads(engine.must("image", "inspect", found.image))[0]["Id"].removeprefix("sha256:")
    assert found.build
    assert identity.startswith(found.build)
    report = "\n".join(pulsar2_tool.search_report())
    assert engine.image(f"pulsar2:{OLD}") in report
    assert "wrapped" not in report


def test_workbench_builds_in_a_plain_image(workbench_engine, work, tmp_path):
    """Workbench's own start-up lines: licence, no network, outputs of the caller, the whole log; nothing is left."""
    found = pulsar2_tool.find()
    assert found is not None
    assert found.image == workbench_engine.image(f"pulsar2:{NEW}")
    log = tmp_path / "build.log"
    found.run(BUILD, work, log, Silent(), timeout=120)
    assert (work / "out" / "compiled.axmodel").read_text() == "stand-in, no model\n"
    assert owners(work) == {owner(work)}
    assert "[info] network: lo \n" in log.read_text()
    assert "[info] max_cycle = 123456" in log.read_text()
    assert workbench_engine.containers() == []


def test_workbench_runs_the_wrapped_image_too(workbench_engine, work, tmp_path, monkeypatch):
    """The wrapped image can be named in PULSAR2_IMAGE; as its name does not say the version, the tool inside does."""
    monkeypatch.setenv("PULSAR2_IMAGE", workbench_engine.image(f"wrapped:{NEW}"))
    found = pulsar2_tool.find()
    assert found is not None
    assert found.version == "7.0-standin"
    found.run(BUILD, work, tmp_path / "build.log", Silent(), timeout=120)
    assert owners(work) == {owner(work)}


def test_workbench_names_a_missing_licence(workbench_engine, work, tmp_path, monkeypatch):
    """An image without licence files: exit code, telling line, and where to read on."""
    monkeypatch.setenv("PULSAR2_IMAGE", workbench_engine.image(f"pulsar2:{OLD}"))
    found = pulsar2_tool.find()
    assert found is not None
    with pytest.raises(ToolError, match="failed with exit code 8") as caught:
        found.run(BUILD, work, tmp_path / "build.log", Silent(), timeout=120)
    assert "H0007" in caught.value.what
    assert "licence" in caught.value.fix
    assert caught.value.where == str(tmp_path / "build.log")
    assert owners(work) == {owner(work)}

    key = tmp_path / "licence" / "installed" / "32434" / "mine.v2c"
    key.parent.mkdir(parents=True)
    key.write_text("stand-in for a licence\n")
    monkeypatch.setenv("PULSAR2_LICENCE", str(tmp_path / "licence"))
    brought = pulsar2_tool.find()
    assert brought is not None
    brought.run(BUILD, work, tmp_path / "build.log", Silent(), timeout=120)
    assert (work / "out" / "compiled.axmodel").exists()


def test_workbench_refuses_an_image_without_the_tool(workbench_engine, monkeypatch):
    """An image that holds no pulsar2, or is not here, is an error that names it."""
    for name in ("base:1", "pulsar2:1.0"):
        image = workbench_engine.image(name)
        monkeypatch.setenv("PULSAR2_IMAGE", image)
        with pytest.raises(ToolError, match=f"the image {image} cannot be used"):
            pulsar2_tool.find()
    assert workbench_engine.containers() == []


def test_workbench_limits_the_memory(workbench_engine, work, tmp_path, monkeypatch):
    """What PULSAR2_MEMORY says is the limit of the container's control group."""
    limited = wrapped(workbench_engine, work, *BUILD, options=("--memory", "256m", "--memory-swap", "256m"))
    if "[info] memory: 268435456\n" not in limited.stdout:
        pytest.skip(f"this engine limits no memory: {limited.stderr.strip() or limited.stdout.strip()}")
    monkeypatch.setenv("PULSAR2_MEMORY", "128m")
    found = pulsar2_tool.find()
    assert found is not None
    found.run(BUILD, work, tmp_path / "build.log", Silent(), timeout=120)
    assert "[info] memory: 134217728\n" in (tmp_path / "build.log").read_text()


@pytest.mark.parametrize("model", ["hang", "deaf"])
def test_workbench_stops_a_hanging_container(workbench_engine, work, tmp_path, model):
    """When the time is over the container is gone, though its tool ignores TERM, and what it wrote is the caller's."""
    (work / "model.onnx").write_text(f"{model}\n")
    found = pulsar2_tool.find()
    assert found is not None
    begin = time.monotonic()
    wrapped(workbench_engine, work, "version")
    seconds = 4.0 + round(4 * (time.monotonic() - begin))  # enough for this engine to have started the tool
    with pytest.raises(ToolError, match=f"did not finish within {seconds:g} s") as caught:
        found.run(BUILD, work, tmp_path / "build.log", Silent(), timeout=seconds)
    assert caught.value.where == str(tmp_path / "build.log")
    nothing_is_left(workbench_engine)
    assert (work / "out" / "started").exists()
    assert owners(work) == {owner(work)}


def test_the_build_script_runs_in_the_engine(workbench_engine, tmp_path):
    """build.sh, the way without Workbench, gives the same folder to the same image."""
    chip = tmp_path / "dist" / render.folder("AX650")
    chip.mkdir(parents=True)
    (chip / render.SCRIPT).write_text(render.script("net", "AX650", Options(chips=("AX650",))))
    (chip / render.CONFIG).write_text("{}")
    (chip.parent / "model.onnx").write_text("good\n")
    env = {**os.environ, "PULSAR2_ENGINE": workbench_engine.name}
    done = subprocess.run(["sh", chip / render.SCRIPT], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "[info] network: lo \n" in done.stdout
    assert (chip / render.OUTPUT_DIR / render.OUTPUT_NAME).read_text() == "stand-in, no model\n"
    assert owners(tmp_path / "dist") == {owner(tmp_path)}


def test_workbench_names_a_full_disk(workbench_engine, work, tmp_path):
    """The disk of the working folder is full: the error says so, and the fix is to make room."""
    full = work / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(full)]
    made = subprocess.run(mount, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no small disk can be made here: {made.stderr.strip()}")
    try:
        (full / "config.json").write_text("{}")
        (full / "model.onnx").write_text("disk\n")
        found = pulsar2_tool.find()
        assert found is not None
        with pytest.raises(ToolError, match="No space left on device") as caught:
            found.run(BUILD, full, tmp_path / "build.log", Silent(), timeout=120)
        assert "space" in caught.value.fix
    finally:
        subprocess.run(["umount", "--lazy", str(full)], check=True)
