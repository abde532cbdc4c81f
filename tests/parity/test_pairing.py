"""Facts about which output is compared with which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from workbench.errors import ParityError, RecipeError
from workbench.parity.pairing import Pair, pair, parse_map


@dataclass(frozen=True)
class Port:
    name: str
    shape: tuple[int | None, ...]


HEAT = Port("heat", (1, 14, 96, 48))


def test_equal_names_and_shapes_pair_silently():
    """Ports of one layout pair by name whatever their order, with nothing to say."""
    a = [HEAT, Port("paf", (1, 38, 96, 48))]
    assert pair(a, a[::-1], reference_layout="NCHW", got_layout="NCHW") == (Pair("heat", "heat"), Pair("paf", "paf"))


@pytest.mark.parametrize(
    ("ours", "theirs", "layouts", "note"),
    [
        ((1, 14, 96, 48), (1, 96, 48, 14), ("NCHW", "NHWC"), "transposed from NHWC to NCHW"),
        ((1, 96, 48, 14), (1, 14, 96, 48), ("NHWC", "NCHW"), "transposed from NCHW to NHWC"),
        ((1, 14, 96, 48), (1, 96, 48, 14), ("NCHW", "NCHW"), "transposed from NHWC to NCHW"),
        ((1, 96, 48, 14), (1, 14, 96, 48), ("NHWC", "NHWC"), "transposed from NCHW to NHWC"),
        ((1, 8, 8, 8), (1, 8, 8, 8), ("NCHW", "NHWC"), "transposed from NHWC to NCHW"),
    ],
)
def test_layouts_are_turned_and_told(ours, theirs, layouts, note):
    """A 4-D tensor in the other layout is transposed, and the note says so; equal sizes follow the declared layouts."""
    (one,) = pair([Port("y", ours)], [Port("y", theirs)], reference_layout=layouts[0], got_layout=layouts[1])
    assert one.note == note
    got = np.arange(np.prod(theirs), dtype=np.float32).reshape(theirs)
    turned = one.to_reference(got)
    assert turned.shape == ours
    assert np.array_equal(one.from_reference(turned), got)
    assert one.from_reference(turned).flags["C_CONTIGUOUS"]


def test_equal_sizes_of_one_layout_stay():
    """Where both readings fit and the layouts are the same, nothing is transposed."""
    port = Port("y", (1, 8, 8, 8))
    assert pair([port], [port], reference_layout="NHWC", got_layout="NHWC") == (Pair("y", "y"),)


def test_equal_shapes_of_different_layouts_are_told():
    """A tensor that keeps its NCHW shape in an NHWC file is compared as it is, and the note says so."""
    (one,) = pair([HEAT], [HEAT], reference_layout="NCHW", got_layout="NHWC")
    assert one.permutation is None
    assert "compared as they are" in one.note


def test_other_ranks_are_never_transposed():
    """Only 4-D tensors have a layout; a vector of another size is an error that shows both shapes."""
    with pytest.raises(ParityError, match=r"'y' has shape 1x2x3 \(NCHW\) in the reference and 1x3x2 \(NHWC\)"):
        pair([Port("y", (1, 2, 3))], [Port("y", (1, 3, 2))], reference_layout="NCHW", got_layout="NHWC")


def test_missing_names_list_both_sides_and_the_near_miss():
    """An unmatched name fails, lists what either side has, and names the likeliest partner."""
    with pytest.raises(ParityError) as caught:
        pair([HEAT], [Port("heat_1", HEAT.shape), Port("paf", (1, 2))], reference_layout="NCHW", got_layout="NCHW")
    text = str(caught.value)
    assert "the other model lacks 'heat'; the reference lacks 'heat_1', 'paf'" in text
    assert "did you mean 'heat_1'?" in text
    assert "--map" in text


def test_surplus_outputs_fail():
    """An output that only one side has is not skipped."""
    with pytest.raises(ParityError, match="the reference lacks 'paf'"):
        pair([HEAT], [HEAT, Port("paf", (1,))], reference_layout="NCHW", got_layout="NCHW")


def test_a_mapped_name_is_told():
    """A mapped pair carries the reference's name and notes the other."""
    (one,) = pair(
        [HEAT], [Port("out", HEAT.shape)], reference_layout="NCHW", got_layout="NCHW", mapping={"heat": "out"}
    )
    assert (one.reference, one.got, one.note) == ("heat", "out", "compared with 'out'")


def test_a_mapping_must_name_what_exists():
    """A --map with a misspelt name is a usage error with the near miss."""
    with pytest.raises(RecipeError, match="the other model has no output 'haet'") as caught:
        pair([HEAT], [HEAT], reference_layout="NCHW", got_layout="NCHW", mapping={"heat": "haet"})
    assert "did you mean 'heat'?" in str(caught.value)


def test_a_mapping_cannot_take_a_namesake():
    """Mapping onto a name whose namesake is not mapped away would compare one output twice."""
    a, b = Port("a", (1,)), Port("b", (1,))
    with pytest.raises(RecipeError, match="'b' already has its namesake"):
        pair([a, b], [a, b], reference_layout="NCHW", got_layout="NCHW", mapping={"a": "b"})
    swapped = pair([a, b], [a, b], reference_layout="NCHW", got_layout="NCHW", mapping={"a": "b", "b": "a"})
    assert [(one.reference, one.got) for one in swapped] == [("a", "b"), ("b", "a")]


def test_map_texts():
    """Pairs of names are read with spaces around them; anything else is a usage error."""
    assert parse_map(["a=b", " c = d "]) == {"a": "b", "c": "d"}
    for bad in ("a", "=b", "a=", ""):
        with pytest.raises(RecipeError, match="not a pair of names"):
            parse_map([bad])
    with pytest.raises(RecipeError, match="mapped already"):
        parse_map(["a=b", "a=c"])


def test_open_sizes_fit():
    """A size that is not static fits any size."""
    (one,) = pair([HEAT], [Port("heat", (None, 14, 96, 48))], reference_layout="NCHW", got_layout="NCHW")
    assert one.permutation is None
