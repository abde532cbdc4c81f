"""A resumable stage that counts to five and can be stopped on its way; as a script, in a process that is killed."""

import os
import signal
import sys
from pathlib import Path

from workbench.engine import partial
from workbench.engine.runner import run
from workbench.engine.stage import Stage, Step
from workbench.engine.store import Store

LAST = 5


class Log:
    """A reporter that keeps notes and progress."""

    def __init__(self):
        self.notes, self.steps = [], []

    def begin(self, stage):
        """Not kept."""

    def end(self, done):
        """Not kept."""

    def step(self, done, total, what):
        self.steps.append(done)

    def note(self, text):
        self.notes.append(text)

    def warn(self, text):
        """Not kept."""


def counting(after=None, how=signal.SIGKILL):
    """The step; it sends its process the signal `how` when it has made the number `after`, which is not in its key."""

    def count(settings, inputs, out, progress):
        files = [inputs["partial"] / str(number) for number in range(LAST)]
        done = [partial.read(file) is not None for file in files]
        progress.step(sum(done), LAST, "numbers")
        for number, file in enumerate(files):
            if not done[number]:
                partial.write(file, str(number).encode())
                progress.note(f"made {number}")
                if number == after:
                    os.kill(os.getpid(), how)
        (out / "text").write_bytes(b" ".join(partial.read(file) or b"" for file in files))

    return Step(Stage("count", 1, count, resumable=True), "a")


if __name__ == "__main__":
    run([counting(after=int(sys.argv[2]))], Store(Path(sys.argv[1])), "r", Log())
