"""End what was started even when this process is killed without a chance to do so: kill -9, or no memory left.

A shell waits at a pipe whose other end only this process holds. A word in it means that all is well; its end without
one means that this process is gone, and then the shell does what is left to do.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

_SCRIPT = """\
read -r group || exit 0
if read -r word; then exit 0; fi
[ $# -eq 0 ] || "$@"
kill -s TERM -- "-$group"; sleep 5; kill -s KILL -- "-$group"
"""


@contextmanager
def last_will(also: Sequence[str] = ()) -> Iterator[Callable[[int], None]]:
    """While inside, the death of this process ends the process group that was told, after the command `also`.

    The heir waits before there is a group, so that hardly a moment is between its start and the promise. Where no shell
    can be started there is no such promise; nothing else depends on it.

    Yields:
        what to tell the group to.
    """
    command = ["/bin/sh", "-c", _SCRIPT, "sh", *also]
    try:
        heir = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError:
        yield lambda _group: None
        return
    told = False

    def tell(group: int) -> None:
        nonlocal told
        told = True
        with suppress(OSError):
            os.write(heir.stdin.fileno(), b"%d\n" % group)  # type: ignore[union-attr]  # it was asked for

    try:
        yield tell
    finally:
        with suppress(OSError):
            heir.communicate(b"all is well\n" if told else b"")
