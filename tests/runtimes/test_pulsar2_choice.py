"""Reading what the user wants of the toolchain."""

from __future__ import annotations

import pytest

from workbench.errors import RecipeError
from workbench.runtimes.pulsar2_tool.choice import Choice, of_environment, read_cpus, read_memory


def test_nothing_said_is_no_limit():
    """An empty environment leaves everything open."""
    assert of_environment({}) == Choice()


def test_everything_said():
    """Each variable has its place."""
    assert of_environment(
        {
            "PULSAR2_IMAGE": "pulsar2:7.0",
            "PULSAR2_ENGINE": "podman",
            "PULSAR2_ENGINE_OPTIONS": "--runtime runc",
            "PULSAR2_RUN_OPTIONS": "--gpus all",
            "PULSAR2_MEMORY": "8g",
            "PULSAR2_CPUS": "2.5",
            "PULSAR2_LICENCE": "~/licence",
            "PULSAR2_HOME": "/opt/p",
        }
    ) == Choice(
        "pulsar2:7.0", "podman", ("--runtime", "runc"), ("--gpus", "all"), 8 * 2**30, 2.5, "~/licence", "/opt/p"
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("8g", 8 * 2**30), ("8 GB", 8 * 2**30), ("1.5GiB", 3 * 2**29), ("512m", 2**29), ("100000k", 102400000)],
)
def test_memory_has_units_of_1024(text, size):
    """The engines' own spelling, with and without bytes."""
    assert read_memory(text) == size


@pytest.mark.parametrize("text", ["8", "g", "-1g", "8x", "nan", "inf", "1e9g", "9" * 400 + "g", "٨g", ""])
def test_an_amount_that_is_none(text):
    """What no compiler could run in, or nobody can read, is an error with an example."""
    with pytest.raises(RecipeError, match="not an amount of memory") as caught:
        read_memory(text)
    assert "8g" in caught.value.fix


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "four", "1e9"])
def test_processors_that_are_none(text):
    """A number of processors is a number above zero."""
    with pytest.raises(RecipeError, match="not a number of processors"):
        read_cpus(text)
