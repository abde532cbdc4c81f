"""What `workbench inspect` says of a model file, the same words for every format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Dims = tuple[int | str | None, ...]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output.

    Attributes:
        shape: a symbol, or None, is a size that the file leaves open; None instead of a shape: not even its rank.
        note: what else must be known to feed or read it, e.g. the scale of integers.
    """

    name: str
    dtype: str
    shape: Dims | None
    note: str = ""

    @property
    def shown(self) -> str:
        """``float32 [1, 3, 368, 368]``."""
        if self.shape is None:
            return f"{self.dtype} of any rank"
        return f"{self.dtype} [{', '.join('?' if size is None else str(size) for size in self.shape)}]"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a compiled model, in the order the parts run.

    Attributes:
        runs_on: ``NPU``, or ``CPU`` for operators between two NPU programs.
        batches: the batch sizes an NPU program was compiled for.
        program_bytes: of the NPU's instructions, all batch sizes together.
        weight_bytes: of the constants those programs read, each counted once.
    """

    name: str
    runs_on: str
    operators: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    program_bytes: int = 0
    weight_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a model file holds.

    Attributes:
        kind: ``ONNX``, ``TensorFlow Lite``, ``frozen TensorFlow graph`` or ``Pulsar2 axmodel``.
        size: bytes of the file.
        origin: who made it, as the file itself says, by label; not checked.
        operators: how often each occurs; with its domain where that is not the format's own.
        parameters: numbers in constants, by dtype.
        parameter_bytes: the bytes of all of them.
        macs: multiplications of layers with weights and of MatMuls in one run; None where `notes` say why.
        opset: of ONNX's own operators; None for other formats.
        parts: of a compiled model.
        notes: what a reader must not overlook.
    """

    kind: str
    size: int = 0
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: Mapping[str, int] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    parameter_bytes: int = 0
    macs: int | None = None
    opset: int | None = None
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, for JSON; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Facts:
        """The facts that `to_json` wrote."""
        given = dict(data)
        for key in ("inputs", "outputs"):
            given[key] = tuple(
                Tensor(**{**one, "shape": None if one["shape"] is None else tuple(one["shape"])}) for one in data[key]
            )
        given["parts"] = tuple(
            Part(**{**one, "operators": tuple(one["operators"]), "batches": tuple(one["batches"])})
            for one in data["parts"]
        )
        return cls(**{**given, "notes": tuple(data["notes"])})
