"""Who a model file sees in pictures: run and decoded in a process of its own, which a broken model may end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from workbench.engine.progress import Progress
from workbench.errors import ParityError, RecipeError, SourceError, ToolError, UnsupportedError, WorkbenchError
from workbench.pose.decode import Decoder
from workbench.pose.person import Person
from workbench.recipe.schema import InputSpec

_KINDS = {kind.__name__: kind for kind in (RecipeError, ToolError, SourceError, UnsupportedError, ParityError)}


@dataclass(frozen=True)
class Seen:
    """What one file answered.

    Attributes:
        runtime: what it ran in.
        notes: what was done to its inputs and outputs, for people.
        sizes: width and height of every picture, upright.
        people: in every picture, in pixels of it.
    """

    runtime: str
    notes: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    people: tuple[tuple[Person, ...], ...]


def look(
    model: Path,
    specs: Sequence[InputSpec],
    origin: str,
    reader: Decoder,
    pictures: Sequence[Path],
    progress: Progress,
) -> Seen:
    """Run `model` on `pictures` and decode what it answers.

    Args:
        model: any file that a runtime here takes.
        specs: how a picture becomes its inputs.
        origin: who says so, for messages.
        reader: turns its outputs into people.
        pictures: their files; one is in memory at a time.
        progress: told of every picture.

    Raises:
        RecipeError: the file does not take such pictures, or lacks an output that is read.
        ToolError: it cannot be run, answers NaN, or ends its runtime; or a picture cannot be read.
    """
    job = {
        "model": str(model),
        "origin": origin,
        "inputs": [spec.model_dump(mode="json") for spec in specs],
        "outputs": [spec.model_dump(mode="json") for spec in reader.outputs.values()],
        "joints": reader.skeleton.name,
        "pictures": [str(path) for path in pictures],
    }
    command = [sys.executable, "-P", "-m", "workbench.cli._sight_child"]
    with tempfile.TemporaryFile() as told:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told)
        assert child.stdin is not None  # noqa: S101 -- both are pipes
        assert child.stdout is not None  # noqa: S101
        try:
            answer = _answer(child.stdin, child.stdout, job, progress)
            child.wait()
        finally:
            if child.poll() is None:
                child.terminate()  # lets it stop what it may have started
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        if answer is None:
            raise _ended(model, child.returncode, told)
    if "error" in answer:
        error = answer["error"]
        raise _KINDS[error["kind"]](error["what"], where=error["where"], fix=error["fix"])
    return Seen(
        runtime=answer["runtime"],
        notes=tuple(answer["notes"]),
        sizes=tuple((width, height) for width, height in answer["sizes"]),
        people=tuple(tuple(_person(*one) for one in people) for people in answer["people"]),
    )


def _answer(given: IO[bytes], lines: IO[bytes], job: dict[str, Any], progress: Progress) -> Any:
    """The last line of the child; None when it ended before that. The lines before count pictures."""
    answer, count = None, len(job["pictures"])
    progress.step(0, count, "pictures")
    try:
        with lines:
            with given:
                given.write(json.dumps(job).encode())
            for line in lines:
                answer = json.loads(line)
                if isinstance(answer, int):
                    progress.step(answer, count, "pictures")
    except (BrokenPipeError, ValueError):  # it ended while it was told, or in the middle of a line
        answer = None
    return answer if isinstance(answer, dict) else None


def _ended(model: Path, code: int, told: IO[bytes]) -> Exception:
    """Why there is no answer: the runtime crashed, the memory was full; or a bug of ours, whose traceback is kept."""
    told.seek(0)
    said = told.read().decode("utf-8", "replace").strip()
    if code >= 0 and "Traceback" in said:
        return RuntimeError(f"the process that runs {model.name} ended with {code}:\n{said}")
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last = f": {said.splitlines()[-1][:300]}" if said else ""
    cause = "the machine's memory may be full, or " if code == -signal.SIGKILL else ""
    return ToolError(
        f"the model ended its runtime ({name}){last}",
        where=str(model),
        fix=f"{cause}the file is damaged or meets a bug of the runtime: make it again, or leave it out",
    )


def to_json(person: Person) -> list[Any]:
    """A person as `look` reads it: [[x, y] or null, ...] and the confidences."""
    places = [list(place) if np.isfinite(place).all() else None for place in person.joints.tolist()]
    return [places, person.confidence.tolist()]


def _person(places: list[list[float] | None], confidence: list[float]) -> Person:
    nowhere = [float("nan")] * 2
    return Person(np.array([place or nowhere for place in places], np.float64), np.array(confidence, np.float64))


def describe(error: WorkbenchError) -> dict[str, str]:
    """An error as `look` reads it."""
    return {"kind": type(error).__name__, "what": error.what, "where": error.where, "fix": error.fix}
