"""Gather by one index or a table, written with a list: the same numbers in the same places."""

import numpy as np
import pytest
from _surgery import graph, node, operate, operators

from workbench.surgery.flat_gather import FlatGather


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("index", [0, 1, -1])
def test_one_index_becomes_a_list_of_one(axis, index):
    """Any axis, counted from either end, and negative indices too."""
    shape = [2, 3, 4]
    del shape[axis]
    text = f"(float[2,3,4] x) => (float[{shape[0]},{shape[1]}] y) {{ y = Gather<axis = {axis}>(x, i) }}"
    model = graph(text, i=np.int64(index))
    operate(model, FlatGather())

    assert operators(model) == ["Gather", "Squeeze"]
    assert node(model, "y").op_type == "Squeeze"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_table_is_gathered_in_a_row(axis):
    """The axes of the table take the place of the one that is read."""
    shape = [2, 3, 4]
    shape[axis : axis + 1] = [2, 2]
    sizes = ",".join(map(str, shape))
    text = f"(float[2,3,4] x) => (float[{sizes}] y) {{ y = Gather<axis = {axis}>(x, i) }}"
    model = graph(text, i=np.array([[1, 0], [0, -1]], np.int32))
    operate(model, FlatGather())

    assert operators(model) == ["Gather", "Reshape"]


def test_indices_of_the_run_are_flattened_by_a_reshape():
    """ArgMax of several positions, one for each row."""
    text = """(float[5,3] x, float[2,4] scores) => (float[2,3] y) {
        best = ArgMax<axis = 1, keepdims = 0>(scores)
        table = Unsqueeze(best, zero)
        all = Gather<axis = 0>(x, table)
        y = Squeeze(all, zero)
    }"""
    model = graph(text, zero=np.array([0], np.int64))
    operate(model, FlatGather())

    assert operators(model) == ["ArgMax", "Unsqueeze", "Reshape", "Gather", "Reshape", "Squeeze"]


def test_a_list_is_left_as_it_is():
    """Nothing is changed where the chips agree already."""
    model = graph("(float[2,3] x) => (float[2,2] y) { y = Gather<axis = 1>(x, i) }", i=np.array([2, 0]))

    assert not FlatGather()(model)


def test_sizes_that_are_open():
    """One index needs no size; a table does, and is left with the reason."""
    single = graph("(float[N,3] x) => (float[N] y) { y = Gather<axis = 1>(x, i) }", i=np.int64(1))
    table = graph("(float[N,3] x) => (float[N,2,1] y) { y = Gather<axis = 1>(x, i) }", i=np.array([[1], [0]]))

    assert FlatGather()(single)
    assert FlatGather()(table).left == ("Gather -> 'y': the size of its input or of its indices is not static",)


def test_indices_that_others_read_stay():
    """A shared constant is not changed under another reader."""
    text = "(float[2,3] x) => (float[3] y, int64 z) { y = Gather<axis = 0>(x, i) z = Identity(i) }"
    model = graph(text, i=np.int64(1))
    operate(model, FlatGather())

    assert operators(model) == ["Gather", "Squeeze", "Identity"]
