"""What the README tells people to type is typed here."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [line.strip() for line in README.splitlines() if re.match(r"( {4})?(pip|workbench|pytest) ", line)]


def test_the_two_commands_are_there():
    """A stranger finds installing, converting and testing on the first screen."""
    assert COMMANDS[0] == "pip install -e . && workbench convert recipes/lw_openpose.yaml"
    assert COMMANDS[1] == "pip install -e '.[test]' && pytest"


def test_links_lead_somewhere():
    """Every relative link is a file."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert links
    assert all((ROOT / link).exists() for link in links)


def test_every_command_of_the_program_is_shown():
    """No command is left for people to discover."""
    from workbench.cli import main

    shown = {shlex.split(part)[1] for line in COMMANDS for part in line.split("&&") if part.strip().startswith("workb")}

    assert shown == set(main.commands if main.commands else main.list_commands(None))


@pytest.mark.slow
def test_the_commands_run(tmp_path):
    """In order, in a folder with the repository's recipes; only the network may be missing (exit 3 of fetch)."""
    for name in ("recipes", "calib_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {**os.environ, "COLUMNS": "100"}
    environment.pop("WORKBENCH_MIRROR", None)
    for line in COMMANDS:
        for part in line.split("&&"):
            words = shlex.split(part)
            if words[0] != "workbench":  # installing and testing is what runs this
                continue
            run = subprocess.run(
                [sys.executable, "-m", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            allowed = {0, 3} if words[1] == "fetch" else {0}
            assert run.returncode in allowed, f"{part}\n{run.stdout}\n{run.stderr}"
            assert "Traceback" not in run.stderr


def test_the_error_in_the_readme_is_the_one_printed(tmp_path):
    """The sample of an error message is a real one."""
    import io
    from contextlib import redirect_stderr

    from click.testing import CliRunner

    from workbench.cli import main

    recipe = tmp_path / "movenet.yaml"
    text = (ROOT / "recipes" / "movenet.yaml").read_text("utf-8")
    recipe.write_text(text.replace("- lift_normalization", "- lift_normalisation"), "utf-8")
    with redirect_stderr(io.StringIO()):
        result = CliRunner().invoke(main, ["plan", str(recipe)])
    shown = re.search(r"recipes/movenet.yaml(:.*lift_norm.*)\n(  fix: .*)\n", README)

    assert result.exit_code == 2
    assert f"movenet.yaml{shown[1]}\n{shown[2]}" in result.output
