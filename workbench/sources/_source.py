"""What every source is: options a recipe may give, and an export to the canonical graph with golden outputs.

A source is one file in this folder, found by its name (``source: {kind: <name>}``). It offers

- ``class Options(Strict)``: the keys that ``source:`` may have besides ``kind``;
- ``export(options, weights, inputs, outputs, samples, *, base, progress) -> Exported``;
- ``fingerprint(options, *, base) -> str``: a hash of the code the network is made of, for the cache key; empty where
  the weights file is the whole network;
- ``TOOLS``: the distributions whose versions can change the export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.catalog import did_you_mean
from workbench.engine.progress import Progress
from workbench.errors import RecipeError, SourceError
from workbench.recipe.schema import InputSpec, OutputSpec

Tensors = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Exported:
    """A source network as the rest of the workbench sees it.

    Attributes:
        model: static NCHW float32 ONNX, opset 17 or 18, with the recipe's tensor names in the recipe's order.
        golden: for each sample, what the source framework itself computed: {output name: float32, NCHW}.
    """

    model: ir.Model
    golden: list[Tensors]


class Source(Protocol):
    """The module of a source kind."""

    Options: type[Any]
    TOOLS: tuple[str, ...]

    def export(
        self,
        options: Any,
        weights: Path | None,
        inputs: tuple[InputSpec, ...],
        outputs: tuple[OutputSpec, ...],
        samples: Sequence[Mapping[str, npt.NDArray[np.float32]]],
        *,
        base: Path,
        progress: Progress,
    ) -> Exported:
        """Make the canonical graph.

        Args:
            options: an instance of the module's ``Options``.
            weights: the weights file, or None for reproducible random weights (torch only).
            inputs: the recipe's inputs.
            outputs: the recipe's outputs.
            samples: {input name: float32, NCHW, the recipe's shape}, one mapping a picture.
            base: the recipe's folder, where relative paths start.
            progress: told what takes long and what was tolerated.

        Raises:
            SourceError: the network or its weights cannot be had, or are not what the recipe says.
            RecipeError: the recipe's shapes, names or number of tensors contradict the network.
            UnsupportedError: the network cannot be written as a static float ONNX.
        """

    def fingerprint(self, options: Any, *, base: Path) -> str:
        """A hash of the code that defines the network."""


def need_weights(weights: Path | None, kind: str) -> Path:
    """`weights`, for a kind of source whose file is the network.

    Raises:
        SourceError: there is no file, and random weights make no graph.
    """
    if weights is None:
        raise SourceError(
            f"a source of kind {kind} cannot be built from random weights: its file is the network",
            fix="give the file with --weights, or put it in a folder of WORKBENCH_MIRROR",
        )
    return weights


def no_such_tensor(
    group: str, index: int, spec: InputSpec | OutputSpec, known: Sequence[str], usual: Sequence[str]
) -> RecipeError:
    """The error for a tensor that the source does not have.

    Args:
        group: ``inputs`` or ``outputs``.
        index: which of them.
        spec: what the recipe says.
        known: every tensor name of the source, to guess from.
        usual: the names that are probably wanted, shown when nothing is near.
    """
    wanted = spec.source_tensor
    last = wanted.rpartition("/")[2]
    ends = [name for name in known if name.rpartition("/")[2] == last]
    fix = did_you_mean(wanted, known)
    if ends:
        fix = f"did you mean {ends[0]!r}?"
    elif not fix.startswith("did you mean"):
        fix = f"the source's own {group} are {', '.join(usual[:8]) or 'none'}"
    return RecipeError(
        f"the source has no tensor called {wanted!r}", fix=fix, at=(group, index, "tensor" if spec.tensor else "name")
    )


def only_nchw(kind: str, inputs: Sequence[InputSpec], outputs: Sequence[OutputSpec]) -> None:
    """Refuse NHWC tensors of a source whose networks are NCHW: a Transpose would have to stay in the graph.

    Raises:
        RecipeError: an input or output is declared NHWC.
    """
    for group, index, layout in [
        *(("inputs", index, spec.layout) for index, spec in enumerate(inputs)),
        *(("outputs", index, spec.layout) for index, spec in enumerate(outputs)),
    ]:
        if layout != "NCHW":
            raise RecipeError(
                f"{kind} networks are taken as NCHW", fix="write layout: NCHW", at=(group, index, "layout")
            )


def check_shapes(results: Mapping[str, npt.NDArray[Any]], outputs: Sequence[OutputSpec]) -> None:
    """Compare one run's outputs, in NCHW, with the recipe's shapes.

    Raises:
        RecipeError: a shape differs; the one that the network gives is named in the recipe's layout.
    """
    for index, spec in enumerate(outputs):
        given = list(results[spec.name].shape)
        if given != list(spec.nchw):
            if spec.layout == "NHWC" and len(given) == 4:
                given = [given[0], given[2], given[3], given[1]]
            raise RecipeError(
                f"output {spec.name!r} is {given} in the network, {list(spec.shape)} in the recipe",
                fix=f"write shape: {given}" if len(given) == 4 else "an output has four dimensions, batch first",
                at=("outputs", index, "shape"),
            )


def check_finite(golden: Sequence[Mapping[str, npt.NDArray[Any]]]) -> None:
    """Refuse golden outputs that no artifact could be compared with.

    Raises:
        SourceError: the network gives NaN or infinity.
    """
    for number, results in enumerate(golden):
        for name, value in results.items():
            if not np.isfinite(value).all():
                raise SourceError(
                    f"the network gives NaN or infinity in output {name!r} of sample {number}",
                    fix="check the weights file, and the mean and std of the recipe's input",
                )


def to_layout(array: npt.NDArray[Any], layout: str) -> npt.NDArray[Any]:
    """A canonical NCHW array as the source wants it."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if layout == "NHWC" and array.ndim == 4 else array


def from_layout(array: npt.NDArray[Any], layout: str) -> npt.NDArray[np.float32]:
    """A source's array as canonical NCHW float32."""
    turned = array.transpose(0, 3, 1, 2) if layout == "NHWC" and array.ndim == 4 else array
    return np.ascontiguousarray(turned, dtype=np.float32)
