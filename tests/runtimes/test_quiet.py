"""Other libraries are silent, and everything is as before afterwards."""

import logging
import sys
import warnings

import pytest

from workbench.runtimes._quiet import quiet


def test_prints_log_lines_and_warnings_are_kept_back(capfd):
    """Nothing reaches the terminal; what was printed is in the buffer."""
    with quiet() as heard:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        logging.getLogger("library").critical("a log line")
        warnings.warn("a warning", stacklevel=1)

    assert capfd.readouterr() == ("", "")
    assert heard.getvalue() == "to stdout\nto stderr\n"


def test_everything_is_as_before_even_after_an_error():
    """Logging works again, at the level it had, and errors pass through."""
    before = logging.root.manager.disable
    with pytest.raises(ValueError, match="inside"), quiet():
        raise ValueError("inside")

    assert logging.root.manager.disable == before
    assert sys.stdout.write
