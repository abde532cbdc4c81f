"""Facts about ranges: they merge in any order and survive JSON."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import ToolError
from workbench.quant.ranges import Range, Ranges

floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
ranges = st.tuples(floats, floats).map(lambda ends: Range(min(ends), max(ends)))
tables = st.builds(Ranges, st.dictionaries(st.sampled_from("abcd"), ranges), st.integers(0, 9))


@given(tables, tables, tables)
def test_merge_is_associative_and_commutative(a, b, c):
    """Shards merge to the same bits in any order and grouping."""
    assert a.merge(b).merge(c).to_json() == a.merge(b.merge(c)).to_json()
    assert a.merge(b).to_json() == b.merge(a).to_json()


@given(tables, tables)
def test_merge_holds_both(a, b):
    """The merged range of a tensor holds that of either side, and no tensor is lost."""
    both = a.merge(b)
    assert set(both) == set(a) | set(b)
    assert both.samples == a.samples + b.samples
    for side in (a, b):
        for name, span in side.items():
            assert both[name].low <= span.low <= span.high <= both[name].high


@given(tables)
def test_json_round_trip(table):
    """Ranges come back from JSON exactly, and the text does not depend on the order of insertion."""
    text = table.to_json()
    assert Ranges.from_json(text) == table == Ranges.from_bytes(table.to_bytes())
    assert Ranges(dict(reversed(table.by_name.items())), table.samples).to_json() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "samples": 1, "ranges": {}}',
        '{"format": 1, "samples": 1, "ranges": {"a": [2, 1]}}',
        '{"format": 1, "samples": 1, "ranges": {"a": [NaN, 1]}}',
        '{"format": 1, "samples": 1, "ranges": {"a": 3}}',
    ],
)
def test_other_files_are_refused(text):
    """Text that is not a table of ranges is an error that names the file, not a traceback."""
    with pytest.raises(ToolError, match="not a file of ranges") as caught:
        Ranges.from_json(text, "x.json")
    assert str(caught.value).startswith("x.json: ")


def test_bytes_that_are_no_text_are_refused():
    """A file of anything is an error, not a traceback."""
    with pytest.raises(ToolError, match="not a file of ranges"):
        Ranges.from_bytes(b"\xff\x00")


@pytest.mark.parametrize("ends", [(math.nan, 1.0), (0.0, math.inf), (2.0, 1.0)])
def test_a_range_is_finite_and_ordered(ends):
    """NaN, infinite and swapped ends are refused."""
    with pytest.raises(ValueError, match="is not a range"):
        Range(*ends)
