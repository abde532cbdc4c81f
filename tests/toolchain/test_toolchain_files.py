"""What can be said about the files in toolchain/ without an engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

TOOLCHAIN = Path(__file__).resolve().parents[2] / "toolchain"
SCRIPTS = (TOOLCHAIN / "entrypoint.sh", Path(__file__).parent / "standin_pulsar2.sh")


def compose() -> dict[str, object]:
    """The one service."""
    file = yaml.safe_load((TOOLCHAIN / "compose.yaml").read_text("utf-8"))
    assert set(file) == {"services"}
    assert set(file["services"]) == {"pulsar2"}
    return file["services"]["pulsar2"]


def test_the_service_has_no_network_and_one_folder():
    """compose.yaml builds this folder, cuts the network, and mounts results; limits and versions come by variables."""
    service = compose()
    assert service["build"] == {"context": ".", "args": {"PULSAR2_IMAGE": "pulsar2:${PULSAR2_VERSION:-7.0}"}}
    assert service["network_mode"] == "none"
    assert [volume["target"] for volume in service["volumes"]] == ["/data"]
    assert (service["mem_limit"], service["cpus"]) == ("${PULSAR2_MEMORY:-0}", "${PULSAR2_CPUS:-0}")
    assert "user" not in service


@pytest.mark.parametrize("command", [("docker", "compose"), ("podman-compose",)], ids="-".join)
def test_the_compose_file_is_understood(command):
    """A compose program that is installed reads the file, and fills the variables in."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]}: not on PATH")
    for asked in (["version"], ["config", "--help"]):
        if subprocess.run([*command, *asked], capture_output=True).returncode != 0:
            pytest.skip(f"{' '.join(command)}: not installed, or so old that it has no command config")
    env = {**os.environ, "PULSAR2_VERSION": "6.0", "PULSAR2_MEMORY": "8g", "PULSAR2_CPUS": "4"}
    shown = subprocess.run(
        [*command, "-f", str(TOOLCHAIN / "compose.yaml"), "config"], env=env, capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0, shown.stderr
    service = yaml.safe_load(shown.stdout)["services"]["pulsar2"]
    assert service["image"] == "workbench-pulsar2:6.0"
    assert service["build"]["args"] in ({"PULSAR2_IMAGE": "pulsar2:6.0"}, ["PULSAR2_IMAGE=pulsar2:6.0"])
    assert (str(service["mem_limit"]), float(service["cpus"])) in (("8g", 4.0), (str(8 << 30), 4.0))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_plain_shell(script):
    """They parse in sh, and shellcheck has nothing to say where it is installed."""
    subprocess.run(["sh", "-n", str(script)], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck: not on PATH; sh has parsed it")
    checked = subprocess.run(["shellcheck", "--shell", "sh", str(script)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
