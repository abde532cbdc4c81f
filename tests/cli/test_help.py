import pytest
from click.testing import CliRunner

from workbench.cli import main

COMMANDS = (
    "calib",
    "check",
    "convert",
    "doctor",
    "eval",
    "fetch",
    "inspect",
    "parity",
    "passes",
    "plan",
    "pulsar2",
    "quantize",
    "schema",
    "targets",
    "tune",
)


def test_help_lists_every_command_with_a_sentence():
    """The first screen names the commands and what each does."""
    result = CliRunner().invoke(main, ["--help"])

    assert result.exit_code == 0
    for name in COMMANDS:
        line = next(line for line in result.output.splitlines() if line.strip().startswith(f"{name} "))
        assert len(line.split(maxsplit=1)[1]) > 15


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_that_reads_well(name):
    """Help has a description, and every option says what it does."""
    result = CliRunner().invoke(main, [name, "--help"])

    assert result.exit_code == 0
    assert "Options:" in result.output
    assert len(result.output.split("\n\n")[1].strip()) > 20


@pytest.mark.parametrize("name", ["tune", "quantize"])
def test_help_says_what_emulation_foresees(name):
    """Figures at 8 bits are not the chip's, and nobody has to find that out."""
    told = " ".join(CliRunner().invoke(main, [name, "--help"]).output.split())

    assert "emulation: it foresees what ranges and weights lose" in told
    assert "not how a chip rounds" in told


def test_a_misspelt_command_names_the_near_miss():
    """A typo in the command is a usage error with a suggestion."""
    result = CliRunner().invoke(main, ["covnert"])

    assert result.exit_code == 2
    assert "Did you mean 'convert'?" in result.output


@pytest.mark.parametrize("name", ["passes", "targets", "schema", "doctor"])
def test_listing_commands_speak_json(name):
    """A script can read what a person can."""
    import json

    result = CliRunner().invoke(main, [name] if name == "schema" else [name, "--json"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)


def test_passes_are_listed_with_an_example_line():
    """`workbench passes` shows each pass, what it does and how a recipe calls it."""
    result = CliRunner().invoke(main, ["passes"])

    assert "cut_outputs" in result.output
    assert "example: - cut_outputs: {tensors: [" in result.output
