"""What a target is: options a recipe may give, and a build from the canonical graph to files.

A target is one file or package in this folder, found by its name. It offers ``Options`` (a `Strict` pydantic model),
``precisions(options) -> frozenset[Precision]`` (what is certain to be written and judged, so that a recipe without a
limit for it is refused before any work), ``build(job) -> list[Artifact]``, ``VERSION`` (raised when the same inputs
would give other files), ``TOOLS`` (the distributions its files depend on), ``ROOMS`` (optional: folders of this package
whose code makes its files, beside its own) and, where it uses a program of this machine, ``environment(options)``, a
dict that names what was found; and where it can refuse a recipe before any work, ``check(options, inputs)``, which
raises `RecipeError` with the recipe's path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from workbench.engine.progress import Progress
from workbench.recipe.schema import InputSpec, Precision, Strict

O = TypeVar("O", bound=Strict)  # noqa: E741


@dataclass(frozen=True)
class Artifact:
    """A file a target wrote.

    Attributes:
        path: relative to the job's folder, with forward slashes.
        precision: which of the recipe's limits gates it; None for a file that is no model.
        skipped: why a promised file is missing, with `fix`; empty when it is there.
    """

    path: str
    precision: Precision | None = None
    skipped: str = ""
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class TargetJob(Generic[O]):
    """Everything a target may read, and the empty folder it writes to.

    Attributes:
        name: the recipe's name, the start of every file name.
        model: the canonical ONNX: static, float32, NCHW.
        quantized: the QDQ ONNX, when the recipe quantizes.
        baked: `model` made ready for 8 bits, still float: what a quantizer should start from, where there is one.
        ranges: the range of every activation of that graph (of `model` without one), as ``ranges.json``.
        mixed: the QDQ ONNX with some activations at 16 bits, when the recipe names any.
        u16: the tensors of `model` at 16 bits in `mixed`, all of them, in graph order.
        inputs: how a picture becomes each input, after surgery.
        pictures: folder with one sub-folder per input name of fitted 8-bit RGB PNG pictures, in name order.
    """

    name: str
    options: O
    model: Path
    quantized: Path | None
    baked: Path | None = None
    ranges: Path | None = None
    inputs: tuple[InputSpec, ...]
    pictures: Path
    out: Path
    progress: Progress = field(repr=False)
    mixed: Path | None = None
    u16: tuple[str, ...] = ()
