"""The screen a search ends with: branches in conflict, what each step gained, what is left, what to write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from rich.console import Console

    from workbench.quant.choice import Budget
    from workbench.recipe.schema import Recipe

Choice = Mapping[str, Any]
"""What a search found, as ``search.json`` has it."""

HONEST = (
    "These figures come from calibration pictures, some of them cut to hard parts, and from an emulation: it foresees"
    " what ranges and weights lose at 8 bits, not how a chip rounds. Held-out pictures judge in workbench convert."
)
_CONFLICTS = 3  # shown; json has all
_SENSITIVE = 3
_NAMES = 44  # characters of a tensor's name, whose end tells most
# A column is left out where the terminal is narrower.
_COLUMNS = (
    ("step", "left", 0),
    ("cosine", "right", 0),
    ("gain", "right", 0),
    ("worst", "right", 40),
    ("joints within 5 %", "right", 64),
    ("MACs", "right", 72),
    ("16 bits", "right", 80),
    ("time", "right", 50),
)
_STEPS = {
    "plain": "as it came",
    "equalize": "equalize",
    "correct_bias": "correct_bias",
    "split": "split, unroll",
    "rounding": "rounding",
    "method": "method",
    "mixed": "u16 (mixed model)",
}


def budgets(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how far a search may go; they arrive as the arguments of `budget`."""
    for option in (
        click.option(
            "--mixed-goal",
            type=_options.Number(0, 1),
            metavar="COSINE",
            help="The same for the model with some tensors at 16 bits.  [default: 0.998]",
        ),
        click.option(
            "--goal",
            type=_options.Number(0, 1),
            metavar="COSINE",
            help="Search no further once the 8-bit model reaches this on calibration pictures.  [default: 0.998]",
        ),
        click.option(
            "--u16",
            type=_options.Number(0, 100),
            default=10,
            show_default=True,
            metavar="PERCENT",
            help="Activation tensors that the mixed model may have at 16 bits; 0 for no mixed model.",
        ),
        click.option(
            "--macs",
            type=_options.Number(0, 1000),
            default=10,
            show_default=True,
            metavar="PERCENT",
            help="Multiplications that finer ranges may add.",
        ),
        click.option(
            "--rounding/--no-rounding",
            default=False,
            show_default=True,
            help="Also try to choose how each weight is rounded: minutes more.",
        ),
    ):
        command = option(command)
    return command


def budget(*, macs: float, u16: float, rounding: bool, goal: float | None, mixed_goal: float | None) -> Budget:
    """The options of `budgets` as the search takes them."""
    from workbench.quant.choice import Budget

    goals = {"int8": goal, "mixed": mixed_goal}
    return Budget(
        macs=macs / 100, u16=u16 / 100, rounding=rounding, **{key: one for key, one in goals.items() if one is not None}
    )


def limits(choice: Choice, recipe: Recipe) -> dict[str, float]:
    """The limits that the recipe lacks for what the settings make: a little below what was measured."""
    from workbench.recipe.rewrite import limit_below

    reached = _reached(choice)
    wanted = ["int8", *(["mixed"] if choice["quantization"].get("u16") else [])]
    return {name: limit_below(reached[name]) for name in wanted if name in reached and name not in recipe.parity.limits}


def suggestion(choice: Choice, recipe: Recipe) -> str:
    """What could be said of a limit that the 8-bit model now leaves far behind; empty when there is nothing to say."""
    from workbench.recipe.rewrite import limit_below

    limit = recipe.parity.limits.get("int8")
    reached = _reached(choice).get("int8")
    if limit is None or limit.cosine is None or reached is None or limit_below(reached) <= limit.cosine:
        return ""
    return (
        f"the limit int8: {{cosine: {limit.cosine:g}}} could then be raised to {limit_below(reached):g},"
        " once convert has confirmed it"
    )


def show(name: str, choice: Choice, console: Console) -> None:
    """Print everything but the lines to add."""
    from rich.markup import escape
    from rich.padding import Padding

    from workbench.cli._display import table

    def item(text: str) -> None:
        console.print(Padding(escape(text), (0, 0, 0, 2), expand=False))

    console.print()
    if not choice.get("tuned", True):
        console.print(f"[bold]{escape(name)}[/]  [bold red]NOT TUNED[/]")
    if choice["conflicts"]:
        console.print(f"[bold]{escape(name)}: branches that meet with different ranges[/] (largest value of each)")
        for line in _conflicts(choice["conflicts"]):
            item(line)
        console.print()
    if choice["steps"]:
        kept = [index for index, column in enumerate(_COLUMNS) if console.width >= column[2]]
        columns = [_COLUMNS[index][:2] for index in kept]
        rows = [[row[index] for index in kept] for row in _rows(choice["steps"])]
        console.print(table(f"{escape(name)}: what each step gained", columns, rows))
    exposed = [one for one in choice["sensitive"] if one["action"].startswith("left")][:_SENSITIVE]
    if exposed:
        told = ", ".join(f"{_short(one['tensor'])} ({one['loss']:.3g})" for one in exposed)
        console.print(f"most is lost, of what stays at 8 bits, in {escape(told)}")
    if choice["left"]:
        console.print("[bold]what is left[/]")
        for text in choice["left"]:
            item(text)
    if choice["steps"]:
        console.print(HONEST)


def remark(choice: Choice) -> str:
    """What a recipe says of settings that nothing was measured for."""
    return "" if choice.get("tuned", True) else "untuned: the published weights were not at hand"


def show_lines(choice: Choice, added: Mapping[str, float], console: Console) -> None:
    """Print what to write into the recipe, unwrapped, to be copied."""
    from workbench.recipe.rewrite import lines

    console.print()
    for line in lines(choice["quantization"], remark(choice)):
        console.print(line, markup=False, soft_wrap=True)
    if added:
        console.print("\nand under parity.limits:")
        for precision, cosine in added.items():
            console.print(f"    {precision}: {{cosine: {cosine:g}}}", markup=False, soft_wrap=True)


def _reached(choice: Choice) -> dict[str, float]:
    """The cosine that the settings reached, by precision."""
    found: dict[str, float] = {}
    for step in choice["steps"]:
        if step.get("kept", True):
            found["mixed" if step["name"] == "mixed" else "int8"] = float(step["cosine"])
    return found


def _conflicts(conflicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The worst ones first, one line each."""

    def apart(one: Mapping[str, Any]) -> float:
        highs = [high for _, high in one["branches"] if high > 0]
        return max(highs) / min(highs) if highs else 1.0

    ranked = sorted(conflicts, key=lambda one: (-apart(one), one["tensor"]))
    lines = []
    for one in ranked[:_CONFLICTS]:
        branches = " | ".join(f"{_short(name)} {high:.3g}" for name, high in one["branches"])
        lines.append(f"{_short(one['tensor'])}, {apart(one):.0f} times apart: {branches}")
    if len(ranked) > _CONFLICTS:
        lines.append(f"and {len(ranked) - _CONFLICTS} more")
    return lines


def _rows(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    before: float | None = None
    for step in steps:
        kept = step.get("kept", True)
        joints = step["within_5"]
        gain = "" if before is None else f"{step['cosine'] - before:+.4f}"
        rows.append(
            (
                _STEPS.get(step["name"], step["name"]) + ("" if kept else " (off)"),
                f"{step['cosine']:.4f}",
                gain,
                f"{step['worst']:.3f}",
                "" if joints is None else f"{100 * joints:.1f} %",
                f"{step['macs_percent']:+.1f} %" if step["macs_percent"] else "",
                f"{step['u16_percent']:.1f} %" if step["u16_percent"] else "",
                f"{step['seconds']:.0f} s",
            )
        )
        before = step["cosine"] if kept else before
    return rows


def _short(name: str) -> str:
    return name if len(name) <= _NAMES else f"...{name[3 - _NAMES :]}"
