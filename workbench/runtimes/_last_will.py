"""End what was started even when this process is killed without a chance to do so: kill -9, or no memory left.

A shell waits at a pipe whose other end only this process holds. A word in it means that all is well; its end without
one means that this process is gone, and then the shell does what is left to do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_SCRIPT = """\
group=$1; shift
if read -r word; then exit 0; fi
[ $# -eq 0 ] || "$@"
kill -s TERM -- "-$group"; sleep 5; kill -s KILL -- "-$group"
"""


@contextmanager
def last_will(group: int, also: Sequence[str] = ()) -> Iterator[None]:
    """While inside, the death of this process ends the process group `group`, after the command `also`.

    Where no shell can be started there is no such promise; nothing else depends on it.
    """
    command = ["/bin/sh", "-c", _SCRIPT, "sh", str(group), *also]
    try:
        heir = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            heir.communicate(b"all is well\n")
