"""Choose the fewest tensors at 16 bits that bring a network to its goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.quant.sensitivity import Sensitivity

_ENOUGH = 5e-4  # of cosine: where the goal is out of reach, what is this near to the best that the budget buys
_DROPS = 8  # tensors that are tried without, the least sensitive first; a full evaluation each


def affordable(measured: Sequence[Sensitivity], tensors: int, share: float) -> tuple[str, ...]:
    """Grids in the order in which they are worth 16 bits, by loss for each tensor, as far as `share` goes.

    Args:
        measured: the sensitivities of a network.
        tensors: how many activation tensors it has.
        share: how many of these may be at 16 bits, 0..1; a grid that does not fit any more is left out.
    """
    ranked = sorted(measured, key=lambda one: (-one.loss / len(one.members), one.tensor))
    chosen, used = [], 0
    for one in ranked:
        if one.loss > 0 and used + len(one.members) <= share * tensors:
            chosen.append(one.tensor)
            used += len(one.members)
    return tuple(chosen)


def fewest(order: Sequence[str], reached: Callable[[tuple[str, ...]], float], goal: float) -> tuple[str, ...]:
    """The shortest beginning of `order` that reaches `goal`, without those it does not need.

    Where all of `order` does not reach the goal, the goal is what all of it does reach, less 0.0005.

    Args:
        order: the best first.
        reached: evaluates a choice; the larger the better, nearly always better with more.
        goal: a value of `reached`.
    """
    if reached(()) >= goal:
        return ()
    goal = min(goal, reached(tuple(order)) - _ENOUGH)
    if reached(()) >= goal:
        return ()
    low, high = 0, len(order)  # `low` fails, `high` reaches
    while high - low > 1:
        middle = (low + high) // 2
        if reached(tuple(order[:middle])) >= goal:
            high = middle
        else:
            low = middle
    chosen = tuple(order[:high])
    for name in tuple(reversed(chosen[:-1]))[:_DROPS]:  # without the last it fails
        fewer = tuple(other for other in chosen if other != name)
        if reached(fewer) >= goal:
            chosen = fewer
    return chosen
