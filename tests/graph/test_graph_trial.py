"""Work that may end the process is tried in a copy of it."""

import os
import signal

import pytest

from workbench.errors import UnsupportedError
from workbench.graph.trial import survive


def test_work_that_ends_well_leaves_no_trace():
    """Neither its result nor what it changes is seen."""
    seen = []
    survive(lambda: seen.append(1))

    assert seen == []


def test_an_exception_is_no_crash():
    """Whoever does the work for real meets it there."""

    def work():
        raise ValueError

    survive(work)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL])
def test_a_signal_is_an_error_with_a_fix(number):
    """The signal is named."""
    with pytest.raises(UnsupportedError, match=f"ends with {number.name}") as caught:
        survive(lambda: os.kill(os.getpid(), number))

    assert caught.value.fix
