"""What the contract cannot know about `rename_io`."""

import pytest
from _surgery import graph, operate, random

from workbench.errors import RecipeError
from workbench.surgery.rename_io import RenameIo

NET = "(float[1,2,3,3] x) => (float[1,2,3,3] y, float[1,2,3,3] z) { a = Conv(x, w) y = Relu(a) z = Neg(y) }"


def net():
    """One input, two outputs, one inner tensor."""
    return graph(NET, w=random(2, 2, 1, 1))


def test_two_names_can_be_exchanged():
    """All names change at once, so there is no moment at which two tensors have one name."""
    model = net()
    operate(model, RenameIo(names={"y": "z", "z": "y"}))
    assert [value.name for value in model.graph.outputs] == ["z", "y"]


def test_an_output_that_feeds_a_node_takes_its_reader_along():
    """Readers follow the tensor, not its name."""
    model = net()
    result = operate(model, RenameIo(names={"y": "heat"}))
    assert result.now_called("y") == "heat"


@pytest.mark.parametrize(
    ("names", "complaint", "fix"),
    [
        ({"yy": "heat"}, "no input or output called 'yy'", "did you mean 'y'"),
        ({"a": "heat"}, "no input or output called 'a'", "one of: x, y, z"),
        ({"y": "a"}, "'y' cannot be called 'a': another tensor is", "choose a name that is free"),
        ({"y": "w"}, "'y' cannot be called 'w': another tensor is", "choose a name that is free"),
        ({"y": "h", "z": "h"}, "'y' and 'z' would both be called 'h'", "choose two"),
    ],
)
def test_impossible_names_are_refused(names, complaint, fix):
    """Each mistake says what is wrong, what to do and which option it is."""
    with pytest.raises(RecipeError, match=complaint) as caught:
        RenameIo(names=names)(net())
    assert fix in caught.value.fix
    assert caught.value.at is not None
    assert caught.value.at[0] == "names"


def test_a_name_inside_a_subgraph_is_taken():
    """A subgraph's own tensor would hide the renamed one from the subgraph."""
    model = graph(
        """(float[1,2] x, bool flag) => (float[1,2] y) {
            y = If(flag) <then_branch = t () => (float[1,2] u) { u = Relu(x) },
                          else_branch = e () => (float[1,2] v) { v = Abs(x) }>
        }"""
    )
    with pytest.raises(RecipeError, match="'x' cannot be called 'u'"):
        RenameIo(names={"x": "u"})(model)


def test_what_is_done_is_not_done_again():
    """A name that is gone while its new name is there counts as done."""
    model = net()
    step = RenameIo(names={"x": "image", "y": "heat"})
    assert step(model)
    edits = step(model)
    assert not edits
    assert edits.left == ("'image': has its name already", "'heat': has its name already")
