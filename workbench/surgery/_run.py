"""Run a recipe's passes in order, and keep the account of what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from workbench.engine.progress import Progress
from workbench.errors import WorkbenchError
from workbench.recipe.schema import InputSpec
from workbench.surgery import _preprocess
from workbench.surgery._pass import Edits, Pass


@dataclass(frozen=True)
class Surgery:
    """What all passes together did.

    Attributes:
        log: each pass by name with its edits, in the order they ran.
        inputs: how a picture becomes each input of the graph now: NCHW, with the preprocessing that left the graph.
    """

    log: tuple[tuple[str, Edits], ...]
    inputs: tuple[InputSpec, ...]

    def now_called(self, name: str) -> str | None:
        """What the tensor `name` of the first graph is called in the last; None when a pass removed it."""
        for _, edits in self.log:
            if name in edits.removed:
                return None
            name = edits.renamed.get(name, name)
        return name

    def __bool__(self) -> bool:
        return any(edits for _, edits in self.log)


def run_passes(
    model: ir.Model, passes: Sequence[tuple[str, Pass]], inputs: tuple[InputSpec, ...], *, progress: Progress
) -> Surgery:
    """Run `passes` on `model`, which is changed in place.

    Args:
        model: float32, NCHW.
        passes: name and pass, in the recipe's order.
        inputs: the recipe's inputs; they describe `model` before.
        progress: gets one step a pass and a line on what it did.

    Raises:
        RecipeError: an option names what the graph does not have; `at` says which option of the recipe.
        UnsupportedError: a pass cannot be done on this graph. The model is to be thrown away then.
    """
    log = []
    for index, (name, step) in enumerate(passes):
        progress.step(index, len(passes), name)
        try:
            edits = step(model)
            inputs = _preprocess.follow(inputs, edits)
        except WorkbenchError as error:
            # A pass knows its own options only; where it stands in the recipe is known here.
            error.at = ("surgery", index, name, *(error.at or ()))
            raise
        log.append((name, edits))
        progress.note(account(name, edits))
    if passes:
        progress.step(len(passes), len(passes), "surgery")
    return Surgery(tuple(log), tuple(_preprocess.canonical(spec, model) for spec in inputs))


def account(name: str, edits: Edits) -> str:
    """One line on what a pass did: ``fold_pad: 3 changed, 1 left alone``."""
    parts = [f"{len(edits.changed)} changed" if edits else "nothing to change"]
    if edits.left:
        parts.append(f"{len(edits.left)} left alone")
    return f"{name}: {', '.join(parts)}"
