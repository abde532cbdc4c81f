"""Facts about the parity gate."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.parity.metrics import Metric, compare_tensors
from workbench.parity.verdict import judge
from workbench.recipe.schema import Limits

REFERENCE = np.array([[3.0, 4.0]])


def test_within_the_limits_passes():
    """A row at its limits exactly passes: at least and at most include the limit."""
    row = compare_tensors("heat", REFERENCE, np.array([[3.0, 4.5]]))
    limits = Limits(cosine=0.99, max_abs=0.5, mean_abs=0.25, relative_l2=0.1, snr_db=19.0)
    assert judge([row], limits) == judge([row], None)
    assert judge([row], limits).passed


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(cosine=0.99), "heat: cosine 0.6 is below the limit 0.99"),
        (Limits(max_abs=1), "heat: largest difference 4 is above the limit 1"),
        (Limits(mean_abs=1), "heat: mean difference 2 is above the limit 1"),
        (Limits(relative_l2=0.1), "heat: relative L2 0.8 is above the limit 0.1"),
        (Limits(snr_db=30), "heat: SNR in dB 1.9382 is below the limit 30"),
    ],
)
def test_a_failure_names_output_metric_value_and_limit(limits, words):
    """Each broken limit is one sentence with the output, the metric, its value and the limit."""
    row = compare_tensors("heat", REFERENCE, np.array([[3.0, 0.0]]))
    verdict = judge([row], limits)
    assert not verdict.passed
    assert verdict.failures == (words,)


def test_all_failures_are_told():
    """Several outputs and several limits give one sentence each, in order."""
    bad = np.array([[3.0, 0.0]])
    rows = [compare_tensors(name, REFERENCE, bad) for name in ("a", "b")]
    assert len(judge(rows, Limits(cosine=0.99, max_abs=1)).failures) == 4


def test_nothing_compared_fails():
    """No rows, and a row without elements, are failures and not passes."""
    assert judge([], None).failures == ("nothing was compared",)
    assert judge([Metric("heat").row()], None).failures == ("heat: nothing was compared",)


def test_nan_fails_without_limits():
    """NaN on either side fails even when the recipe sets no limit, and the side is named."""
    row = compare_tensors("heat", REFERENCE, np.array([[3.0, np.nan]]))
    assert judge([row], None).failures == ("heat: NaN or Inf in the compared side",)
    row = compare_tensors("heat", np.array([[3.0, np.inf]]), REFERENCE)
    assert judge([row], None).failures == ("heat: NaN or Inf in the reference",)


def test_overflow_fails():
    """Numbers whose squares leave float64 fail instead of passing unmeasured."""
    huge = np.array([[1e300, 1e300]])
    assert judge([compare_tensors("heat", huge, huge * 0.5)], None).failures == (
        "heat: the numbers are too large to be compared",
    )


def test_a_value_close_to_its_limit_is_printed_in_full():
    """A value that rounds to the limit is not printed as the limit itself."""
    row = compare_tensors("heat", np.array([[1.0]]), np.array([[1.0 + 0.1000000001]]))
    (failure,) = judge([row], Limits(max_abs=0.1)).failures
    assert "0.1000000001" in failure
