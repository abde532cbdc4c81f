"""Render what Pulsar2 is given: a configuration, held against its schema and rules, and a script that builds with it.

Paths in both start from the folder they stand in, ``pulsar2/<chip>/``; the model is beside it, ``pulsar2/model.onnx``.
So the folder ``pulsar2`` works wherever it is put.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from workbench.errors import RecipeError
from workbench.recipe.schema import InputSpec
from workbench.runtimes.pulsar2_tool import CONTAINER_SCRIPT, LICENCES, MISSING
from workbench.targets.pulsar2 import chips, rules, schema
from workbench.targets.pulsar2.options import Options

CONFIG = "config.json"
SCRIPT = "build.sh"
OUTPUT_DIR = "build"
OUTPUT_NAME = "compiled.axmodel"
U16 = "u16.txt"
MODEL = "pulsar2/model.onnx"  # relative to the recipe's results
_BESIDE = "../model.onnx"  # the same, from the chip's folder
ROOT = "../.."  # from the chip's folder to the recipe's results


def folder(chip: str) -> str:
    """Where the files of `chip` are, relative to the recipe's results."""
    return f"pulsar2/{chip}"


def archives(inputs: Sequence[InputSpec]) -> tuple[str, ...]:
    """Path of the calibration archive of each input, relative to the chip's folder.

    Characters are replaced as Pulsar2 does for its own tensor files.

    Raises:
        RecipeError: two names would share a file.
    """
    paths: list[str] = []
    for index, spec in enumerate(inputs):
        path = f"calibration/{re.sub(r'[^a-zA-Z0-9_-]', '_', spec.name)}.tar"
        if path in paths:
            other = inputs[paths.index(path)].name
            raise RecipeError(
                f"inputs {other!r} and {spec.name!r} would share the file {path}",
                fix="rename one so that they differ in letters or digits",
                at=("inputs", index, "name"),
            )
        paths.append(path)
    return tuple(paths)


def arguments(chip: str, options: Options) -> tuple[str, ...]:
    """The arguments of ``pulsar2`` that compile the model for `chip`, started in the chip's folder."""
    return (
        *("build", "--input", _BESIDE, "--config", CONFIG, "--output_dir", OUTPUT_DIR),
        *("--target_hardware", chips.find(chip).name, "--npu_mode", options.npu_mode),
    )


def config(
    chip: str,
    inputs: Sequence[InputSpec],
    options: Options,
    known: rules.Facts | None = None,
    layers: Sequence[schema.LayerConfig] = (),
) -> str:
    """``config.json`` for `chip`.

    Args:
        chip: a chip's name or alias.
        inputs: colour order, mean and std of each input of the canonical NCHW model.
        options: the target's.
        known: names and shapes of the model, to hold the configuration against.
        layers: the layers that are not at 8 bits.

    Returns:
        Pretty JSON, the same on every run; it has passed `schema.parse` and `rules.check`.

    Raises:
        RecipeErrors: the recipe asks for something that Pulsar2 would refuse or misread.
    """
    text = (
        _environment()
        .get_template("template.json.j2")
        .render(
            model=_BESIDE,
            output_dir=OUTPUT_DIR,
            hardware=chips.find(chip).name,
            options=options,
            layers=[one.model_dump(mode="json", exclude_unset=True) for one in layers],
            inputs=[_input(spec, path) for spec, path in zip(inputs, archives(inputs), strict=True)],
        )
    )
    pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    parsed, marks = schema.parse(pretty, f"{folder(chip)}/{CONFIG}")
    rules.enforce(parsed, known, marks)
    return pretty


def script(name: str, chip: str, options: Options, not_deployable: str = "") -> str:
    """``build.sh`` for `chip`: compiles by hand what the target compiles by itself."""
    return (
        _environment()
        .get_template("build.sh.j2")
        .render(
            name=name,
            not_deployable=not_deployable,
            model=_BESIDE,
            chip=chip,
            arguments=arguments(chip, options),
            output_dir=OUTPUT_DIR,
            output_name=OUTPUT_NAME,
            root=ROOT,
            inside=folder(chip),
            script=CONTAINER_SCRIPT,
            licences=str(LICENCES),
            missing=MISSING,
        )
    )


def _input(spec: InputSpec, archive: str) -> dict[str, Any]:
    mean, std = spec.per_channel
    return {
        "name": spec.name,
        "archive": archive,
        "color": spec.color,
        "mean": mean,
        "std": std,
        "zeros": [0.0] * len(mean),
        "ones": [1.0] * len(std),
    }


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 -- JSON and shell, not HTML: every value goes through tojson or quote
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    environment.filters["quote"] = shlex.quote
    return environment
