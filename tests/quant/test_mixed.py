"""Facts about the choice of 16-bit tensors: the fewest that reach the goal, found without trying all sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.quant.mixed import affordable, fewest
from workbench.quant.sensitivity import Sensitivity


def grid(name, loss, members=1):
    """A grid of so many tensors."""
    return Sensitivity(name, tuple(f"{name}{index}" for index in range(members)), 1 - loss, 1 - loss, 0.0)


def test_the_share_counts_every_tensor_of_a_grid():
    """The order is by loss for each tensor; a grid that does not fit is left out, a smaller one after it is not."""
    grids = [grid("wide", 0.5, 8), grid("a", 0.2), grid("b", 0.1), grid("c", 0.02, 2), grid("none", 0.0)]
    assert affordable(grids, 100, 0.04) == ("a", "b", "c")
    assert affordable(grids, 100, 0.11) == ("a", "b", "wide")
    assert affordable(grids, 100, 0.0) == ()


class Additive:
    """A network whose losses add up; counts how often it is evaluated."""

    def __init__(self, losses):
        self.losses = losses
        self.asked = 0

    def __call__(self, names):
        self.asked += 1
        return 1 - sum(loss for name, loss in self.losses.items() if name not in names)


def test_the_shortest_beginning_without_what_it_does_not_need():
    """Tensors ranked too high by their own figures are dropped again when the goal is reached without them."""
    network = Additive({"a": 0.1, "idle": 0.0, "b": 0.05, "c": 0.01})
    assert fewest(("idle", "a", "b", "c"), network, 0.98) == ("a", "b")


def test_nothing_where_eight_bits_are_enough_or_sixteen_gain_nothing():
    """A goal that is reached already, and errors that come from elsewhere, widen no tensor."""
    assert fewest(("a", "b"), Additive({"a": 0.001, "b": 0.001}), 0.99) == ()
    assert fewest(("a", "b"), Additive({"elsewhere": 0.3, "a": 0.0001}), 0.99) == ()


def test_a_goal_out_of_reach_buys_what_helps():
    """What all tensors together reach is the goal then, and those that add next to nothing are left out."""
    network = Additive({"elsewhere": 0.2, "a": 0.1, "b": 0.05, "c": 0.0001})
    assert fewest(("a", "b", "c"), network, 0.999) == ("a", "b")


@given(st.lists(st.floats(0.001, 0.1), min_size=1, max_size=40), st.floats(0, 1))
def test_the_goal_is_reached_by_the_fewest_and_in_few_tries(losses, part):
    """With losses that add up, sorted, nothing shorter reaches the goal; the tries grow with the logarithm."""
    named = {f"t{index}": loss for index, loss in enumerate(sorted(losses, reverse=True))}
    network = Additive(named)
    goal = 1 - part * sum(losses) - 1e-9
    chosen = fewest(tuple(named), network, goal)
    assert network.asked <= 8 + 3 + len(losses).bit_length()
    assert network(chosen) >= goal
    assert not chosen or network(tuple(named)[: len(chosen) - 1]) < goal
