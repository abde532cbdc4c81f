"""What a rule says of a BuildConfig: the field, what is wrong, how to mend it, and how bad it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from workbench.recipe.complaints import dotted
from workbench.recipe.yaml_marks import At
from workbench.targets.pulsar2.schema import BuildConfig, InputProcessor, InputQuantConfig

T = TypeVar("T", InputQuantConfig, InputProcessor)
Level = Literal["error", "warning"]
EVERY = "DEFAULT"  # a tensor_name that stands for all inputs, or all outputs


@dataclass(frozen=True)
class Finding:
    """One mistake.

    Attributes:
        at: the path of the field.
        what: what is wrong, one sentence.
        fix: what to write instead.
        level: an error is certain: the tool refuses it, late, or silently builds something else. A warning is not.
        where: a file that is to blame instead of the field: it is missing or cannot be read.
    """

    at: At
    what: str
    fix: str
    level: Level = "error"
    where: str = ""

    def __str__(self) -> str:
        return f"{dotted(self.at)}: {self.what}" if self.at else self.what


Findings = Iterator[Finding]


def warning(at: At, what: str, fix: str) -> Finding:
    """A finding that does not stop anything."""
    return Finding(at, what, fix, "warning")


def calibration_of(config: BuildConfig, name: str) -> tuple[int, InputQuantConfig] | None:
    """The entry of ``quant.input_configs`` that holds for the input `name`: its own, else that for all."""
    return _entry(config.quant.input_configs, name)


def processor_of(config: BuildConfig, name: str) -> tuple[int, InputProcessor] | None:
    """The entry of ``input_processors`` that holds for the input `name`: its own, else that for all."""
    return _entry(config.input_processors, name)


def _entry(entries: tuple[T, ...], name: str) -> tuple[int, T] | None:
    for wanted in (name, EVERY):
        for index, one in enumerate(entries):
            if one.tensor_name == wanted:
                return index, one
    # What stands for every input meets at least the first entry there is.
    return (0, entries[0]) if name == EVERY and entries else None
