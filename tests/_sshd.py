"""A board for tests: a real sshd on the loopback interface, with keys of its own and a stand-in `ax_run_model`."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

STANDINS = Path(__file__).parent / "standins"
_PRIVILEGES = Path("/run/sshd")  # sshd of root wants this empty folder, which its service would make


@dataclass(frozen=True)
class Board:
    """A running sshd.

    Attributes:
        folder: everything of the test's.
        tmp: where the board makes its scratch folders.
        programs: the board's PATH, before the system's.
        config: of the client; rewritten by tests that change keys.
    """

    folder: Path
    tmp: Path
    programs: Path
    config: Path
    port: int

    @property
    def address(self) -> str:
        """For --runner."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def known_hosts(self) -> Path:
        """The client's known hosts."""
        return self.folder / "known_hosts"

    @property
    def starts(self) -> int:
        """How often `ax_run_model` was started."""
        counted = self.folder / "starts"
        return len(counted.read_text().split()) if counted.exists() else 0

    def fail(self, how: str) -> None:
        """Make `ax_run_model` fail; see its docstring."""
        (self.folder / "fail").write_text(how)

    def left(self, seconds: float = 20.0) -> list[str]:
        """Our folders that are still on the board once it had some time to clean up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(self.tmp.glob("workbench-*")):
            time.sleep(0.05)
        # onnxruntime, which plays the chip, keeps a file of its own in the same place.
        return sorted(str(path.relative_to(self.tmp)) for path in self.tmp.rglob("workbench-*"))

    def install(self, name: str, script: str) -> Path:
        """Put a program on the board."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path


@contextmanager
def serving(folder: Path, client: Path) -> Iterator[Board]:
    """Start sshd with everything in `folder`; `client` is a folder on PATH, which gets an `ssh` that knows its keys.

    Skips the test where no sshd can be run.
    """
    sshd, ssh, keygen = (
        shutil.which(name, path="/usr/sbin:/usr/bin:/bin:/usr/local/bin") for name in ("sshd", "ssh", "ssh-keygen")
    )
    if not (sshd and ssh and keygen):
        pytest.skip("no OpenSSH server here: apt-get install openssh-server")
    folder.mkdir(parents=True)
    for name in ("tmp", "programs"):
        (folder / name).mkdir()
    for name in ("host", "me", "stranger"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    board = Board(folder, folder / "tmp", folder / "programs", folder / "ssh_config", port)
    board.install("ax_run_model", f'exec "{sys.executable}" "{STANDINS / "ax_run_model.py"}" "$@"')
    shutil.copy(folder / "me.pub", folder / "authorized_keys")
    key = (folder / "host.pub").read_text().split()
    board.known_hosts.write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    board.config.write_text(_client(folder, "me"))
    (folder / "sshd_config").write_text(_server(board))
    wrapper = client / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {ssh} -F "{board.config}" "$@"\n')
    wrapper.chmod(0o755)
    if os.geteuid() == 0:
        _PRIVILEGES.mkdir(exist_ok=True)  # it stays: another test's sshd may be using it
    log = (folder / "sshd.log").open("wb")
    server = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "sshd_config"], stdout=log, stderr=log)
    try:
        _wait(board, [str(wrapper), "-o", "BatchMode=yes", "-p", str(port), "127.0.0.1", "true"], server)
        yield board
    finally:
        server.terminate()
        server.wait()
        log.close()


def use_key(board: Board, name: str) -> None:
    """Let the client offer another key: `me` is accepted, `stranger` is not."""
    board.config.write_text(_client(board.folder, name))


def _client(folder: Path, key: str) -> str:
    return (
        f"Host *\n  IdentityFile {folder / key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        f"  UserKnownHostsFile {folder / 'known_hosts'}\n  GlobalKnownHostsFile /dev/null\n"
    )


def _server(board: Board) -> str:
    folder = board.folder
    path = f"{board.programs}:/usr/local/bin:/usr/bin:/bin"
    environment = (
        f"PATH={path} TMPDIR={board.tmp} STANDIN_FAIL_FILE={folder / 'fail'} STANDIN_STARTS={folder / 'starts'}"
    )
    return (
        f"Port {board.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        f"SetEnv {environment} OMP_NUM_THREADS=1\n"
    )


def _wait(board: Board, command: list[str], server: subprocess.Popen[bytes]) -> None:
    for _ in range(50):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode == 0:
            return
        if server.poll() is not None or b"Permission denied" in done.stderr:
            break
        time.sleep(0.1)
    said = (board.folder / "sshd.log").read_text("utf-8", "replace").strip().splitlines()[-3:]
    pytest.skip(f"sshd cannot be used here: {'; '.join(said)} {done.stderr.decode('utf-8', 'replace').strip()}")
