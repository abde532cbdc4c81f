"""Read this first: the ordered stages, from a recipe to checked artifacts.

    fetch > pictures > export > simplify > surgery > check > bake > calibrate > quantize > targets > parity > report
          > publish

`plan` checks every name and says what would run and why; `convert` runs it. A stage sees its slice of the recipe, the
folders of the steps it needs and an empty folder of its own; only this file knows them all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import catalog
from workbench.calib.pictures import fingerprint
from workbench.calib.sets import PictureSet, find_pictures
from workbench.engine.progress import Silent
from workbench.engine.runner import Outlook, Reporter, outlook, run
from workbench.engine.stage import OutsideFile, Step, digest
from workbench.engine.store import Store, default_home
from workbench.errors import RecipeError, RecipeErrors, WorkbenchError
from workbench.pose.skeletons import skeleton
from workbench.quant.choice import Budget
from workbench.recipe.load import LoadedRecipe
from workbench.recipe.schema import Quantization, Recipe
from workbench.runtimes.pulsar2_tool import missing
from workbench.stages import (
    _failed,
    _swap,
    bake,
    calibrate,
    export,
    fetch,
    parity,
    pictures,
    publish,
    quantize,
    report,
    search,
    simplify,
    surgery,
    target,
)
from workbench.stages import check as checking
from workbench.stages._weights import Weights
from workbench.stages.publish import Outcome

_DRAWN = "pictures"  # folder of the store for drawn people


@dataclass(frozen=True)
class Request:
    """How a user asked for a conversion.

    Attributes:
        weights: a file that is used instead of looking for one.
        require: artifact kinds whose absence is an error, e.g. ``("axmodel",)``.
        require_weights: real weights or an error.
        dist: where results are published.
        mirrors: folders that may hold weights files.
    """

    weights: Path | None = None
    require: tuple[str, ...] = ()
    require_weights: bool = False
    dist: Path = Path("dist")
    mirrors: tuple[Path, ...] = ()


def mirrors_of_environment() -> tuple[Path, ...]:
    """The folders of ``WORKBENCH_MIRROR``, which is a list like PATH."""
    return tuple(Path(part) for part in os.environ.get("WORKBENCH_MIRROR", "").split(os.pathsep) if part)


def store_of_environment() -> Store:
    """The store in ``WORKBENCH_HOME`` or the user's cache."""
    return Store(default_home())


def plan(loaded: LoadedRecipe, request: Request, store: Store) -> tuple[Weights | None, list[Outlook]]:
    """Where the weights are (None: they must be fetched first) and, per step, why it would run. Nothing is run.

    Raises:
        WorkbenchError: something the recipe names does not exist.
    """
    with located(loaded):
        check(loaded, store)
        found = fetch.look(
            loaded,
            given=request.weights,
            mirrors=request.mirrors,
            home=store.home,
            progress=Silent(),
            keep=False,
        )
        return found, outlook(steps(loaded, found, store), store, _key(loaded))


def convert(loaded: LoadedRecipe, request: Request, store: Store, reporter: Reporter) -> Outcome:
    """Run every stage that has no result yet and publish ``<dist>/<recipe>/``.

    Raises:
        WorkbenchError: anything a user can mend; finished stages stay in the store, so the next run continues.
    """
    with located(loaded):
        check(loaded, store)
        _check_requirements(loaded.recipe, request)
        _swap.check(loaded.recipe.name, request.dist)
        found = _weights(loaded, request, store, reporter)
        planned = steps(loaded, found, store)

        def attempt() -> Outcome:
            done = run(planned, store, _key(loaded), reporter)
            return publish.publish(loaded.recipe, found, done, request.dist, reporter)

        try:
            return attempt()
        except _swap.DamagedError as error:
            stage = str(error)
            reporter.warn(f"the cached result of {stage} was damaged: it is made again")
            store.discard(digest(next(step for step in planned if step.name == stage)))
            return attempt()
        except WorkbenchError as error:
            _failed.keep(error, loaded.recipe.name, store, request.dist, reporter)
            raise


def tune(loaded: LoadedRecipe, request: Request, store: Store, reporter: Reporter, budget: Budget) -> Mapping[str, Any]:
    """Search the quantization settings of a recipe within `budget`; the steps before it run as in `convert`.

    Returns:
        what ``search.json`` says: see `workbench.quant.search.Choice`. Its ``quantization`` is the section to write.

    Raises:
        WorkbenchError: as `convert`. What is done stays in the store, so that the next run goes on.
    """
    with located(loaded):
        check(loaded, store)
        found = _weights(loaded, request, store, reporter)
        recipe = loaded.recipe
        if recipe.quantization is not None and recipe.quantization.rounding == "optimal":
            budget = replace(budget, rounding=True)  # a second search must not take back what the first has found
        planned = {step.name: step for step in steps(loaded, found, store)}
        before = [planned[name] for name in ("pictures", "export", "simplify", "surgery")]
        settings = search.Settings(
            # What the search decides itself is no reason to search again: after --write the result is still there.
            (recipe.quantization or Quantization()).only("method", "percentile", "pictures"),
            budget,
            tuple(output.name for output in recipe.outputs if output.meaning == "heatmap"),
            len(skeleton(recipe.joints).joints),
        )
        searched = Step(search.STAGE, settings, needs=(planned["pictures"], planned["surgery"]))
        done = run([*before, searched], store, _key(loaded), reporter)
        choice: dict[str, Any] = json.loads((done["search"].files / "search.json").read_text("utf-8"))
        return choice


def _weights(loaded: LoadedRecipe, request: Request, store: Store, reporter: Reporter) -> Weights:
    reporter.begin("fetch")
    return fetch.get(
        loaded,
        given=request.weights,
        mirrors=request.mirrors,
        home=store.home,
        require=request.require_weights,
        progress=reporter,
    )


def picture_set(loaded: LoadedRecipe, store: Store) -> PictureSet:
    """The pictures of a recipe; where the drawn people are not beside the package, they are drawn into the store.

    Raises:
        RecipeError: there are none.
    """
    return find_pictures(loaded.recipe.calibration.pictures, loaded.base, cache=store.home / _DRAWN)


def check(loaded: LoadedRecipe, store: Store) -> None:
    """Hold the recipe's parts against each other and against what is on this machine, before any work.

    Raises:
        RecipeErrors: an unknown skeleton, heat maps that do not fit it, no or too few pictures, what a target refuses;
            all of them.
    """
    errors: list[RecipeError] = []
    for look in (_check_joints, _check_pictures, _check_targets):
        try:
            look(loaded, store)
        except RecipeError as found:
            for error in found.errors if isinstance(found, RecipeErrors) else (found,):
                if not error.where and error.at is not None:
                    error.where = loaded.marks.where(error.at)
                errors.append(error)
    if errors:
        raise RecipeErrors(errors)


def _check_joints(loaded: LoadedRecipe, store: Store) -> None:  # noqa: ARG001 -- the signature of a check
    recipe = loaded.recipe
    joints = skeleton(recipe.joints).joints
    for index, output in enumerate(recipe.outputs):
        channels = output.nchw[1]
        if output.meaning == "heatmap" and channels not in (len(joints), len(joints) + 1):
            raise RecipeError(
                f"outputs[{index}]: {channels} heat maps for the {len(joints)} joints of {recipe.joints}",
                fix=f"{len(joints)} channels, or {len(joints) + 1} with background; is joints right?",
                at=("outputs", index, "shape"),
            )


def _check_pictures(loaded: LoadedRecipe, store: Store) -> None:
    recipe = loaded.recipe
    found = len(picture_set(loaded, store).paths)
    samples, least = recipe.parity.samples, recipe.calibration.least
    if found < samples + least:
        raise RecipeError(
            f"parity.samples: {samples} pictures judge and at least {least} others calibrate, but there are {found}",
            fix="add pictures, or lower parity.samples or calibration.minimum",
            at=("parity", "samples"),
        )


def _check_targets(loaded: LoadedRecipe, store: Store) -> None:  # noqa: ARG001 -- the signature of a check
    for call in loaded.recipe.targets:
        look = getattr(catalog.load("target", call.name), "check", None)
        if look is not None:
            look(call.options, loaded.recipe.inputs)


def steps(loaded: LoadedRecipe, weights: Weights | None, store: Store) -> list[Step]:
    """The steps of a recipe, each after those it needs."""
    recipe = loaded.recipe
    chosen = picture_set(loaded, store)
    pictured = Step(
        pictures.STAGE,
        pictures.Settings(recipe.calibration, recipe.inputs, recipe.parity.samples),
        outside={
            "base": OutsideFile(loaded.base, fingerprint(chosen.paths, chosen.root)),
            "cache": OutsideFile(store.home / _DRAWN, ""),
        },
    )
    exported = Step(
        export.stage(catalog.load("source", recipe.source.name).TOOLS),
        export.Settings(recipe.source, recipe.inputs, recipe.outputs, weights.not_deployable if weights else ""),
        needs=(pictured,),
        outside=_source_files(loaded, weights),
    )
    simplified = Step(simplify.STAGE, simplify.Settings(recipe.inputs), needs=(pictured, exported))
    operated = Step(
        surgery.STAGE, surgery.Settings(recipe.surgery, recipe.inputs), needs=(pictured, exported, simplified)
    )
    planned = [pictured, exported, simplified, operated]
    shown: tuple[Step, ...] = ()
    for options in (call.options for call in recipe.targets if call.name == "pulsar2"):
        shown = (Step(checking.STAGE, checking.Settings(options.chips, options.lint), needs=(operated,)),)
        planned += shown
    ready: tuple[Step, ...] = (pictured, operated)
    if recipe.quantization is not None:
        baked = Step(bake.STAGE, bake.Settings.of(recipe.quantization), needs=(pictured, operated))
        calibrated = Step(
            calibrate.STAGE, calibrate.Settings.of(recipe.quantization), needs=(pictured, operated, baked)
        )
        quantized = Step(quantize.STAGE, quantize.Settings.of(recipe.quantization), needs=(operated, baked, calibrated))
        planned += [baked, calibrated, quantized]
        ready = (*ready, baked, calibrated, quantized)
        shown = (*shown, baked, quantized)
    targets = [
        Step(target.stage(call.name), target.Settings(recipe.name, call, environment(call.name, call.options)), ready)
        for call in recipe.targets
    ]
    judged = Step(
        parity.STAGE,
        parity.Settings(recipe.parity, recipe.inputs, tuple(call.name for call in recipe.targets), recipe.source.name),
        needs=(pictured, exported, simplified, operated, *targets),
    )
    reported = Step(
        report.STAGE,
        _reported(loaded, weights, targets),
        needs=(pictured, simplified, operated, *shown, *targets, judged),
    )
    return [*planned, *targets, judged, reported]


def _reported(loaded: LoadedRecipe, weights: Weights | None, targets: Sequence[Step]) -> report.Settings:
    """What the report tells of the recipe and of this machine; without a folder, so that it is the same elsewhere."""
    recipe = loaded.recipe
    lines = {}
    if any(call.name == "pulsar2" for call in recipe.targets):  # whose configuration is shown with them
        lines = {
            at: place if place.startswith("--set ") else Path(place).name
            for at, place in loaded.marks.values.items()
            if at and at[0] in ("inputs", "calibration", "quantization", "targets")
        }
    return report.Settings(
        recipe.name,
        recipe.about,
        weights.not_deployable if weights else "",
        recipe.targets,
        recipe.inputs,
        recipe.outputs,
        recipe.joints,
        recipe.source.name,
        publish.provenance(recipe, weights) if weights else {},
        publish.versions(step.settings.environment for step in targets),
        recipe.quantization.u16 if recipe.quantization else (),
        tuple(lines.items()),
    )


def environment(name: str, options: object) -> dict[str, str]:
    """What target `name` finds on this machine; part of its key, so that a new toolchain is used."""
    module = catalog.load("target", name)
    look = getattr(module, "environment", None)
    found: dict[str, str] = look(options) if look else {}
    return found


def _source_files(loaded: LoadedRecipe, weights: Weights | None) -> Mapping[str, OutsideFile]:
    """The weights, the recipe's folder, and the code that defines the network."""
    source = loaded.recipe.source
    code = catalog.load("source", source.name).fingerprint(source.options, base=loaded.base)
    files = {"base": OutsideFile(loaded.base, code)}
    if weights is not None and weights.path is not None and weights.sha256 is not None:
        files["weights"] = OutsideFile(weights.path, weights.sha256)
    elif weights is None:
        files["weights"] = OutsideFile(Path(), "not fetched yet")
    return files


def _check_requirements(recipe: Recipe, request: Request) -> None:
    """Fail before the wait when something required cannot be made here."""
    if "axmodel" not in request.require:
        return
    found = [environment(call.name, call.options).get("pulsar2") for call in recipe.targets if call.name == "pulsar2"]
    if not found:
        raise RecipeError(
            f"{recipe.name} has no pulsar2 target, so no axmodel",
            fix="add targets.pulsar2, or drop --require",
            at=("targets",),
        )
    if found == ["not asked for"]:
        raise RecipeError(
            "targets.pulsar2.compile is never, and --require axmodel was given",
            fix="set it to auto, or drop --require",
            at=("targets", "pulsar2", "compile"),
        )
    if found == ["none"]:
        raise missing("and --require axmodel was given")


def _key(loaded: LoadedRecipe) -> str:
    """The name under which the last run of this recipe file is remembered."""
    return f"{loaded.recipe.name}-{hashlib.sha256(str(loaded.path.resolve()).encode()).hexdigest()[:12]}"


class located:  # noqa: N801 -- reads as a word in a with statement
    """Gives errors that name a key of the recipe its file, line and column."""

    def __init__(self, loaded: LoadedRecipe) -> None:
        self._loaded = loaded

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Write the line into a passing error, or into each of several."""
        for one in error.errors if isinstance(error, RecipeErrors) else (error,):
            if isinstance(one, WorkbenchError) and one.at is not None and not one.where:
                one.where = self._loaded.marks.where(one.at)
