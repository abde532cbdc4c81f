"""Find the settings with which a network keeps its answers at 8 bits, and tell what each of them is worth.

One thing after the other: equalization, bias correction, finer ranges, rounding, the way ranges are chosen, and last
the tensors of the mixed model. Each is tried for real, on pictures that are compared with the float network, and stays
only where it helps. These pictures are of the calibration; held-out ones judge afterwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from workbench.engine.progress import Progress
from workbench.graph import io, walk
from workbench.quant import finer
from workbench.quant.activations import activations
from workbench.quant.choice import Budget, Choice, Conflict, Step
from workbench.quant.cost import cost
from workbench.quant.mixed import affordable, fewest
from workbench.quant.plan import plan
from workbench.quant.ranges import Range
from workbench.quant.sensitivity import Feed, Judge, Sensitivity, sensitivity
from workbench.quant.trial import Bench, Trial
from workbench.recipe.schema import Quantization

APART = 4.0
"""Branches of a Concat whose ranges differ by more than this factor are in conflict."""

_MEASURED = 8  # judging pictures, evenly spread, for single grids; there are hundreds to try
_ROUNDS = 2  # of measuring and splitting; what is split once shows what was hidden behind it
_SPENT = 0.9  # of the multiplications; what is left then is not worth measuring every grid again
_METHODS = ("Percentile", "MSE", "KL")
_CLEARLY = 1e-3  # of cosine: what a calibration method has to gain; less is the luck of a few pictures
_TIE = 1e-4  # of cosine: less than a few pictures can tell
_SHOWN, _NOTHING = 24, 1e-4  # tensors that are told with their losses, and a loss that is not worth it


def search(
    model: ir.Model,
    samples: Sequence[Feed],
    judging: Sequence[Feed],
    judge: Judge,
    base: Quantization,
    budget: Budget,
    *,
    labels: Sequence[str] = (),
    progress: Progress,
    partial: Path | None = None,
) -> Choice:
    """The settings to write into the recipe of `model`; apart from the seconds the same on every run.

    Args:
        model: the canonical float graph; unchanged but for inferred shapes.
        samples: the calibration pictures, each {input: array}.
        judging: pictures that answers are compared on, easy ones, then hard ones; none of those that judge the recipe.
        judge: makes the float answers to `judging` ready to be compared with.
        base: the recipe's section; what the search does not decide stays as it is.
        budget: how far to go.
        labels: what to call the samples in errors, in their order.
        progress: told every step.
        partial: a folder of this very search that keeps what is done, so that it goes on after an interruption.

    Raises:
        ToolError, UnsupportedError: as `workbench.quant.bake.bake`.
    """
    seeded = io.not_deployable(model)
    if seeded:
        return _untuned(base, budget, seeded)
    data = io.to_bytes(model)
    bench = Bench(data, samples, judging, judge, labels=labels, progress=progress, partial=partial)
    return _Search(bench, base, budget, progress, partial).run()


class _Search:
    """The settings so far, what they reach, and the story of how they came about."""

    def __init__(
        self, bench: Bench, base: Quantization, budget: Budget, progress: Progress, partial: Path | None
    ) -> None:
        self._bench = bench
        self._budget = budget
        self._progress = progress
        self._partial = partial
        self._settings = base.model_copy(update={**_OFF, "u16": ()})
        self._steps: list[Step] = []
        self._left: list[str] = []
        self._reached = 0.0
        self._losses: dict[str, float] = {}  # by grid as measured first
        self._measured: tuple[Sensitivity, ...] = ()  # of the mixed model

    def run(self) -> Choice:
        """All steps."""
        self._try("plain")
        conflicts = tuple(_conflicts(io.from_bytes(self._bench.model), self._bench.baked(self._settings).ranges))
        self._try("equalize", equalize=True)
        self._try("correct_bias", correct_bias=True)
        self._refine()
        self._once_more()
        if self._budget.rounding:
            self._try("rounding", rounding="optimal")
        else:
            self._left.append("rounding: not tried; it is the slowest step and has to be asked for")
        self._calibration()
        self._mixed()
        return Choice(
            _section(self._settings), True, tuple(self._steps), conflicts, tuple(self._sensitive()), tuple(self._left)
        )

    def _try(self, name: str, since: float | None = None, **changes: object) -> bool:
        """Take `changes` into the settings when they do better; tell about it either way."""
        start = time.perf_counter() if since is None else since
        settings = self._settings.model_copy(update=changes)
        trial = self._bench.try_out(settings)
        # Free and exact in float, or nearly: where the pictures cannot tell, other pictures may gain by it.
        slack = _TIE if name in ("equalize", "correct_bias") else 0.0
        better = not self._steps or trial.cosine > self._reached - slack
        self._tell(name, trial, time.perf_counter() - start, kept=better)
        if better:
            self._settings, self._reached = settings, trial.cosine
        else:
            self._left.append(f"{name}: cosine {trial.cosine:.6f} instead of {self._reached:.6f}, so it is off")
        return better

    def _tell(self, name: str, trial: Trial, seconds: float, *, kept: bool) -> None:
        step = Step(
            name,
            round(trial.cosine, 6),
            round(trial.worst, 6),
            None if trial.within_5 is None else round(trial.within_5, 6),
            round(seconds, 1),
            round(100 * trial.macs, 2),
            round(100 * trial.u16, 2),
            kept,
        )
        self._steps.append(step)
        joints = "" if step.within_5 is None else f", {step.within_5:.1%} of the joints within 5 %"
        self._progress.note(f"{name}: cosine {step.cosine:.4f}, worst {step.worst:.3f}{joints}")

    def _refine(self) -> None:
        """Split ranges and unroll sums, measured anew after the first time."""
        budget = int(self._budget.macs * self._bench.macs)
        goal = 1 - self._budget.int8
        found: finer.Candidates | None = None
        chosen = finer.Finer()
        for _ in range(_ROUNDS):
            if self._reached >= self._budget.int8:
                return
            start = time.perf_counter()
            exact = self._settings.model_copy(update={"correct_bias": False, "rounding": "nearest"})
            baked = self._bench.baked(exact)
            measured = self._measure(baked.model, baked.ranges)
            if found is None:
                self._losses = {one.tensor: one.loss for one in measured}
                found = finer.candidates(baked.model)
            more = finer.choose(found, measured, goal=goal, budget=budget, before=chosen)
            if (more.split, more.unroll) == (chosen.split, chosen.unroll):
                if not chosen.macs:
                    self._left.append("split: no range that can be split, and no sum, is worth its multiplications")
                break
            if not self._try("split", start, split=dict(more.split), unroll=more.unroll):
                break
            chosen = more
            if chosen.macs > _SPENT * budget:
                break
        if self._reached < self._budget.int8:
            self._left.append(
                f"split: cosine {self._reached:.4f} of the goal {self._budget.int8:.4f}; finer ranges use"
                f" {chosen.macs / max(self._bench.macs, 1):.1%} of the {self._budget.macs:.0%} more multiplications"
            )

    def _once_more(self) -> None:
        """Try again what did not help as long as a few tensors drowned everything else."""
        if self._settings.split or self._settings.unroll:
            for name in ("equalize", "correct_bias"):
                if not getattr(self._settings, name) and self._try(name, **{name: True}):
                    self._left = [text for text in self._left if not text.startswith(f"{name}: cosine")]

    def _calibration(self) -> None:
        """Try the other ways to choose ranges, for the whole network."""
        if self._settings.method != "MinMax":
            self._left.append(f"method: {self._settings.method}, as the recipe has it")
            return
        start = time.perf_counter()
        tried = {}
        for done, method in enumerate(_METHODS):
            self._progress.step(done, len(_METHODS), "calibration methods")
            tried[method] = self._bench.try_out(self._settings.model_copy(update={"method": method}))
        self._progress.step(len(_METHODS), len(_METHODS), "calibration methods")
        best = max(_METHODS, key=lambda method: tried[method].cosine)
        if tried[best].cosine >= self._reached + _CLEARLY:
            self._try("method", start, method=best)
        else:
            told = ", ".join(f"{method} {trial.cosine:.4f}" for method, trial in tried.items())
            self._left.append(
                f"method: {told}; MinMax has {self._reached:.4f}, and a few pictures cannot tell less than {_CLEARLY}"
            )

    def _mixed(self) -> None:
        """Find the tensors at 16 bits."""
        start = time.perf_counter()
        if not self._budget.u16:
            self._left.append("mixed: not tried; no tensor may be at 16 bits")
            return
        eight = self._bench.try_out(self._settings)
        if eight.cosine >= self._budget.mixed:
            self._left.append("mixed: 8 bits reach its goal; no tensor needs 16")
            return
        baked = self._bench.baked(self._settings)
        self._measured = self._measure(baked.model, baked.ranges)
        tensors = cost(baked.model, plan(baked.model, baked.ranges)).tensors
        order = affordable(self._measured, tensors, self._budget.u16)
        asked = 0

        def reached(names: tuple[str, ...]) -> float:
            nonlocal asked
            asked += 1
            self._progress.step(asked, None, "choices of 16-bit tensors tried")
            settings = self._settings.model_copy(update={"u16": _in_order(names, self._measured)})
            return self._bench.try_out(settings).cosine

        chosen = _in_order(fewest(order, reached, self._budget.mixed), self._measured)
        settings = self._settings.model_copy(update={"u16": chosen})
        trial = self._bench.try_out(settings)
        self._tell("mixed", trial, time.perf_counter() - start, kept=bool(chosen))
        if not chosen:
            self._left.append("mixed: no choice of 16-bit tensors within the budget gains anything")
        elif trial.cosine < self._budget.mixed:
            self._left.append(f"mixed: cosine {trial.cosine:.4f} of the goal {self._budget.mixed:.4f}")
        self._settings = settings

    def _measure(self, model: ir.Model, ranges: Mapping[str, Range]) -> tuple[Sensitivity, ...]:
        bench = self._bench
        some = bench.judging[:: max(1, len(bench.judging) // _MEASURED)]
        return sensitivity(model, ranges, some, bench.judge, progress=self._progress, partial=self._partial)

    def _sensitive(self) -> Iterator[tuple[str, float, str]]:
        """What was measured on the equalized graph and is split, unrolled or large; then what is at 16 bits."""
        settings = self._settings
        actions = {name: f"split into {parts}" for name, parts in settings.split.items()}
        actions |= dict.fromkeys(settings.unroll, "unrolled")
        actions |= dict.fromkeys(settings.u16, "16 bits in the mixed model")
        losses = self._losses | {one.tensor: one.loss for one in self._measured if one.tensor not in self._losses}
        ranked = sorted(losses, key=lambda name: (-losses[name], name))
        shown = [
            name for index, name in enumerate(ranked) if name in actions or (index < _SHOWN and losses[name] > _NOTHING)
        ]
        for name in shown:
            yield name, losses[name], actions.get(name, "left at 8 bits")


_OFF: dict[str, object] = {
    "equalize": False,
    "correct_bias": False,
    "rounding": "nearest",
    "split": {},
    "unroll": (),
}


def _untuned(base: Quantization, budget: Budget, reason: str) -> Choice:
    """The settings that no measurement has to decide."""
    settings = base.model_copy(
        update={**_OFF, "equalize": True, "correct_bias": True, "u16": ()}
        | ({"rounding": "optimal"} if budget.rounding else {})
    )
    return Choice(
        _section(settings),
        False,
        left=(f"untuned: {reason}; figures on these would mean nothing, so that nothing was measured",),
    )


def _section(settings: Quantization) -> dict[str, object]:
    """`settings` as the recipe's section, without what nobody asked for."""
    default = Quantization()
    always = ("method", "equalize", "correct_bias", "rounding")
    found = settings.model_dump(mode="json")
    asked = [key for key in found if getattr(settings, key) != getattr(default, key)]
    return {key: value for key, value in found.items() if key in always or key in asked}


def _conflicts(model: ir.Model, ranges: Mapping[str, Range]) -> Iterator[Conflict]:
    """The Concats of activations whose ranges are far apart; a branch of zeros is in nobody's way."""
    values = activations(model)
    for node in walk.nodes(model.graph, "Concat"):
        names = [str(value.name) for value in node.inputs if value is not None and value.name in values]
        branches = [(name, max(abs(ranges[name].low), abs(ranges[name].high))) for name in names if name in ranges]
        highs = [high for _, high in branches if high > 0]
        if len(highs) > 1 and max(highs) > APART * min(highs) and math.isfinite(max(highs)):
            yield Conflict(str(node.outputs[0].name), tuple(branches))


def _in_order(names: Sequence[str], measured: Sequence[Sensitivity]) -> tuple[str, ...]:
    """`names` in graph order, so that one choice has one key."""
    return tuple(one.tensor for one in measured if one.tensor in set(names))
