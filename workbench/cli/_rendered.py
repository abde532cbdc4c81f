"""The Pulsar2 configuration of a recipe: with what the last conversion made of it, where there was one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from workbench import pipeline
from workbench.engine.stage import digest
from workbench.errors import RecipeError, ToolError
from workbench.recipe.load import LoadedRecipe
from workbench.recipe.schema import InputSpec, Recipe
from workbench.recipe.yaml_marks import At
from workbench.stages import _files
from workbench.targets.pulsar2 import chips, provenance, render
from workbench.targets.pulsar2.options import Options

NOT_CONVERTED = (
    "not converted yet: inputs are as the recipe writes them, before surgery, and no name was held against the model"
)


@dataclass(frozen=True)
class Rendering:
    """A configuration as ``config.json`` has it, and with comments; `note` says what it could not know."""

    plain: str
    annotated: str
    chip: str
    note: str
    warnings: tuple[str, ...]


def rendering(loaded: LoadedRecipe, chip: str | None, weights: Path | None) -> Rendering:
    """Render the configuration of one chip of a recipe.

    Args:
        loaded: the recipe.
        chip: its name or alias; the recipe's first when it is None.
        weights: the file that was converted, when it was given by hand.

    Raises:
        RecipeError: the recipe has no pulsar2 target and no chip was named, or the configuration breaks a rule.
        ToolError: which layers carry 16 bits is only known after a conversion.
    """
    with pipeline.located(loaded):
        options = _options(loaded.recipe, chip)
        chosen = chip or options.chips[0]
        folders = _folders(loaded, weights)
        surgery = folders.get("surgery")
        specs = _files.read_inputs(surgery) if surgery else loaded.recipe.inputs
        model = _model(loaded.recipe, options, folders)
        if model is None:
            _needs_no_model(loaded.recipe)
            made = render.rendered(chosen, specs, options)
        else:
            made = render.of_file(chosen, specs, options, model, _u16(folders))
    wished = loaded.recipe.quantization.u16 if loaded.recipe.quantization else ()
    changed = _changed(loaded.recipe.inputs, specs)
    return Rendering(
        made.text,
        provenance.annotated(made.data, made.origins, loaded.marks, changed, wished),
        chosen,
        NOT_CONVERTED if model is None else "",
        tuple(f"{one}; {one.fix}" for one in made.warnings),
    )


def _options(recipe: Recipe, chip: str | None) -> Options:
    for call in recipe.targets:
        if isinstance(call.options, Options):
            options = call.options
            break
    else:
        if chip is None:
            what = f"{recipe.name} has no pulsar2 target"
            raise RecipeError(what, fix="add targets.pulsar2: {chips: [AX650]}, or give --chip", at=("targets",))
        options = Options()
    if chip is not None and chip not in options.chips:
        known = chips.find(chip)
        if options.npu_mode not in known.npu_modes:
            what = f"targets.pulsar2.npu_mode: {chip} has no {options.npu_mode}"
            fix = f"--set targets.pulsar2.npu_mode={known.npu_modes[-1]}"
            raise RecipeError(what, fix=fix, at=("targets", "pulsar2", "npu_mode"))
    return options


def _folders(loaded: LoadedRecipe, weights: Path | None) -> dict[str, Path]:
    """The results of the stages that have one, by stage."""
    store = pipeline.store_of_environment()
    request = pipeline.Request(weights, mirrors=pipeline.mirrors_of_environment())
    _, outlooks = pipeline.plan(loaded, request, store)
    addresses = {look.step.name: digest(look.step) for look in outlooks if not look.reasons}
    return {name: store.files(address) for name, address in addresses.items() if store.has(address)}


def _model(recipe: Recipe, options: Options, folders: dict[str, Path]) -> Path | None:
    """The graph that the tool is given, where it has been made: as the target chooses it."""
    stage = "quantize" if options.model == "qdq" else "surgery" if recipe.quantization is None else "bake"
    needed = {"surgery", stage} | ({"quantize"} if recipe.quantization else set())
    return folders[stage] / "model.onnx" if needed <= folders.keys() else None


def _needs_no_model(recipe: Recipe) -> None:
    if recipe.quantization is not None and recipe.quantization.u16:
        raise ToolError(
            "quantization.u16: which layers carry 16 bits is known once the model is made",
            fix="run workbench convert first, with --set targets.pulsar2.compile=never if the kit is enough",
            at=("quantization", "u16"),
        )


def _u16(folders: dict[str, Path]) -> tuple[str, ...]:
    mixed = folders["quantize"] / "mixed.json" if "quantize" in folders else None
    return tuple(json.loads(mixed.read_text("utf-8"))["u16"]) if mixed is not None and mixed.is_file() else ()


def _changed(before: tuple[InputSpec, ...], after: tuple[InputSpec, ...]) -> set[At]:
    """Paths of the recipe whose value the surgery replaced."""
    return {
        ("inputs", index, key)
        for index, (old, new) in enumerate(zip(before, after, strict=True))
        for key in ("name", "color", "mean", "std")
        if getattr(old, key) != getattr(new, key)
    }
