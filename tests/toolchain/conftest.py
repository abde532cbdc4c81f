"""A real container engine that holds a stand-in for the vendor's image, or a skip that says what is missing.

podman gets storage and settings of its own, thrown away afterwards. docker's images live in its daemon: they have a
name nobody else uses, and are removed. The base image is a Debian made by debootstrap, kept in the user's cache.
WORKBENCH_TEST_ENGINE (podman or docker) chooses; otherwise the first that works is taken.
"""

from __future__ import annotations

import os
import re
import resource
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOOLCHAIN = HERE.parents[1] / "toolchain"
NEW, OLD = "99.0", "98.9"  # no real image is newer
_SECONDS = 120.0
_UNNEEDED = ("proc/*", "sys/*", "dev/*", "var/cache/*", "var/lib/apt/*", "usr/share/doc", "usr/share/locale")


@dataclass(frozen=True)
class Engine:
    """An engine in which a container has run.

    Attributes:
        name: podman or docker.
        env: what its commands, and Workbench when it calls it, need in the environment.
        prefix: begins the name of every image and container of this session.
    """

    name: str
    env: Mapping[str, str]
    prefix: str

    def __call__(self, *args: str, seconds: float = _SECONDS) -> subprocess.CompletedProcess[str]:
        """Run one command of the engine to its end."""
        return subprocess.run(
            [self.name, *args],
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def must(self, *args: str, seconds: float = _SECONDS) -> str:
        """The same, for a command that has to succeed; what it printed."""
        done = self(*args, seconds=seconds)
        assert done.returncode == 0, f"{self.name} {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def image(self, name: str) -> str:
        """The full name of an image of this session."""
        return f"localhost/{self.prefix}/{name}"

    def containers(self) -> list[str]:
        """Every container that this session, or Workbench in it, has left."""
        names = self.must("ps", "--all", "--format", "{{.Names}}").split()
        return [name for name in names if name.startswith((self.prefix, f"workbench-pulsar2-{os.getpid()}-"))]


class UnusableError(Exception):
    """Why no container can be run here."""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine with the images ``base:1``, ``pulsar2:98.9`` (no licence), ``pulsar2:99.0`` and ``wrapped:99.0``."""
    found = _engine()
    with tempfile.TemporaryDirectory(prefix="wb-") as folder:
        try:
            _vendor_images(found, Path(folder))
            yield found
        finally:
            _remove(found)


@pytest.fixture
def workbench_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The same, and this process's environment makes Workbench find it, and the newest image in it."""
    for name in [name for name in os.environ if name.startswith("PULSAR2_")]:
        monkeypatch.delenv(name)
    for name, value in engine.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PULSAR2_IMAGE", engine.image(f"pulsar2:{NEW}"))
    return engine


def _engine() -> Engine:
    wanted, reasons = os.environ.get("WORKBENCH_TEST_ENGINE"), []
    for name, start in (("podman", _podman), ("docker", _docker)):
        if wanted in (None, name):
            try:
                if shutil.which(name) is None:
                    raise UnusableError("not on PATH")
                return start()
            except (UnusableError, OSError, subprocess.SubprocessError) as error:
                reasons.append(f"{name}: {error}")
    pytest.skip("; ".join(reasons) or f"WORKBENCH_TEST_ENGINE={wanted} is not an engine")


def _podman() -> Engine:
    base = _base()
    trouble = ""
    for driver in ("overlay", "vfs"):
        root = Path(tempfile.mkdtemp(prefix="wb-"))  # short: sockets inside have a name of 108 bytes at most
        (root / "storage.conf").write_text(
            f'[storage]\ndriver = "{driver}"\ngraphroot = "{root}/root"\nrunroot = "{root}/run"\n'
            f'rootless_storage_path = "{root}/root"\n'
        )
        # A machine that is a container itself may not raise limits, and has no systemd to make control groups.
        limits = ", ".join(
            f'"{name}={most}:{most}"' for name, most in (("nofile", _most("NOFILE")), ("nproc", _most("NPROC")))
        )
        (root / "containers.conf").write_text(
            f"[containers]\ndefault_ulimits = [{limits}]\n"
            f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\ntmp_dir = "{root / "tmp"}"\n'
        )
        env = {
            "CONTAINERS_CONF": str(root / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(root / "storage.conf"),
            "STORAGE_DRIVER": driver,
        }
        engine = Engine("podman", env, f"workbench-test-{secrets.token_hex(3)}")
        trouble = _trouble(engine, base)
        if not trouble:
            return engine
        _remove(engine)
    raise UnusableError(f"no container runs here: {trouble}")


def _docker() -> Engine:
    engine = Engine("docker", {}, f"workbench-test-{secrets.token_hex(3)}")
    answer = engine("version", "--format", "{{.Server.Version}}", seconds=10)
    if answer.returncode != 0:
        raise UnusableError(_last(answer.stderr))
    if trouble := _trouble(engine, _base()):
        _remove(engine)
        raise UnusableError(f"no container runs here: {trouble}")
    return engine


def _most(name: str) -> int:
    """A limit that this process may hand on."""
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
    return 1024 if hard == resource.RLIM_INFINITY else min(hard, 1024)


def _trouble(engine: Engine, base: Path) -> str:
    """Why `engine` cannot run a container without a network and with a folder of ours; empty when it can."""
    image = engine.image("base:1")
    with tempfile.TemporaryDirectory(prefix="wb-") as folder:
        try:
            for command in (
                ["import", str(base), image],
                ["run", "--rm", "--network", "none", "-v", f"{folder}:/data", image, "touch", "/data/x"],
            ):
                done = engine(*command, seconds=300)
                if done.returncode != 0:
                    return _last(done.stderr)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return "" if Path(folder, "x").exists() else "it does not see folders of this machine"


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it says nothing")[:200]


def _vendor_images(engine: Engine, folder: Path) -> None:
    """Images like the vendor's: the tool off PATH, licence files in /root, a shell as the command."""
    shutil.copy(HERE / "standin_pulsar2.sh", folder / "pulsar2")
    (folder / "pulsar2").chmod(0o755)
    (folder / "key.v2c").write_text("stand-in for a licence\n")
    bare = f'FROM {engine.image("base:1")}\nCOPY pulsar2 /opt/pulsar2/pulsar2\nCMD ["/bin/bash"]\n'
    (folder / "Dockerfile").write_text(bare)
    engine.must("build", "--tag", engine.image(f"pulsar2:{OLD}"), str(folder), seconds=300)
    (folder / "Dockerfile").write_text(f"FROM {engine.image(f'pulsar2:{OLD}')}\nCOPY key.v2c /root/\n")
    engine.must("build", "--tag", engine.image(f"pulsar2:{NEW}"), str(folder), seconds=300)
    vendor = f"PULSAR2_IMAGE={engine.image(f'pulsar2:{NEW}')}"
    tag = engine.image(f"wrapped:{NEW}")
    engine.must("build", "--build-arg", vendor, "--tag", tag, str(TOOLCHAIN), seconds=300)


def _remove(engine: Engine) -> None:
    """Leave nothing: containers, images, storage."""
    if left := engine.containers():
        engine("rm", "--force", *left)
    names = engine("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    if ours := [name for name in names if f"{engine.prefix}/" in name]:
        engine("rmi", "--force", *ours)
    if engine.name != "podman":
        return
    root = Path(engine.env["CONTAINERS_CONF"]).parent
    if os.geteuid() == 0:
        mounts = re.findall(rf"^\S+ ({re.escape(str(root))}/\S+) ", Path("/proc/mounts").read_text(), re.MULTILINE)
        for mount in reversed(mounts):
            subprocess.run(["umount", "--lazy", mount], capture_output=True)
    else:
        engine("unshare", "rm", "-rf", str(root / "root"), str(root / "run"))
    shutil.rmtree(root, ignore_errors=True)


def _base() -> Path:
    """A small Debian as a tar file, made once: a minute, and 80 MB in the user's cache."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = release.get("VERSION_CODENAME", "").strip('"')
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "workbench-tests"
    path = cache / f"debootstrap-{suite}-{os.uname().machine}.tar"
    if path.exists():
        return path
    if shutil.which("debootstrap") is None:
        raise UnusableError("no base image: debootstrap is not on PATH")
    if os.geteuid() != 0:
        raise UnusableError(f"no base image: debootstrap needs root: run these tests as root once, and copy its {path}")
    mirror = _mirror(suite)
    with tempfile.TemporaryDirectory(prefix="wb-") as folder:
        target = Path(folder) / "rootfs"
        command = ["debootstrap", "--variant=minbase", suite, str(target), *mirror]
        made = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        if made.returncode != 0:
            raise UnusableError(f"no base image: debootstrap: {_last(made.stdout + made.stderr)}")
        cache.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{secrets.token_hex(4)}")
        without = [f"--exclude=./{name}" for name in _UNNEEDED]
        subprocess.run(["tar", "-C", target, "--numeric-owner", *without, "-cf", aside, "."], check=True)
        aside.replace(path)
    return path


def _mirror(suite: str) -> list[str]:
    """The mirror that this machine takes its packages from; debootstrap has a default when none is named."""
    ask = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    try:
        told = subprocess.run(ask, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.split() for line in told.splitlines()]
    return [row[0] for row in rows if row[1:] == [suite, "main"]][:1]
