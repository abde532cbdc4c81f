"""Golden pictures with the joints and heatmaps that the source network and each artifact see in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import RecipeError, ToolError
from workbench.pose.agreement import total
from workbench.pose.decode import Decoder, decoder
from workbench.pose.person import Person
from workbench.pose.skeletons import skeleton
from workbench.recipe.schema import OutputSpec
from workbench.report import imagery
from workbench.report.overlay import Difference, Drawing, difference, drawing, row

_LONGEST = 416  # pixels of a picture's longer side on the page
_BUDGET = 2_500_000  # bytes that heatmaps may take; a page stays under 5 MB

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """What is to be shown.

    Attributes:
        pictures: fitted pixels of the first input, uint8 (H, W, 3) or (H, W, 1), one a sample.
        golden: the source network's answers, {output: (samples, C, H, W)}.
        answers: those of each artifact, by its path.
    """

    pictures: Sequence[npt.NDArray[np.uint8]]
    golden: Mapping[str, Floats]
    answers: Mapping[str, Mapping[str, Floats]]


@dataclass(frozen=True)
class View:
    """One network's people in one picture; `heat` is a strip of its heatmaps, empty when there is none."""

    drawing: Drawing
    heat: str
    difference: Difference | None = None


@dataclass(frozen=True)
class Shot:
    """One picture: its file's name, its data address, and what is seen in it, by artifact."""

    name: str
    photo: str
    source: View
    views: Mapping[str, View]


@dataclass(frozen=True)
class Gallery:
    """All pictures.

    Attributes:
        size: width and height of the input, in pixels; of what is drawn, too.
        cells: width and height of a heatmap.
        joints: names of the channels, and what follows them.
        rows: by artifact the counts over all pictures.
        why_not: why no joints are drawn; empty when they are.
    """

    shots: tuple[Shot, ...] = ()
    artifacts: tuple[str, ...] = ()
    size: tuple[int, int] = (1, 1)
    cells: tuple[int, int] = (1, 1)
    joints: tuple[str, ...] = ()
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    why_not: str = ""

    def to_json(self) -> dict[str, Any]:
        """The numbers."""
        return {"pictures": len(self.shots), "artifacts": dict(self.rows), "why_not": self.why_not}


def gallery(
    found: Candidates, outputs: Sequence[OutputSpec], joints: str, names: Sequence[str], random: bool = False
) -> Gallery:
    """Decode and draw.

    Args:
        found: pictures and answers.
        outputs: the recipe's.
        joints: the skeleton's name.
        names: of the pictures' files.
        random: the weights are random numbers, so that what is decoded are no people.
    """
    if not found.pictures:
        return Gallery(why_not="there are no pictures")
    height, width = found.pictures[0].shape[:2]
    size = (width, height)
    photos = [imagery.photo(pixels, _LONGEST) for pixels in found.pictures]
    labelled = list(zip([*names, *[""] * len(photos)], photos, strict=False))
    bones = skeleton(joints)
    nothing = View(Drawing((), ()), "")
    try:
        if random:
            raise RecipeError("random weights see noise, not people", fix="")
        decode = decoder(outputs, bones, size)
        if absent := [spec.name for spec in decode.outputs.values() if spec.name not in found.golden]:
            raise RecipeError(f"surgery left no output {', '.join(absent)}", fix="")
        reference = _people(decode, found.golden)
    except (RecipeError, ToolError) as error:
        shots = tuple(Shot(name, photo, nothing, {}) for name, photo in labelled)
        return Gallery(shots, (), size, why_not=error.what)
    heatmap = decode.outputs["heatmap"].name
    maps = found.golden[heatmap]
    rows: dict[str, dict[str, Any]] = {}
    seen: dict[str, list[tuple[Drawing, Difference]]] = {}
    for path, answers in found.answers.items():
        try:
            people = _people(decode, answers)
        except ToolError as error:
            rows[path] = {"failed": error.what}
            continue
        differences = [difference(a, b, bones, size) for a, b in zip(reference, people, strict=True)]
        rows[path] = row(total(one.numbers for one in differences))
        seen[path] = [(drawing(one, bones), apart) for one, apart in zip(people, differences, strict=True)]
    strips = _strips([maps, *(found.answers[path][heatmap] for path in seen)], len(bones.joints))
    shots = tuple(
        Shot(
            name,
            photo,
            View(drawing(reference[index], bones), strips[index][0]),
            {
                path: View(views[index][0], strip, views[index][1])
                for (path, views), strip in zip(seen.items(), strips[index][1:], strict=True)
            },
        )
        for index, (name, photo) in enumerate(labelled)
    )
    background = ["background"] * (maps.shape[1] - len(bones.joints))
    step = imagery.step(maps.shape[2:])
    cells = (-(-maps.shape[3] // step), -(-maps.shape[2] // step))
    return Gallery(shots, tuple(seen), size, cells, (*bones.joints, *background), rows)


def _people(decode: Decoder, answers: Mapping[str, Floats]) -> list[list[Person]]:
    count = len(next(iter(answers.values())))
    return [decode({name: values[index : index + 1] for name, values in answers.items()}) for index in range(count)]


def _strips(networks: Sequence[Floats], joints: int) -> list[list[str]]:
    """Of each picture the strips of all `networks`, on the scale of the first; empty beyond the budget."""
    strips: list[list[str]] = []
    left = _BUDGET
    for index, reference in enumerate(networks[0]):
        highest = float(reference[:joints].max())
        made = [imagery.heat(maps[index], highest) for maps in networks] if left > 0 else []
        left -= sum(map(len, made))
        strips.append(made if made and left >= 0 else [""] * len(networks))
    return strips
