"""Hold anybody's BuildConfig against the schema, the rules, the model and the calibration archives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import RecipeErrors, ToolError
from workbench.recipe.complaints import dotted
from workbench.recipe.yaml_marks import Marks
from workbench.targets.pulsar2 import facts, formats, rules, rules_archives
from workbench.targets.pulsar2.rules_finding import Finding
from workbench.targets.pulsar2.schema import BuildConfig


@dataclass(frozen=True)
class Validation:
    """What was found, in the order of the file, and what it was held against.

    Attributes:
        findings: with the place of each.
        model: the model, None when there was none to be had.
        samples: whether the calibration archives were read.
        ruled: whether it was held against more than the schema; what breaks that cannot be read any further.
    """

    findings: tuple[tuple[str, Finding], ...]
    model: Path | None
    samples: bool
    ruled: bool = True

    @property
    def exit_code(self) -> int:
        """0, or 2 when the configuration is wrong, or 3 when files of it alone are missing or unreadable."""
        errors = [finding for _, finding in self.findings if finding.level == "error"]
        if not errors:
            return 0
        return 3 if all(finding.where for finding in errors) else 2


def validation(config: Path, model: Path | None, base: Path | None, *, samples: bool) -> Validation:
    """Hold `config` against everything that is at hand.

    Args:
        config: JSON, YAML, TOML or protobuf text.
        model: the ONNX; when it is None, the one that the configuration names, if it is there.
        base: the folder that the configuration's paths start from; its own when it is None.
        samples: read the calibration archives, too.

    Raises:
        ToolError: the configuration or the model cannot be read.
        RecipeError: the file is not what its suffix says.
    """
    base = base if base is not None else config.parent
    if not base.is_dir():
        raise ToolError("no such folder", where=f"--base {base}", fix="give the folder that the tool is started in")
    given = {"input": str(model) if model else "model.onnx", "output_dir": "output"}
    try:
        parsed, marks = formats.read(config, given)
    except RecipeErrors as error:
        found = tuple((one.where, Finding(one.at or (), _bare(one.what, one.at), one.fix)) for one in error.errors)
        return Validation(found, None, False, ruled=False)
    if model is not None:
        return _held(parsed, marks, model, base, samples=samples)
    return _held(parsed, marks, _named(parsed, base), base, samples=samples, names=marks.knows(("input",)))


def _held(
    config: BuildConfig, marks: Marks, model: Path | None, base: Path, *, samples: bool, names: bool = False
) -> Validation:
    known = facts.facts(model) if model is not None else None
    found: list[Finding] = rules.check(config, known)
    if names and config.input.endswith(".onnx") and model is None:
        fix = "give it with --model, or with --base the folder that its path starts from"
        found.append(Finding(("input",), "no such model", fix, where=str(base / config.input)))
    if samples:
        found += rules_archives.archives(config, known, base)
    return Validation(_placed(found, marks), model, samples)


def _placed(found: Sequence[Finding], marks: Marks) -> tuple[tuple[str, Finding], ...]:
    def line(entry: tuple[str, Finding]) -> tuple[int, int]:
        numbers = entry[0].rsplit(":", 2)[1:]
        return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(map(str.isdigit, numbers)) else (0, 0)

    return tuple(sorted(((marks.where(finding.at), finding) for finding in found), key=line))


def _named(config: BuildConfig, base: Path) -> Path | None:
    """The model that the configuration names, where it lies."""
    path = base / config.input
    return path if config.input.endswith(".onnx") and path.is_file() else None


def _bare(what: str, at: tuple[str | int, ...] | None) -> str:
    return what.removeprefix(f"{dotted(at)}: ") if at else what
