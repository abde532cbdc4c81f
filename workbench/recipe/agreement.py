"""What no single key of a recipe can know: names used twice, parts that need each other."""

from __future__ import annotations

from workbench import catalog
from workbench.errors import RecipeError
from workbench.recipe.complaints import dotted
from workbench.recipe.schema import InputSpec, OutputSpec, Precision, Recipe
from workbench.recipe.yaml_marks import At, Marks

_LIMITS: dict[Precision, str] = {
    "float": "add float: {max_abs: 1e-4}",
    "fp16": "add fp16: {cosine: 0.999}",
    "int8": "add int8: {cosine: 0.98}",
    "int16x8": "add int16x8: {cosine: 0.98}",
    "mixed": "add mixed: {cosine: 0.99}",
    "axmodel": "add axmodel: {cosine: 0.98}",
}


def across_keys(recipe: Recipe, marks: Marks) -> list[RecipeError]:
    """Every mistake of this kind; a call without a name was complained about already and is passed over."""
    errors = []

    def complain(at: At, what: str, fix: str) -> None:
        errors.append(RecipeError(f"{dotted(at)}: {what}", where=marks.where(at), fix=fix, at=at))

    seen: dict[str, str] = {}
    specs: list[tuple[At, InputSpec | OutputSpec]] = []
    specs += [(("inputs", index), spec) for index, spec in enumerate(recipe.inputs)]
    specs += [(("outputs", index), spec) for index, spec in enumerate(recipe.outputs)]
    for at, spec in specs:
        if spec.name in seen:
            complain((*at, "name"), f"{spec.name!r} is also the name of {seen[spec.name]}", "rename one")
        seen[spec.name] = dotted(at)
    read: dict[str, int] = {}
    for index, one in enumerate(recipe.inputs):
        if one.source_tensor in read:
            what = f"{one.source_tensor!r} is also the tensor of inputs[{read[one.source_tensor]}]"
            complain(("inputs", index, "tensor"), what, "name the source's tensor of each input")
        read[one.source_tensor] = index
    if len({spec.shape[0] for _, spec in specs}) > 1:
        complain(("outputs", 0, "shape"), "inputs and outputs disagree on the batch size", "use one batch size")
    if recipe.source.name not in ("", "torch"):
        if recipe.weights is None:
            at = ("weights",) if marks.knows(("weights",)) else ("source", "kind")
            complain(at, f"a {recipe.source.name} graph needs its file", "add a weights section")
        elif recipe.weights.otherwise == "seeded":
            fix = "remove otherwise: seeded"
            complain(("weights", "otherwise"), "only a torch network can be built without its file", fix)
    if recipe.weights is not None and recipe.weights.url is None and recipe.weights.page is None:
        complain(("weights",), "nobody can find this file", "add url, or page where a person downloads it")
    if not recipe.targets:
        complain(("targets",), "no target, so nothing would be written", "add onnx, tflite or pulsar2")
    for precision, what in _judged(recipe).items():
        if precision not in recipe.parity.limits:
            complain(("parity", "limits"), what, _LIMITS[precision])
    return errors


def _judged(recipe: Recipe) -> dict[Precision, str]:
    """Every precision that parity will judge, with what to say when it has no limit."""
    judged: dict[Precision, str] = {"float": "the float artifacts have no limit"}
    if recipe.quantization is not None:
        judged["int8"] = "the INT8 model has no limit"
        if recipe.quantization.u16:
            judged["mixed"] = "quantization.u16 makes a mixed model, which has no limit"
    for call in recipe.targets:
        if call.name:
            for precision in sorted(catalog.load("target", call.name).precisions(call.options)):
                judged.setdefault(precision, f"targets.{call.name} writes {precision}, which has no limit")
    return judged
