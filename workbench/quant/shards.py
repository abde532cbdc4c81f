"""Observe samples shard by shard and keep each finished one in a folder, so that an interrupted observation goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from workbench.engine import partial
from workbench.engine.progress import Progress
from workbench.errors import ToolError

SHARD = 16
"""Samples a shard; an interruption costs at most as many."""

_WHAT = "samples observed"

Feed = Mapping[str, npt.NDArray[np.generic]]


class Seen(Protocol):
    """What an observation finds; merging is associative and commutative, to the bit."""

    @property
    def samples(self) -> int:
        """How many samples it is of."""

    def __iter__(self) -> Iterator[str]:
        """The names of the tensors."""

    def merge(self, other: Self) -> Self:
        """What one observation of both sample sets would give."""

    def to_bytes(self) -> bytes:
        """A file."""

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "") -> Self:
        """What `to_bytes` wrote; ToolError for anything else."""


S = TypeVar("S", bound=Seen)
S_co = TypeVar("S_co", bound=Seen, covariant=True)


class Observer(Protocol[S_co]):
    """Looks at one sample after another."""

    @property
    def names(self) -> Sequence[str]:
        """The tensors it observes."""

    def see(self, feed: Feed, label: str) -> None:
        """Run one sample; `label` says which one in an error."""

    def take(self) -> S_co:
        """What was seen since the last call."""


def in_shards(
    observer: Observer[S],
    kind: type[S],
    feeds: Iterable[Feed],
    *,
    progress: Progress,
    total: int | None = None,
    labels: Sequence[str] = (),
    folder: Path | None = None,
) -> S:
    """Show all `feeds` to `observer`, but for those whose shards are in `folder` already; see `observe`.

    Args:
        observer: sees the samples that no shard has.
        kind: the class of what it finds.
        feeds: all samples, in the same order every time.
        progress: told the number of samples done, first of all those in `folder`.
        total: how many samples there are, where known.
        labels: what to call the samples; those without are called by their number.
        folder: the finished shards, one file each; None keeps nothing. A damaged one is observed again.

    Raises:
        ToolError: there are no samples, or as `observer`.
    """
    spans, whole = _kept(kind, folder, set(observer.names), total)
    done = sum(spans.values())
    progress.step(done, total, _WHAT)
    samples = iter(feeds)
    index = 0
    while True:
        while index in spans:
            index += sum(1 for _ in islice(samples, spans.pop(index)))
        length = None if folder is None else min([SHARD, *(start - index for start in spans if start > index)])
        first = index
        for feed in islice(samples, length):
            observer.see(feed, labels[index] if index < len(labels) else f"sample {index}")
            index, done = index + 1, done + 1
            progress.step(done, total, _WHAT)
        if index == first:
            break
        shard = observer.take()
        if folder is not None:
            partial.write(folder / _name(kind, first), shard.to_bytes())
        whole = shard if whole is None else whole.merge(shard)
    if whole is None:
        raise ToolError("no samples to observe", fix="give the calibration some pictures")
    return whole


def _kept(
    kind: type[S], folder: Path | None, names: Collection[str], total: int | None
) -> tuple[dict[int, int], S | None]:
    """First sample and number of samples of every whole shard in `folder`, and all of them merged."""
    spans: dict[int, int] = {}
    whole: S | None = None
    end = 0
    for path in sorted(folder.glob(_name(kind, None))) if folder is not None else ():
        shard = _read(kind, path)
        start = int(path.name.rpartition("-")[2])
        if shard is None or set(shard) != names or start < end or shard.samples < 1:
            continue
        end = start + shard.samples
        if total is not None and end > total:
            break
        spans[start] = shard.samples
        whole = shard if whole is None else whole.merge(shard)
    return spans, whole


def _read(kind: type[S], path: Path) -> S | None:
    data = partial.read(path)
    if data is None:
        return None
    try:
        return kind.from_bytes(data, str(path))
    except ToolError:  # whole, but written by another version of this code
        return None


def _name(kind: type[S], start: int | None) -> str:
    number = "[0-9]" * 7 if start is None else f"{start:07d}"
    return f"{kind.__name__.lower()}-{number}"
