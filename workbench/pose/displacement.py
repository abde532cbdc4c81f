"""How much of the task is lost: a changed network's answers beside the float one's, as a user of the joints sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.errors import ToolError
from workbench.pose.heatmaps import gaussian

# Sigma of the Gaussian that is applied before a peak is looked for, as a share of the heatmap's longer side. The
# authors of CPM take 5 cells of their 96. Without it a maximum that is flat over a few cells jumps about in it with the
# last bit, and the displacement measures that instead of the network.
SMOOTH = 5 / 96
# A float peak lower than this is no joint, but where noise is highest: heatmaps are trained to be 1 at a joint.
PRESENT = 0.1
NEAR = 0.05  # of the picture; the share of joints displaced by no more is `TaskError.near`

Tensor = npt.NDArray[np.floating]


@dataclass(frozen=True)
class TaskError:
    """What is lost between a float network and a changed one; without the pictures in `nobody` where joints are meant.

    Numbers about joints are NaN when no joint was judged, `relative` when there are no heatmaps.

    Attributes:
        pictures: how many were compared.
        cosine: mean over pictures and outputs of ``a.b / (|a| |b|)``; two zero tensors have 1, one of them 0.
        worst_cosine: the smallest of these.
        relative: mean over pictures and heatmap outputs of ``|a - b| / |a|``, `a` the float side.
        worst_relative: the largest of these.
        joints: how many joints were judged: those that the float network finds.
        displacement: mean way from a joint of the float network to the changed one's, in shares of the picture:
            ``hypot(dx / width, dy / height)``.
        worst_displacement: the longest.
        near: share of the joints displaced by at most 5 % of the picture.
        cosines: of each picture, the mean over its outputs.
        nobody: pictures, by their place, in which the float network itself finds no joint.
    """

    pictures: int
    cosine: float
    worst_cosine: float
    relative: float
    worst_relative: float
    joints: int
    displacement: float
    worst_displacement: float
    near: float
    cosines: tuple[float, ...]
    nobody: tuple[int, ...]


@dataclass(frozen=True)
class Reference:
    """The float network's answers and what a comparison needs of them, found once for hundreds of comparisons.

    Attributes:
        outputs: {output: (N, ...)}, as they were given.
        norms: {output: (N,) float64}, the Euclidean norm of each picture.
        places: {heatmap output: (N, J, 2) float64}, x and y of each peak in shares of the picture.
        found: {heatmap output: (N, J) bool}, whether the peak is high enough to be a joint.
        blurs: the two matrices that smooth each heatmap output, over its height and over its width; None for no blur.
    """

    outputs: Mapping[str, Tensor]
    norms: Mapping[str, npt.NDArray[np.float64]]
    places: Mapping[str, npt.NDArray[np.float64]]
    found: Mapping[str, npt.NDArray[np.bool_]]
    blurs: Mapping[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None]


def reference(
    outputs: Mapping[str, Tensor],
    heatmaps: Sequence[str],
    joints: int,
    *,
    smooth: float = SMOOTH,
    present: float = PRESENT,
) -> Reference:
    """Make the float side ready to be compared with.

    A joint is the highest cell of its channel, as of a single person; of several people the one most surely found.

    Args:
        outputs: {output: (N, ...)}, one entry of the first axis a picture; heatmaps are (N, C, H, W).
        heatmaps: the outputs that mean heatmaps; the others count for the cosine only.
        joints: channels of a heatmap that are joints; what follows them (background) is not looked at for peaks.
        smooth: see `SMOOTH`; 0 takes heatmaps as they are.
        present: the lowest peak that is a joint; ``-inf`` judges every channel of every picture.

    Raises:
        ValueError: no pictures, a heatmap without `joints` channels, or outputs of different numbers of pictures.
        ToolError: a value is not finite.
    """
    if not outputs or len({len(values) for values in outputs.values()}) != 1 or not len(next(iter(outputs.values()))):
        raise ValueError("outputs are {name: (pictures, ...)}, with one number of pictures and at least one")
    norms, places, found = {}, {}, {}
    blurs: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None] = {}
    for name, values in outputs.items():
        _check_finite(name, values)
        norms[name] = np.array([np.linalg.norm(one.astype(np.float64).ravel()) for one in values])
    for name in heatmaps:
        maps = outputs[name]
        if maps.ndim != 4 or 0 in maps.shape or not 0 < joints <= maps.shape[1]:
            raise ValueError(f"heatmaps {name!r} are (pictures, at least {joints} joints, H, W), not {maps.shape}")
        _, _, height, width = maps.shape
        sigma = smooth * max(height, width)
        blurs[name] = (_blur(height, sigma), _blur(width, sigma)) if smooth > 0 else None
        places[name], peaks = _peaks(maps[:, :joints], blurs[name])
        found[name] = peaks >= present
    return Reference(outputs, norms, places, found, blurs)


def task_error(float_side: Reference, got: Mapping[str, Tensor]) -> TaskError:
    """Compare the answers `got` to the same pictures with the float ones; takes 1 ms for a picture of 14 joints.

    Args:
        float_side: what `reference` made of the float network's outputs.
        got: {output: (N, ...)} of the same names and shapes.

    Raises:
        ValueError: names or shapes differ.
        ToolError: a value is not finite.
    """
    shapes = [{name: values.shape for name, values in side.items()} for side in (float_side.outputs, got)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the float network answers {shapes[0]}, the other {shapes[1]}")
    cosines, relatives = [], []
    for name, values in got.items():
        _check_finite(name, values)
        cosine, relative = _distances(float_side.outputs[name], values, float_side.norms[name])
        cosines.append(cosine)
        if name in float_side.places:
            relatives.append(relative)
    ways, anybody = _ways(float_side, got)
    count = len(cosines[0])
    return TaskError(
        pictures=count,
        cosine=float(np.mean(cosines)),
        worst_cosine=float(np.min(cosines)),
        relative=float(np.mean(relatives)) if relatives else math.nan,
        worst_relative=float(np.max(relatives)) if relatives else math.nan,
        joints=ways.size,
        displacement=float(ways.mean()) if ways.size else math.nan,
        worst_displacement=float(ways.max()) if ways.size else math.nan,
        near=float((ways <= NEAR).mean()) if ways.size else math.nan,
        cosines=tuple(np.mean(cosines, axis=0).tolist()),
        nobody=tuple(np.flatnonzero(~anybody).tolist()) if float_side.found else (),
    )


def _ways(float_side: Reference, got: Mapping[str, Tensor]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """How far every joint that counts has moved, and which pictures have one."""
    ways = [np.empty(0)]
    anybody = np.zeros(len(next(iter(got.values()))), bool)
    for name, before in float_side.places.items():
        found = float_side.found[name]
        after, _ = _peaks(got[name][:, : before.shape[1]], float_side.blurs[name])
        ways.append(np.hypot(*np.moveaxis(after - before, 2, 0))[found])
        anybody |= found.any(axis=1)
    return np.concatenate(ways), anybody


def _distances(
    a: Tensor, b: Tensor, norms: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of each picture, the cosine and the relative distance of `b` from `a`, whose norms are `norms`; in float64."""
    cosine, relative = np.empty(len(a)), np.empty(len(a))
    for index, norm in enumerate(norms):  # a picture at a time: float64 copies of a whole set would not fit the cache
        one, other = (side[index].astype(np.float64).ravel() for side in (a, b))
        theirs, way = float(np.linalg.norm(other)), float(np.linalg.norm(other - one))
        both = bool(norm > 0 and theirs > 0)
        cosine[index] = np.clip(one @ other / norm / theirs, -1, 1) if both else float(norm == theirs)
        relative[index] = way / norm if norm > 0 else (0.0 if way == 0 else math.inf)
    return cosine, relative


def _peaks(
    maps: Tensor, blur: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None
) -> tuple[npt.NDArray[np.float64], Tensor]:
    """The places (N, J, 2) of smoothed peaks of (N, J, H, W), in shares of the picture, and the unsmoothed maxima."""
    _, _, height, width = maps.shape
    flat = maps.reshape(*maps.shape[:2], -1)
    searched = flat if blur is None else (blur[0].T @ maps @ blur[1]).reshape(flat.shape)
    cells = searched.argmax(axis=2)
    return np.stack([(cells % width) / width, (cells // width) / height], axis=2), flat.max(axis=2)


def _blur(size: int, sigma: float) -> npt.NDArray[np.float32]:
    """The matrix (size, size) whose row i is what `heatmaps.gaussian` makes of a spot in cell i.

    Smoothing by two such matrices is the same sum as `gaussian`, as products that a CPU is built for: 20 times faster.
    """
    return np.ascontiguousarray(gaussian(np.eye(size, dtype=np.float32)[:, :, None], sigma)[:, :, 0])


def _check_finite(name: str, values: Tensor) -> None:
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise ToolError(
            f"output {name!r} is NaN or infinite for picture {int(np.flatnonzero(~finite)[0])}",
            fix="the network that made it is broken; compare its layers with workbench parity",
        )
