"""The recipe that an ONNX file and a few options stand for: built in memory, shown as YAML, saved if wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workbench import catalog
from workbench.calib.sets import find_pictures
from workbench.cli._network import Network, plain
from workbench.errors import RecipeError, RecipeErrors, ToolError
from workbench.recipe import agreement, complaints
from workbench.recipe.load import LoadedRecipe, load
from workbench.recipe.rewrite import lines, scalar
from workbench.recipe.schema import Call, Recipe
from workbench.recipe.yaml_marks import Marks

Data = dict[str, Any]

# What only takes away or spells out, and leaves a network alone that has none of it.
_SURGERY = (
    "explicit_padding",
    "fold_pad",
    "fold_batchnorm",
    "merge_relu_after_clip",
    "fold_channel_scale",
    "explicit_attributes",
)
_LEAST = 3  # pictures: one to judge by, two to calibrate on
_MOST_JUDGING = 4
_FLOAT = {"cosine": 0.9999, "relative_l2": 1e-3}  # whatever the outputs mean and however large they are


@dataclass(frozen=True)
class Wish:
    """The options of `workbench quantize`, as a user gave them.

    Attributes:
        mean: subtracted from 0..255 pixels, one value a channel.
        std: what they are divided by then.
        heatmaps: outputs, by either of their names, that are heat maps of joints.
        count: pictures to calibrate on, at most.
        limit: the least cosine of the quantized models.
        page: where the model is published, for a recipe that is kept.
    """

    model: Path
    calib: Path
    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: str
    fit: str
    heatmaps: tuple[str, ...]
    joints: str
    count: int
    tflite: bool
    chips: tuple[str, ...]
    limit: float
    page: str | None


def pixel_values(
    bounds: tuple[float, float] | None, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and divisor of 0..255 pixels, as a recipe has them, from the options.

    Raises:
        RecipeError: none was given, or both ways; or they cannot be meant.
    """
    if bounds is not None and (mean or std):
        raise RecipeError("--input-range and --mean or --std say the same thing twice", fix="keep one of the two")
    if bounds is not None:
        low, high = bounds
        if low >= high:
            raise RecipeError(f"--input-range {low:g} {high:g} is empty", fix="give the value of black first")
        step = 255 / (high - low)
        return (-low * step + 0.0,), (step,)
    if not mean and not std:
        raise RecipeError(
            "what the network takes for black and white is not known",
            fix="say what 0 and 255 become, --input-range 0 1, 0 255 or -1 1; or give --mean and --std in pixels"
            " (ImageNet's are --mean 123.675 116.28 103.53 --std 58.395 57.12 57.375)",
        )
    mean, std = mean or (0.0,), std or (1.0,)
    if min(std) < 1 and max(std) <= 1:
        raise RecipeError(
            f"--std {' '.join(f'{one:g}' for one in std)} is for pixels of 0..1",
            fix="give --mean and --std for pixels of 0..255: 255 times these",
        )
    return _one(mean), _one(std)


def described(wish: Wish, network: Network, path: Path) -> Data:
    """The recipe as plain data, before any tuning.

    Args:
        wish: the options.
        network: the model.
        path: where the recipe is, or would be, saved; pictures are named from its folder.

    Raises:
        RecipeError: there are too few pictures, or no output is called as an option says.
    """
    judging, calibrating = _shares(wish)
    channels = {one.shape[1] for one in network.inputs}
    color = "GRAY" if channels == {1} else wish.color
    inputs = []
    for one in network.inputs:
        grey = one.shape[1] == 1
        inputs.append(
            {
                "name": one.name,
                **({"tensor": one.tensor} if one.tensor != one.name else {}),
                "shape": list(one.shape),
                "color": "GRAY" if grey else color,
                "mean": _whole(wish.mean),
                "std": _whole(wish.std),
                "fit": wish.fit,
            }
        )
    known = {name for one in network.outputs for name in (one.tensor, one.name)}
    for name in wish.heatmaps:
        if name not in known:
            raise RecipeError(f"--heatmaps: no output is called {name!r}", fix=catalog.did_you_mean(name, known))
    outputs = [
        {
            "name": one.name,
            **({"tensor": one.tensor} if one.tensor != one.name else {}),
            "shape": list(one.shape),
            "meaning": "heatmap" if {one.tensor, one.name} & set(wish.heatmaps) else "regression",
        }
        for one in network.outputs
    ]
    targets: Data = {"onnx": {}}
    if wish.tflite:
        targets["tflite"] = {"variants": ["int8"]}
    if wish.chips:
        targets["pulsar2"] = {"chips": list(wish.chips)}
    return {
        "name": plain(wish.name).replace(".", "_") or "network",
        "about": f"made by workbench quantize from {plain(wish.model.name, 'model.onnx')}",
        "source": {"kind": "onnx"},
        "weights": {
            "file": plain(wish.model.name, "model.onnx"),
            **({"page": wish.page} if wish.page else {}),
            "sha256": network.sha256,
        },
        "inputs": inputs,
        "outputs": outputs,
        "joints": wish.joints,
        "surgery": list(_SURGERY),
        "calibration": {"pictures": _from(path.parent, wish.calib), "count": min(wish.count, calibrating)},
        "quantization": {"method": "MinMax"},
        "targets": targets,
        "parity": {"samples": judging, "limits": {"float": dict(_FLOAT), "int8": {"cosine": wish.limit}}},
    }


def tuned(data: Data, settings: Mapping[str, Any]) -> Data:
    """`data` with other settings, and the limit that they need."""
    limits = data["parity"]["limits"]
    if settings.get("u16"):
        limits = {**limits, "mixed": limits["int8"]}
    return {**data, "quantization": dict(settings), "parity": {**data["parity"], "limits": limits}}


def loaded(data: Data, wish: Wish, path: Path) -> LoadedRecipe:
    """`data` as a checked recipe whose mistakes point at the options of the command.

    Raises:
        RecipeErrors: all mistakes.
    """
    marks = _marks(wish, len(data["inputs"]), len(data["outputs"]))
    filled = dict(data)
    try:
        filled["source"] = _call("source", "onnx", {}, ("source",), marks)
        filled["surgery"] = tuple(_call("pass", name, {}, ("surgery",), marks) for name in data["surgery"])
        filled["targets"] = tuple(
            _call("target", name, options, ("targets", name), marks) for name, options in data["targets"].items()
        )
        recipe = Recipe.model_validate(filled)
    except ValidationError as error:
        raise RecipeErrors(complaints.from_pydantic(error, Recipe, (), marks)) from error
    # Where the file is to be found matters only for a recipe that is kept: here it is given.
    errors = [error for error in agreement.across_keys(recipe, marks) if error.at != ("weights",)]
    if errors:
        raise RecipeErrors(errors)
    return LoadedRecipe(recipe, path, marks)


def text(data: Data) -> str:
    """`data` as a recipe file."""
    found = [
        f"name: {scalar(data['name'])}",
        f"about: {scalar(data['about'])}",
        "",
        f"source: {_flow(data['source'])}",
        "weights:",
        *(f"  {key}: {scalar(value)}" for key, value in data["weights"].items()),
        "",
    ]
    for key in ("inputs", "outputs"):
        found += [f"{key}:", *(f"  - {_flow(entry)}" for entry in data[key])]
    meant = any(entry["meaning"] == "heatmap" for entry in data["outputs"])
    unused = "" if meant else "   # not used: no output is said to be a heatmap"
    found += [
        f"joints: {scalar(data['joints'])}{unused}",
        "",
        "surgery:",
        *(f"  - {name}" for name in data["surgery"]),
        "",
        f"calibration: {_flow(data['calibration'])}",
        *lines(data["quantization"]),
        "",
        "targets:",
        *(f"  {name}: {_flow(options)}" for name, options in data["targets"].items()),
        "",
        "parity:",
        f"  samples: {data['parity']['samples']}",
        "  limits:",
        *(f"    {name}: {_flow(limits)}" for name, limits in data["parity"]["limits"].items()),
    ]
    return "\n".join(found) + "\n"


def save(data: Data, path: Path, meant: Recipe) -> None:
    """Write `data` to `path`, once it is sure that it loads as `meant`; an existing file is never replaced.

    Raises:
        RecipeError: there is a file, or the recipe lacks something that one that is kept needs.
        ToolError: it cannot be written.
    """
    check_free(path)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.yaml")
    try:
        aside.write_text(text(data), "utf-8", newline="\n")
        if load(aside).recipe != meant:
            raise RecipeError("the recipe would be read as another one", where=str(path), fix="please report this file")
        aside.replace(path)
    except RecipeErrors as error:
        told = str(error).replace(str(aside), path.name)
        fix = "give --page, or leave --save out" if "page" not in data["weights"] else "leave --save out"
        raise RecipeError(f"this recipe cannot be kept\n    {told}", where=f"--save {path.name}", fix=fix) from error
    except OSError as error:
        raise ToolError(f"cannot write: {error.strerror}", where=str(path), fix="choose another folder") from error
    finally:
        with suppress(OSError):
            aside.unlink()


def check_free(path: Path) -> None:
    """Make sure that a recipe can be saved as `path`.

    Raises:
        RecipeError: there is something of this name, or no folder for it.
    """
    where = f"--save {path}"
    if path.exists():
        raise RecipeError("there is a file of this name", where=where, fix="choose another name, or remove it")
    if not path.parent.is_dir():
        raise RecipeError("no such folder", where=where, fix="make it first")


def _shares(wish: Wish) -> tuple[int, int]:
    """How many of the pictures judge, and how many are left to calibrate on."""
    if not wish.calib.is_dir():
        raise RecipeError("no such folder", where=f"--calib {wish.calib}", fix="name a folder of pictures")
    try:
        found = len(find_pictures(str(wish.calib.resolve()), Path()).paths)
    except RecipeError as error:
        raise RecipeError("no picture in this folder", where=f"--calib {wish.calib}", fix=error.fix) from error
    if found < _LEAST:
        raise RecipeError(
            f"{found} picture{'s' * (found != 1)}: at least {_LEAST} are needed, one to judge by and others to"
            " calibrate on",
            where=f"--calib {wish.calib}",
            fix="add pictures like those the network will see; 30 are a good number",
        )
    judging = max(1, min(_MOST_JUDGING, found // 4))
    return judging, found - judging


def _from(base: Path, folder: Path) -> str:
    """`folder` as a recipe in `base` names it; never ``people``, which is the drawn set."""
    try:
        relative = Path(os.path.relpath(folder.resolve(), base.resolve())).as_posix()
    except ValueError:  # another drive
        return folder.resolve().as_posix()
    return relative if relative.startswith((".", "/")) else f"./{relative}"


def _call(kind: catalog.Kind, name: str, options: Data, at: tuple[str, ...], marks: Marks) -> Call:
    module = catalog.load(kind, name)
    model = module.PASS if kind == "pass" else module.Options
    try:
        return Call(name, TypeAdapter(model).validate_python(options))
    except ValidationError as error:
        raise RecipeErrors(complaints.from_pydantic(error, model, at, marks, name)) from error


def _marks(wish: Wish, inputs: int, outputs: int) -> Marks:
    """Where each key comes from: the option that says it."""
    marks = Marks(str(wish.model))
    options: list[tuple[tuple[str | int, ...], str]] = [
        (("name",), f"--name {wish.name}"),
        (("joints",), f"--joints {wish.joints}"),
        (("calibration",), f"--calib {wish.calib}"),
        (("parity", "samples"), f"--calib {wish.calib}"),
        (("targets", "pulsar2"), f"--chip {' --chip '.join(wish.chips)}"),
        (("weights", "page"), f"--page {wish.page}"),
        *((("inputs", index, key), f"--{key}") for index in range(inputs) for key in ("mean", "std")),
        *((("outputs", index), "--heatmaps") for index in range(outputs)),
    ]
    for at, where in options:
        marks.override(at, where)
    return marks


def _one(values: tuple[float, ...]) -> tuple[float, ...]:
    """One value where all channels have the same."""
    return values[:1] if len(set(values)) == 1 else values


def _whole(values: tuple[float, ...]) -> list[float | int]:
    """128.0 as a person writes it."""
    return [int(value) if value == int(value) else value for value in values]


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{scalar(key)}: {_flow(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(entry) for entry in value)}]"
    return scalar(value)
