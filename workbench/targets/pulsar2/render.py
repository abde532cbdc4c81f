"""Render what Pulsar2 is given: a configuration, held against its schema and rules, and a script that builds with it.

Paths in both start from the folder they stand in, ``pulsar2/<chip>/``; the model is beside it, ``pulsar2/model.onnx``.
So the folder ``pulsar2`` works wherever it is put.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError
from workbench.graph import io
from workbench.graph.naming import name_nodes
from workbench.recipe.schema import InputSpec
from workbench.runtimes.pulsar2_tool import CONTAINER_SCRIPT, LICENCES, MISSING
from workbench.targets.pulsar2 import chips, facts, jsonc, layers, provenance, rules, schema
from workbench.targets.pulsar2.facts import Facts
from workbench.targets.pulsar2.options import Options
from workbench.targets.pulsar2.provenance import Origins

CONFIG = "config.json"
SCRIPT = "build.sh"
OUTPUT_DIR = "build"
OUTPUT_NAME = "compiled.axmodel"
U16 = "u16.txt"
MODEL = "pulsar2/model.onnx"  # relative to the recipe's results
_BESIDE = "../model.onnx"  # the same, from the chip's folder
ROOT = "../.."  # from the chip's folder to the recipe's results
_AT = ("targets", "pulsar2")


@dataclass(frozen=True)
class Rendered:
    """A configuration that has passed every rule.

    Attributes:
        data: plain, in the order of the template.
        config: the same, as the schema has it.
        origins: what each value comes from.
        warnings: what is not certain to be wrong.
    """

    data: dict[str, Any]
    config: schema.BuildConfig
    origins: Origins
    warnings: tuple[rules.Finding, ...]

    @property
    def text(self) -> str:
        """Pretty JSON, the same on every run."""
        return json.dumps(self.data, indent=2, ensure_ascii=False) + "\n"


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


def rendered(
    chip: str,
    inputs: Sequence[InputSpec],
    options: Options,
    known: Facts | None = None,
    layers: Sequence[schema.LayerConfig] = (),
    because: Mapping[str, str] | None = None,
) -> Rendered:
    """The configuration for `chip`.

    Args:
        chip: a chip's name or alias.
        inputs: colour order, mean and std of each input of the canonical NCHW model.
        options: the target's.
        known: names and shapes of the model, to hold the configuration against.
        layers: the layers that are not at 8 bits.
        because: why a layer is among them, by its name.

    Raises:
        RecipeError: an option speaks of an input that there is not.
        RecipeErrors: the recipe asks for something that Pulsar2 would refuse or misread; ``at`` is the recipe's path.
    """
    for name in options.inputs:
        if name not in (names := [spec.name for spec in inputs]):
            what = f"targets.pulsar2.inputs: there is no input {name!r}"
            raise RecipeError(what, fix=did_you_mean(name, names), at=(*_AT, "inputs", name))
    place = f"chips[{options.chips.index(chip)}]" if chip in options.chips else ""
    text = (
        _environment()
        .get_template("config.json.j2")
        .render(
            model=_BESIDE,
            output_dir=OUTPUT_DIR,
            hardware=chips.find(chip).name,
            chip_from=f"targets.pulsar2.{place}" if place else "workbench: --chip",
            options=options,
            layers=[_layer(one) for one in layers],
            because={name: _line(why) for name, why in (because or {}).items()},
            specs=[
                _input(index, spec, path, options)
                for index, (spec, path) in enumerate(zip(inputs, archives(inputs), strict=True))
            ],
        )
    )
    file = f"{folder(chip)}/{CONFIG}"
    document = jsonc.parse(text, file)
    parsed = schema.validate(document.data, document.marks)
    origins = provenance.of(document)
    found = rules.check(parsed, known)
    errors = [finding for finding in found if finding.level == "error"]
    if errors:
        raise provenance.blamed(errors, origins, file)
    return Rendered(document.data, parsed, origins, tuple(found))


def of_file(chip: str, inputs: Sequence[InputSpec], options: Options, model: Path, u16: Sequence[str]) -> Rendered:
    """The configuration for `chip` and the file `model`, as the target renders it; see `rendered`.

    Args:
        chip: a chip's name or alias.
        inputs: of the canonical NCHW model.
        options: the target's.
        model: what the tool is given, or the graph before its nodes were named.
        u16: its tensors at 16 bits.

    Raises:
        ToolError: the file cannot be read.
    """
    graph = io.read(model)
    name_nodes(graph.graph)
    known = facts.of(io.to_proto(graph))
    return rendered(chip, inputs, options, known, layers.layer_configs(graph, u16), layers.reasons(graph, u16))


def script(name: str, chip: str, options: Options, not_deployable: str = "") -> str:
    """``build.sh`` for `chip`: compiles by hand what the target compiles by itself."""
    return (
        _environment()
        .get_template("build.sh.j2")
        .render(
            name=name,
            not_deployable=_line(not_deployable),  # from the model's file, so it may be anything
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


def template(name: str, facts: Mapping[str, Any]) -> str:
    """The template `name` with `facts` in it; a fact that it lacks is our bug."""
    return _environment().get_template(name).render(**facts)


def _input(index: int, spec: InputSpec, archive: str, options: Options) -> dict[str, Any]:
    mean, std = spec.per_channel
    kind = options.kind(spec.name)
    kind_at = f"targets.pulsar2.inputs.{spec.name}" if spec.name in options.inputs else "targets.pulsar2.input"
    _, channels, height, width = spec.nchw
    if kind in ("nv12", "nv21") and (channels != 3 or height % 2 or width % 2):
        what = "is a colour format" if channels != 3 else "needs an even size"
        raise RecipeError(
            f"{kind} {what}, input {spec.name!r} is {spec.color}, {width} wide and {height} high",
            fix=f"feed it as u8: targets.pulsar2.inputs: {{{spec.name}: u8}}",
            at=(*_AT, "inputs", spec.name) if spec.name in options.inputs else (*_AT, "input"),
        )
    return {
        "at": f"inputs[{index}]",
        "name": spec.name,
        "archive": archive,
        "kind": kind,
        "kind_at": kind_at if re.fullmatch(r"[\w.-]+", spec.name) else "targets.pulsar2.inputs",
        "color": spec.color,
        "mean": mean,
        "std": std,
        "zeros": [0.0] * len(mean),
        "ones": [1.0] * len(std),
    }


def _layer(one: schema.LayerConfig) -> dict[str, Any]:
    output = one.output_data_type if "output_data_type" in one.model_fields_set else ""
    return {"names": one.layer_names, "type": one.data_type, "output": output}


def _line(text: str) -> str:
    """`text` on one line, for a comment."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


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
