"""Which tensor of one model is compared with which of another: by exact name and shape, never by position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from workbench.catalog import did_you_mean
from workbench.errors import ParityError, RecipeError

Layout = Literal["NCHW", "NHWC"]
Shape = tuple[int | None, ...]
Array = npt.NDArray[np.generic]

_TO_NCHW = (0, 3, 1, 2)
_TO_NHWC = (0, 2, 3, 1)


class Port(Protocol):
    """A named tensor at the edge of a model; a size of the shape is None where it is not static."""

    @property
    def name(self) -> str:
        """Its name in the file."""

    @property
    def shape(self) -> Shape:
        """Its shape, in the file's own layout."""


@dataclass(frozen=True)
class Pair:
    """Two tensors that mean the same.

    Args:
        reference: the name on the reference side; rows carry it.
        got: the name on the other side.
        permutation: axes that turn the other side's tensor into the reference's layout; None when they agree.
        note: what was done about names and layouts, for the user; empty when nothing was.
    """

    reference: str
    got: str
    permutation: tuple[int, ...] | None = None
    note: str = ""

    def to_reference(self, got: Array) -> Array:
        """The other side's tensor in the reference's layout."""
        return got if self.permutation is None else np.transpose(got, self.permutation)

    def from_reference(self, reference: Array) -> Array:
        """The reference's tensor in the other side's layout, C-contiguous: how one feed serves both models."""
        if self.permutation is None:
            return reference
        return np.ascontiguousarray(np.transpose(reference, np.argsort(self.permutation)))


def parse_map(texts: Iterable[str]) -> dict[str, str]:
    """``reference=other`` names as given with ``--map``.

    Raises:
        RecipeError: one is not of that form, or a name is mapped twice.
    """
    mapping: dict[str, str] = {}
    for text in texts:
        reference, equals, got = (part.strip() for part in text.partition("="))
        if not (reference and equals and got):
            raise RecipeError(f"--map {text!r} is not a pair of names", fix="write --map name_in_A=name_in_B")
        if reference in mapping or got in mapping.values():
            raise RecipeError(f"--map {text!r} uses a name that is mapped already", fix="map each name once")
        mapping[reference] = got
    return mapping


def pair(
    reference: Sequence[Port],
    got: Sequence[Port],
    *,
    reference_layout: Layout,
    got_layout: Layout,
    mapping: Mapping[str, str] | None = None,
    what: str = "output",
) -> tuple[Pair, ...]:
    """Pair all ports of both sides, in the order of `reference`.

    Names must be equal, or made so by `mapping` (reference name -> other name). Shapes must be equal, or for 4-D
    tensors one the NCHW/NHWC permutation of the other; where both fit (all sizes equal, say), the declared layouts
    decide. A layout that was permuted is told in the pair's note.

    Raises:
        ParityError: a port has no partner on the other side, or the shapes cannot be brought together.
        RecipeError: `mapping` names a port that does not exist.
    """
    mapping = mapping or {}
    theirs = {port.name: port for port in got}
    _check_mapping(mapping, [port.name for port in reference], list(theirs), what)
    wanted = {port.name: mapping.get(port.name, port.name) for port in reference}
    for name, partner in mapping.items():
        if partner in wanted and wanted[partner] == partner and partner != name:
            raise RecipeError(
                f"--map {name}={partner}: {partner!r} already has its namesake as partner",
                fix=f"map {partner!r} as well",
            )
    missing = [name for name, partner in wanted.items() if partner not in theirs]
    surplus = [name for name in theirs if name not in wanted.values()]
    if missing or surplus:
        raise _unmatched(missing, surplus, [port.name for port in reference], list(theirs), what)
    return tuple(_pair(port, theirs[wanted[port.name]], reference_layout, got_layout, what) for port in reference)


def _pair(ours: Port, theirs: Port, our_layout: Layout, their_layout: Layout, what: str) -> Pair:
    renamed = f"compared with {theirs.name!r}" if ours.name != theirs.name else ""
    declared = None
    if our_layout != their_layout:
        declared = _TO_NCHW if our_layout == "NCHW" else _TO_NHWC
    same = _fits(ours.shape, theirs.shape)
    # Permutations worth a try: the declared one, or with equal layouts either (a file may hold the other layout).
    candidates = [declared] if declared else [_TO_NCHW, _TO_NHWC]
    permuted = [axes for axes in candidates if _fits(ours.shape, _permute(theirs.shape, axes))]
    if permuted and (declared or not same):
        axes = permuted[0]
        turned = "NHWC to NCHW" if axes == _TO_NCHW else "NCHW to NHWC"
        note = "; ".join(filter(None, (renamed, f"transposed from {turned}")))
        return Pair(ours.name, theirs.name, axes, note)
    if same:
        odd = ""
        if declared and len(ours.shape) == 4:
            odd = f"one side is {our_layout}, the other {their_layout}, but the shapes are equal: compared as they are"
        return Pair(ours.name, theirs.name, None, "; ".join(filter(None, (renamed, odd))))
    raise ParityError(
        f"{what} {ours.name!r} has shape {_show(ours.shape)} ({our_layout}) in the reference and {_show(theirs.shape)}"
        f" ({their_layout}) in the other model",
        fix="compare models with the same shapes; only 4-D NCHW and NHWC are turned into each other",
    )


def _permute(shape: Shape, axes: tuple[int, ...]) -> Shape | None:
    return tuple(shape[axis] for axis in axes) if len(shape) == 4 else None


def _fits(ours: Shape, theirs: Shape | None) -> bool:
    # A size that is not static fits any; the arrays themselves are checked when they are compared.
    return (
        theirs is not None
        and len(ours) == len(theirs)
        and all(a is None or b is None or a == b for a, b in zip(ours, theirs, strict=True))
    )


def _check_mapping(mapping: Mapping[str, str], ours: list[str], theirs: list[str], what: str) -> None:
    for name, partner in mapping.items():
        for side, wanted, known in (("reference", name, ours), ("other", partner, theirs)):
            if wanted not in known:
                raise RecipeError(
                    f"--map {name}={partner}: the {side} model has no {what} {wanted!r}",
                    fix=did_you_mean(wanted, known),
                )


def _unmatched(missing: list[str], surplus: list[str], ours: list[str], theirs: list[str], what: str) -> ParityError:
    parts = []
    if missing:
        parts.append(f"the other model lacks {', '.join(map(repr, missing))}")
    if surplus:
        parts.append(f"the reference lacks {', '.join(map(repr, surplus))}")
    near = "".join(f"{name!r}: {did_you_mean(name, surplus)} " for name in missing if len(surplus) > 1)
    option = "--map-input" if what == "input" else "--map"
    example = f"{missing[0]}={surplus[0]}" if len(missing) == len(surplus) == 1 else "name_in_A=name_in_B"
    return ParityError(
        f"{what}s do not match: {'; '.join(parts)}"
        f" (reference has {', '.join(ours) or 'none'}; the other has {', '.join(theirs) or 'none'})",
        fix=f"{near}pair them with {option} {example}, or rename them in the recipe",
    )


def _show(shape: Shape) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"
