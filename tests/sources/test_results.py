"""Which tensors of a network's result are the recipe's outputs."""

import numpy as np
import pytest

from workbench.errors import RecipeError, SourceError
from workbench.recipe.schema import OutputSpec
from workbench.sources._results import match


def specs(*names, **tensors):
    """Outputs of these names."""
    return tuple(OutputSpec(name=n, tensor=tensors.get(n), shape=(1, 1, 1, 1), meaning="heatmap") for n in names)


A, B, C = (np.full((1, 1, 1, 1), value) for value in (1.0, 2.0, 3.0))


def test_nested_sequences_are_taken_by_position():
    """Lists in tuples flatten in order; None in between is skipped."""
    picker = match([A, (B, None), [C]], specs("x", "y", "z"))

    assert picker([A, (B, None), [C]]) == (A, B, C)


def test_a_single_tensor_is_the_only_output():
    """A bare tensor needs no tuple."""
    assert match(A, specs("x"))(A) == (A,)


def test_mappings_are_taken_by_name():
    """A network that names its results is matched by these names, in the recipe's order."""
    picker = match({"heads": [A, B], "z": C}, specs("z", "second", "first", second="heads.1", first="heads.0"))

    assert picker({"z": C, "heads": [A, B]}) == (C, B, A)


def test_another_name_names_the_near_miss():
    """A misspelt result says which one was probably meant."""
    with pytest.raises(RecipeError, match="no output called 'heatmap'") as caught:
        match({"heatmaps": A}, specs("x", x="heatmap"))

    assert "did you mean 'heatmaps'?" in caught.value.fix
    assert caught.value.at == ("outputs", 0, "tensor")


def test_another_number_of_outputs_is_a_mistake_of_the_recipe():
    """The message says how many there are and of which shape."""
    with pytest.raises(RecipeError, match="gives 2 outputs, the recipe names 1") as caught:
        match((A, B), specs("x"))

    assert caught.value.at == ("outputs",)
    assert "[1, 1, 1, 1], [1, 1, 1, 1]" in caught.value.fix


def test_what_is_no_tensor_is_refused():
    """A network that returns decoded people or text cannot be a graph."""
    with pytest.raises(SourceError, match="gives a str where a tensor was expected"):
        match((A, "people"), specs("x", "y"))
