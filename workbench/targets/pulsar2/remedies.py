"""Which surgery pass mends which finding; a verdict says ``rewrite`` only where a run of the pass has proved it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir
from pydantic import TypeAdapter, ValidationError

from workbench import catalog
from workbench.errors import WorkbenchError
from workbench.graph import shapes
from workbench.surgery._pass import Edits, Pass, as_yaml
from workbench.targets.pulsar2.findings import Finding, Report
from workbench.targets.pulsar2.lint import lint

Call = tuple[str, Mapping[str, Any]]
Key = tuple[str, str, str]

_MOST = 64  # passes for one graph: each makes it better, so this is never reached but by a graph made to

# (operator, attribute) of a finding, where * stands for any: the passes that may mend it, the first that does wins.
# A pass that would need others to come after it is given with them.
OFFERS: Mapping[tuple[str, str], tuple[tuple[Call, ...], ...]] = {
    ("input", "shape"): ((("static_batch", {}),),),
    ("*", "auto_pad"): ((("explicit_padding", {}),),),
    ("*", "type"): ((("narrow_indices", {}),),),
    ("*", "ranges"): ((("split_outputs", {}),),),
    ("*", "operand"): ((("remove_identity_arithmetic", {}),),),
    ("AveragePool", "count_include_pad"): ((("average_pool_padding", {}),),),
    ("MaxPool", "dilations"): ((("max_pool_dilation", {}),),),
    ("Resize", "nearest_mode"): ((("resize_nearest", {}),),),
    ("Resize", "mode"): ((("resize_cubic", {}),),),
    ("Resize", "sizes"): ((("resize_nearest", {}),), (("resize_cubic", {}),)),
    ("Resize", "antialias"): ((("resize_cubic", {}),),),
    ("Resize", "coordinate_transformation_mode"): ((("resize_nearest", {}),), (("resize_cubic", {}),)),
    ("PRelu", "slope"): ((("prelu_slope", {}),),),
    ("Gemm", "alpha"): ((("fold_gemm_scale", {}),),),
    ("Gemm", "beta"): ((("fold_gemm_scale", {}),),),
    ("Pow", "Y"): ((("expand_pow", {}),),),
    ("Pad", "axes"): ((("pad_every_axis", {}),),),
    ("Gather", "indices"): ((("flat_gather", {}),),),
    ("ConvTranspose", "dilations"): ((("conv_transpose_limits", {}),),),
    ("ConvTranspose", "output_padding"): ((("conv_transpose_limits", {}),),),
    ("ConvTranspose", "output_shape"): ((("conv_transpose_limits", {}),),),
    ("Cast", "to"): ((("narrow_indices", {}),),),
    ("DepthToSpace", "mode"): ((("depth_to_space", {}),),),
    ("LayerNormalization", "axis"): ((("layer_norm_axis", {}),),),
    ("BatchNormalization", "operator"): ((("fold_batchnorm", {}),),),
    ("LpNormalization", "axis"): ((("replace_missing", {"operators": ["LpNormalization"]}),),),
    ("Mod", "operator"): ((("decompose_mod", {}),),),
    ("LRN", "operator"): ((("decompose_lrn", {}),),),
    ("GroupNormalization", "operator"): ((("decompose_group_norm", {}),),),
}


@dataclass(frozen=True)
class Remedy:
    """One pass that was run.

    Attributes:
        line: as a recipe's surgery has it.
        edits: what it did.
    """

    name: str
    line: str
    edits: Edits


@dataclass(frozen=True)
class Treatment:
    """A graph before and after the passes that mend it.

    Attributes:
        before: the check of the graph as it is; what a pass mends has the verdict ``rewrite``.
        remedies: the passes, in their order.
        model: the graph after them; the same object as before when there was nothing to do.
        after: the check of that graph.
    """

    before: Report
    remedies: tuple[Remedy, ...]
    model: ir.Model
    after: Report


def treat(model: ir.Model, chip: str) -> Treatment:
    """Check `model`, which is not changed, and find the passes that mend what is wrong by running them on a copy.

    A pass counts when it leaves fewer nodes blocked, or as many and fewer for a person to judge, and blocks no other.

    Raises:
        RecipeError: there is no such chip.
        UnsupportedError: it is no valid graph.
    """
    before = now = lint(model, chip)
    current = _complete(model) if before.findings else model
    remedies: list[Remedy] = []
    mended: dict[int, tuple[str, ...]] = {}
    keys: dict[int, Key] = {index: one.key for index, one in enumerate(before.findings)}
    while len(remedies) < _MOST:
        found = _next(current, chip, now)
        if found is None:
            break
        current, now, done = found
        remedies += done
        for remedy in done:
            keys = {index: _follow(key, remedy.edits) for index, key in keys.items()}
        still = {one.key for one in now.findings}
        for index in [index for index, key in keys.items() if key not in still]:
            mended[index] = tuple(remedy.line for remedy in done)
            del keys[index]
    if not remedies:
        return Treatment(before, (), model, before)
    findings = tuple(one.mended(mended[index]) if index in mended else one for index, one in enumerate(before.findings))
    return Treatment(replace(before, findings=findings), tuple(remedies), current, now)


def _complete(model: ir.Model) -> ir.Model:
    """A copy that shares the weights; outputs without a shape, which passes do not take, get the inferred one."""
    copy = model.clone()
    if any(value.shape is None for value in copy.graph.outputs):
        shapes.refresh(copy)
    return copy


def _next(model: ir.Model, chip: str, now: Report) -> tuple[ir.Model, Report, list[Remedy]] | None:
    """The graph after the first offer that makes it better; None when none does."""
    tried = set()
    for finding in now.findings:
        for offer in _offers(finding, now):
            steps = [step for call in offer if (step := _step(*call)) is not None]
            lines = tuple(as_yaml(step) for step in steps)
            if len(steps) < len(offer) or lines in tried:
                continue
            tried.add(lines)
            copy = model.clone()
            try:
                done = [Remedy(step.name(), as_yaml(step), step(copy)) for step in steps]
            except WorkbenchError:  # it cannot be done on this graph: the next offer
                continue
            if not any(remedy.edits for remedy in done):
                continue
            after = lint(copy, chip)
            if _better(now, after):
                return copy, after, [remedy for remedy in done if remedy.edits]
    return None


def _better(before: Report, after: Report) -> bool:
    blocked = {one.key for one in before.of("blocked")}
    if any(one.key not in blocked for one in after.of("blocked")):
        return False
    return _score(after) < _score(before)


def _score(report: Report) -> tuple[int, int]:
    return len(report.of("blocked")), len(report.of("by hand"))


def _offers(finding: Finding, report: Report) -> Iterator[tuple[Call, ...]]:
    """The passes that may mend `finding`, and others of the `report` with it, best first."""
    operator, attribute = finding.operator, finding.attribute
    if finding.found == "not written":
        bare = dict.fromkeys(one.operator for one in report.findings if one.found == finding.found)
        yield (("explicit_attributes", {"operators": list(bare)}),)
    yield from OFFERS.get((operator, attribute), ())
    yield from OFFERS.get(("*", attribute), ())
    if attribute == "operator" and finding.verdict == "blocked":
        for name in ("decompose_activations", "replace_missing"):
            yield ((name, {"operators": [operator]}),)
    if finding.verdict == "blocked":
        yield (("remove_dead_outputs", {}),)  # what nothing reads needs no chip


def _step(name: str, options: Mapping[str, Any]) -> Pass | None:
    """The pass `name`; None when there is none that takes these options."""
    if name not in catalog.names("pass"):
        return None
    kind: Any = catalog.load("pass", name).PASS
    try:
        step: Pass = TypeAdapter(kind).validate_python(dict(options))
    except ValidationError:
        return None
    return step


def _follow(key: Key, edits: Edits) -> Key:
    tensor, operator, attribute = key
    return edits.renamed.get(tensor, tensor), operator, attribute
