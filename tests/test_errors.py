import pytest

from workbench.errors import ParityError, RecipeError, RecipeErrors, SourceError, ToolError, UnsupportedError


def test_an_error_shows_where_what_and_fix():
    """The text of an error has its three parts in the order a reader needs them."""
    error = RecipeError("no pass called 'x'", where="r.yaml:3:5", fix="did you mean 'y'?")

    assert str(error) == "r.yaml:3:5: no pass called 'x'\n  fix: did you mean 'y'?"


@pytest.mark.parametrize(
    ("kind", "code"),
    [(RecipeError, 2), (ToolError, 3), (SourceError, 3), (UnsupportedError, 3), (ParityError, 4)],
)
def test_the_class_owns_the_exit_code(kind, code):
    """2 recipe or usage, 3 tool or source, 4 parity."""
    assert kind("x").exit_code == code


def test_many_errors_are_one_error():
    """All mistakes of a recipe are shown together, each with its own line."""
    error = RecipeErrors([RecipeError("a", where="r:1:1"), RecipeError("b", where="r:2:1", fix="c")])

    assert str(error) == "r:1:1: a\nr:2:1: b\n  fix: c"
    assert error.exit_code == 2
