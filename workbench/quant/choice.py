"""What a search of settings may spend, and what it tells: its steps, conflicts, sensitive tensors and its choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Budget:
    """How far a search may go.

    Attributes:
        macs: multiplications that finer ranges may add, as a share of the network's.
        u16: activation tensors that may be at 16 bits in the mixed model, as a share of all.
        rounding: whether choosing how each weight is rounded is tried, which is the slowest step.
        int8: the cosine on the judging pictures at which nothing more is done for the 8-bit model.
        mixed: the same for the mixed model; the fewest tensors that reach it are taken.
    """

    macs: float = 0.1
    u16: float = 0.1
    rounding: bool = False
    int8: float = 0.998
    mixed: float = 0.998


@dataclass(frozen=True)
class Step:
    """What one more setting brought.

    Attributes:
        name: plain, equalize, correct_bias, split, rounding, method or mixed.
        cosine: mean over pictures and outputs, to the float network.
        worst: the smallest.
        within_5: share of the joints displaced by at most 5 % of the picture; None where no joints are meant.
        seconds: what finding and trying it took.
        macs_percent: multiplications beside those of the network.
        u16_percent: of the activation tensors.
        kept: whether the setting was chosen.
    """

    name: str
    cosine: float
    worst: float
    within_5: float | None
    seconds: float
    macs_percent: float
    u16_percent: float
    kept: bool


@dataclass(frozen=True)
class Conflict:
    """A Concat whose branches differ in range: (tensor, largest magnitude) each."""

    tensor: str
    branches: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Choice:
    """What a search found.

    Attributes:
        quantization: the section of the recipe.
        tuned: False where the weights are not real ones, so that nothing was measured.
        steps: in the order they were tried.
        conflicts: of the network as it came.
        sensitive: (tensor, loss, what is done about it), the largest loss first.
        left: what was not done and why, for people.
    """

    quantization: Mapping[str, object]
    tuned: bool
    steps: tuple[Step, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    sensitive: tuple[tuple[str, float, str], ...] = ()
    left: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """All of it, for ``search.json``."""
        return {
            "quantization": dict(self.quantization),
            "tuned": self.tuned,
            "steps": [asdict(step) for step in self.steps],
            "conflicts": [
                {"tensor": one.tensor, "branches": [[name, high] for name, high in one.branches]}
                for one in self.conflicts
            ],
            "sensitive": [
                {"tensor": tensor, "loss": round(loss, 6), "action": action} for tensor, loss, action in self.sensitive
            ],
            "left": list(self.left),
        }
