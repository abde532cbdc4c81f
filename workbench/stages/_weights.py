"""The weights in hand: what `fetch` found, every later key depends on and the manifest records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Weights:
    """What the network will be built from.

    Attributes:
        path: the file; None when the network gets random weights, or needs no file.
        sha256: of its content.
        origin: where it was found, for people: given, cache, mirror, download, seeded, none.
        pinned: a hash in the recipe or its lock file says that this is the file.
        not_deployable: why results must not be shipped; empty for real weights.
    """

    path: Path | None
    sha256: str | None
    origin: str
    not_deployable: str = ""
    pinned: bool = True

    @property
    def kind(self) -> str:
        """``published`` (the hash is the pinned one), ``given`` by hand without a pin, or ``random``.

        Where a published file was found this time differs from machine to machine, and stays out of the manifest.
        """
        if self.path is None:
            return "random"
        return "published" if self.pinned else "given"


SEEDED = "seeded random weights, not the published ones"
