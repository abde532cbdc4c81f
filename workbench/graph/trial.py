"""Do something in a copy of this process first, since ONNX's C++ code ends the process on some hostile graphs.

Found by changing bytes of small files: a Split with more outputs than its `num_outputs` says trips an assertion inside
ONNX's shape inference (onnx 1.23), and no ``except`` sees that.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from workbench.errors import UnsupportedError


def survive(work: Callable[[], object]) -> None:
    """Run `work` in a fork of this process and forget its result, exceptions too; elsewhere than on POSIX do nothing.

    Raises:
        UnsupportedError: it ended the process by a signal.
    """
    if not hasattr(os, "fork"):
        return
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what C++ says before it aborts helps nobody
        with suppress(BaseException):  # an exception is no crash: the parent meets it again
            work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        raise UnsupportedError(
            f"not a valid ONNX graph: ONNX's own shape inference ends with {name} on it", fix="export it again"
        )
