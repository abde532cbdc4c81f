"""How commands end: by an error of ours, a signal, a closed pipe, a full disk, a bug."""

import errno
import os
import signal

import click
import pytest
from click.testing import CliRunner

from workbench.cli import Cli, main
from workbench.errors import ParityError


@pytest.fixture
def ending(monkeypatch):
    """Run `workbench` with a command that ends as told."""

    def run(end):
        monkeypatch.setattr(Cli, "get_command", lambda *_: click.Command("plan", callback=end))
        return CliRunner().invoke(main, ["plan"])

    return run


def throw(error):
    """A command that raises."""

    def end():
        raise error

    return end


def test_our_errors_become_text_and_their_exit_code(ending):
    """What, where and fix on stderr; no traceback."""
    result = ending(throw(ParityError("moved", where="a.onnx", fix="look")))

    assert result.exit_code == 4
    assert result.stderr == "error: a.onnx: moved\n  fix: look\n"


def test_ctrl_c_says_that_nothing_is_lost(ending):
    """Exit code 130, as shells have it."""
    result = ending(throw(KeyboardInterrupt()))

    assert result.exit_code == 130
    assert "finished stages are kept" in result.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_other_ends_are_as_polite_as_ctrl_c(ending, name):
    """A terminated command unwinds, so children and scratch folders go with it; 128 plus the signal."""
    number = getattr(signal, name)
    result = ending(lambda: os.kill(os.getpid(), number))

    assert result.exit_code == 128 + number
    assert "interrupted" in result.stderr


def test_a_full_disk_is_no_bug(ending):
    """What the disk says is told with a cure."""
    result = ending(throw(OSError(errno.ENOSPC, "No space left on device", "x/y")))

    assert result.exit_code == 3
    assert result.stderr == "error: x/y: the disk refuses: No space left on device\n  fix: free some space there\n"


def test_a_bug_of_ours_keeps_its_traceback(ending):
    """Anything else is not hidden behind a kind message."""
    assert isinstance(ending(throw(OSError(errno.ECHILD, "odd"))).exception, OSError)
    assert isinstance(ending(throw(ZeroDivisionError())).exception, ZeroDivisionError)
