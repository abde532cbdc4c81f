"""`workbench pulsar2 bundle` and what `workbench doctor` says about the toolchain."""

from __future__ import annotations

import json

import _tiny
import pytest
from _pulsar2 import fake
from click.testing import CliRunner

from workbench.cli import main


@pytest.fixture
def failed(tmp_path, programs, monkeypatch):
    """A conversion whose toolchain failed; the working folder is its own."""
    fake(programs("pulsar2"), "case $1 in version) echo version: 7.0; exit;; esac; echo 'ValueError: x'; exit 1")
    monkeypatch.chdir(tmp_path)
    recipe = _tiny.write(tmp_path / "recipes")
    monkeypatch.setenv("WORKBENCH_MIRROR", str(tmp_path / "recipes"))
    result = CliRunner().invoke(main, ["convert", str(recipe)])
    assert result.exit_code == 3
    return result


def test_the_advice_of_a_failed_conversion_works(failed, tmp_path):
    """The command in the error's cure packs the report."""
    advice = next(line for line in failed.stderr.splitlines() if "workbench pulsar2 bundle" in line)
    folder = advice.partition("workbench pulsar2 bundle ")[2].split()[0]
    result = CliRunner().invoke(main, ["pulsar2", "bundle", folder])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "pulsar2-report-tiny-AX650.tar.gz").is_file()
    assert "case/config.json" in result.stdout
    assert "are replaced" in result.stdout
    assert "look at them before you send it" in result.stderr


def test_json_lists_what_is_in_it(failed, tmp_path):
    """A script can read what was packed."""
    arguments = ["pulsar2", "bundle", "dist/tiny.failed/pulsar2/AX650", "--out", "r.zip", "--keep-weights", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["report"] == "r.zip"
    assert told["stripped"] is None
    assert "build.log" in told["files"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "either the folder of a kit or --config"),
        (["k", "--config", "c"], 2, "either the folder of a kit or --config"),
        (["--config", "c.json"], 2, "--config needs the model"),
        (["nowhere"], 3, "not a kit"),
        (["--config", "c.json", "--model", "m.onnx"], 3, "no such configuration"),
        (["--config", "c.json", "--model", "m.onnx", "--out", "x.rar"], 2, "a report is .tar.gz"),
        (["nowhere", "--samples", "0"], 2, "--samples"),
    ],
)
def test_what_cannot_be_meant(arguments, code, told, programs):
    """Each mistake has its sentence and exit code."""
    result = CliRunner().invoke(main, ["pulsar2", "bundle", *arguments])
    assert result.exit_code == code
    assert told in result.output


def test_a_named_image_that_is_not_here_does_not_stop_a_report(failed, tmp_path):
    """A report can be packed on a machine without the tool; the versions say so."""
    arguments = ["pulsar2", "bundle", "dist/tiny.failed/pulsar2/AX650", "--image", "pulsar2:9"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "the image pulsar2:9 cannot be used" in result.stderr


def test_options_last_as_long_as_their_command(programs, monkeypatch):
    """--image and --memory are the environment's variables for one command only."""
    import os

    monkeypatch.setenv("PULSAR2_MEMORY", "4g")
    result = CliRunner().invoke(main, ["doctor", "--memory", "8g", "--image", "pulsar2:9", "--json"])
    assert json.loads(result.stdout)["pulsar2"]["limits"] == {"memory": f"{8 * 2**30} bytes"}
    assert os.environ["PULSAR2_MEMORY"] == "4g"
    assert "PULSAR2_IMAGE" not in os.environ


def test_doctor_shows_engine_images_and_licence(programs):
    """Versions, whose root the engine is, which images there are, and the licence files that are in the one used."""
    script = """case "$*" in
*info*) echo '28.1.1 [name=seccomp,profile=builtin name=rootless]';;
images*) echo 'pulsar2:7.0 abcd'; echo 'pulsar2:6.0 ef01';;
*run*) echo 2;;
esac"""
    fake(programs("docker"), script)
    result = CliRunner().invoke(main, ["doctor"])
    assert "docker: pulsar2:6.0, pulsar2:7.0" in result.stdout
    assert "-> newest image: pulsar2:7.0" in result.stdout
    assert "engine      docker 28.1.1, rootless" in result.stdout
    assert "licence     2 .v2c files in the image" in result.stdout


def test_doctor_shows_why_an_engine_does_not_answer(programs):
    """An engine that is down is a line with what helps."""
    fake(programs("docker"), "echo 'Cannot connect to the Docker daemon at x' >&2; exit 1")
    result = CliRunner().invoke(main, ["doctor"])
    assert "engine      docker does not answer: the container engine is not running" in result.stdout


@pytest.mark.parametrize(("said", "told"), [("4.3.1 true", "podman 4.3.1, rootless"), ("4.3.1 false", "as root")])
def test_doctor_knows_podman(programs, tmp_path, said, told):
    """Podman says it in its own way."""
    fake(tmp_path / "programs" / "podman", f"case $1 in info) echo '{said}';; esac")
    assert told in CliRunner().invoke(main, ["doctor"]).stdout
